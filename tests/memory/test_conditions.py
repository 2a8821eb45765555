"""Whether a message is about a topic."""

import pytest
from langchain_core.embeddings import Embeddings

from langchain_amulet.memory import Resembles, mentions


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        ("work", "Is WORK over?"),
        ("work", "work"),
        ("work", "(work)"),
        ("my boss", "What did my \n boss say?"),
        ("C++", "Explain C++, please."),
        (".NET", "Is .NET alive?"),
        ("STRASSE", "Wie heißt die Straße?"),
        ("ﬁne", "a fine day"),
        ("工作", "工作"),
    ],
)
def test_a_topic_is_named_whatever_its_case_and_spaces(topic: str, text: str) -> None:
    assert mentions(["nothing", topic], text)


@pytest.mark.parametrize(
    ("topic", "text"),
    [("work", "homework"), ("work", "worked"), ("work", ""), ("C++", "C"), ("a.c", "abc")],
)
def test_a_topic_is_named_by_whole_words_only(topic: str, text: str) -> None:
    assert not mentions([topic], text)


@pytest.mark.parametrize("mark", ["\u0300\u0316", "\ufdfa", "x ", "a"])
def test_a_message_of_millions_is_looked_through_at_both_ends(mark: str) -> None:
    """Unicode's normal form of the first would take hours."""
    long = mark * 2_000_000
    assert mentions(["work"], f"Work. {long}")
    assert mentions(["work"], f"{long} Work?")
    assert not mentions(["work", "bread"], f"{long} work {long}")


def test_letters_are_put_together_with_the_marks_behind_them() -> None:
    spelled = "".join(f"o\u0308ffnen {'x' * length} " for length in range(300))
    assert mentions(["öffnen"], f"{spelled} ÖFFNEN")
    for length in range(90, 110):
        assert mentions(["öffnen"], f"{'-' * length} o\u0308ffnen")


def test_no_topic_is_never_named() -> None:
    assert not mentions([], "anything")


class Letters(Embeddings):
    """Counts a text's letters: exact, and of known likeness."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return [float(text.count(letter)) for letter in "abc"]


def test_a_text_resembles_a_topic_by_the_cosine_of_their_vectors() -> None:
    assert Resembles(Letters(), threshold=0.7)(["c", "a"], "ab")  # by 1 / sqrt(2)
    assert not Resembles(Letters(), threshold=0.71)(["c", "a"], "ab")
    assert not Resembles(Letters(), threshold=0.01)(["zzz"], "ab")
    assert not Resembles(Letters(), threshold=0.01)(["a"], "zzz")
