"""``with_preference`` gives a model of its own for one user, on the same weights."""

import pytest

from langchain_amulet import ChatAmulet, Preference
from langchain_amulet.errors import EngineClosedError, PreferenceError
from support.engines import engine_of
from support.ways import invoke

QUESTION = "How do I sleep better?"


def test_the_copy_answers_in_its_style_and_the_original_as_before(llm: ChatAmulet) -> None:
    plain = invoke(llm, QUESTION)
    copy = llm.with_preference("Be kind.")
    assert invoke(copy, QUESTION) == invoke(llm, QUESTION, preference="Be kind.") != plain
    assert invoke(llm, QUESTION) == plain


def test_the_copy_is_a_chat_model_on_the_same_weights(llm: ChatAmulet) -> None:
    copy = llm.with_preference(["Be kind.", Preference("Keep it short.", strength="subtle")])
    assert isinstance(copy, ChatAmulet)
    assert engine_of(copy) is engine_of(llm)


def test_none_takes_the_preference_away(llm: ChatAmulet) -> None:
    assert invoke(llm.with_preference("Be kind.").with_preference(None), QUESTION) == invoke(
        llm, QUESTION
    )


def test_traces_show_the_preference_of_the_copy(llm: ChatAmulet) -> None:
    invoke(llm, QUESTION)  # which has LangChain keep what it knows of the model
    copy = llm.with_preference("Be kind.")
    assert "Be kind." in repr(copy._serialized)
    assert "Be kind." not in repr(llm._serialized)


def test_a_preference_over_its_limit_is_refused(tiny: str) -> None:
    llm = ChatAmulet(model=tiny, max_preference_chars=10)
    with pytest.raises(PreferenceError, match="at most 10 characters"):
        llm.with_preference("Be kind to them.")


def test_closing_the_original_closes_the_copy(tiny: str) -> None:
    with ChatAmulet(model=tiny) as llm:
        copy = llm.with_preference("Be kind.")
    with pytest.raises(EngineClosedError):
        copy.invoke(QUESTION)
