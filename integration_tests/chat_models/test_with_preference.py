"""``with_preference`` gives a model of its own for one user, on the same weights."""

from collections.abc import Callable
from copy import copy, deepcopy

import pytest

from langchain_amulet import ChatAmulet, Preference
from langchain_amulet.errors import EngineClosedError, PreferenceError
from support.engines import engine_of
from support.ways import invoke

QUESTION = "How do I sleep better?"


def test_the_copy_answers_in_its_style_and_the_original_as_before(llm: ChatAmulet) -> None:
    plain = invoke(llm, QUESTION)
    other = llm.with_preference("Be kind.")
    assert invoke(other, QUESTION) == invoke(llm, QUESTION, preference="Be kind.") != plain
    assert invoke(llm, QUESTION) == plain


def test_the_copy_is_a_chat_model_on_the_same_weights(llm: ChatAmulet) -> None:
    other = llm.with_preference(["Be kind.", Preference("Keep it short.", strength="subtle")])
    assert isinstance(other, ChatAmulet)
    assert engine_of(other) is engine_of(llm)


def test_none_takes_the_preference_away(llm: ChatAmulet) -> None:
    assert invoke(llm.with_preference("Be kind.").with_preference(None), QUESTION) == invoke(
        llm, QUESTION
    )


def test_traces_show_the_preference_of_the_copy(llm: ChatAmulet) -> None:
    invoke(llm, QUESTION)  # which has LangChain keep what it knows of the model
    other = llm.with_preference("Be kind.")
    assert "Be kind." in repr(other._serialized)
    assert "Be kind." not in repr(llm._serialized)


def test_a_preference_over_its_limit_is_refused(tiny: str) -> None:
    llm = ChatAmulet(model=tiny, max_preference_chars=10)
    with pytest.raises(PreferenceError, match="at most 10 characters"):
        llm.with_preference("Be kind to them.")


COPIES: dict[str, Callable[[ChatAmulet], ChatAmulet]] = {
    "with_preference": lambda llm: llm.with_preference("Be kind."),
    "model_copy": lambda llm: llm.model_copy(),
    "model_copy, deep": lambda llm: llm.model_copy(deep=True),
    "copy": copy,
    "deepcopy": deepcopy,
}


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_original_and_copy_are_closed_each_by_itself(
    tiny: str, copied: Callable[[ChatAmulet], ChatAmulet]
) -> None:
    with ChatAmulet(model=tiny, max_tokens=2, max_queue=78) as llm:
        other = copied(llm)
        engine = engine_of(llm)
        with copied(llm):
            pass
        assert llm.invoke(QUESTION)
    assert other.invoke(QUESTION)
    assert engine_of(other) is engine
    other.close()
    with pytest.raises(EngineClosedError, match="make a new ChatAmulet"):
        other.invoke(QUESTION)


def test_a_copy_of_a_closed_model_is_closed(tiny: str) -> None:
    llm = ChatAmulet(model=tiny)
    llm.close()
    with pytest.raises(EngineClosedError, match="make a new ChatAmulet"):
        llm.with_preference("Be kind.").invoke(QUESTION)
