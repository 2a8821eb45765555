"""What is found out of a conversation is kept by its shape."""

from langchain_amulet.chat_formats.shapes import WORD, ShapeCache, made_up
from langchain_amulet.chat_formats.turns import Turn, strings_in


def turns(*said: str) -> list[Turn]:
    return [{"role": "user", "content": each} for each in said]


def test_conversations_of_one_shape_are_tried_once_and_others_by_themselves() -> None:
    cache, tried = ShapeCache(), list[list[Turn]]()

    def found(shape: object) -> int:
        tried.append(list(shape))  # type: ignore[call-overload]
        return len(tried)

    for said, number in ((("a", "b"), 1), (("c", "d"), 1), (("a", "a"), 2), (("b", "b"), 2)):
        assert cache.find("a question", turns(*said), by=found) == number
    words = [[word for word in strings_in(shape) if WORD.fullmatch(word)] for shape in tried]
    assert [len(set(each)) for each in words] == [2, 1]


def test_what_is_kept_of_a_long_conversation_is_short() -> None:
    cache = ShapeCache()
    long = turns(*(f"text {number}" for number in range(1000)))
    cache.find("a question", long, by=len)
    assert len(str(made_up(long))) > 10_000
    assert len(str(cache._found)) < 300
