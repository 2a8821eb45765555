"""With LangChain's cache on, nobody gets an answer that was made for somebody else."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache

from integration_tests.conftest import engine_of
from integration_tests.ways import invoke
from langchain_amulet import Amulet, ChatAmulet, Preference

QUESTION = "How do I sleep better?"


@pytest.fixture(autouse=True)
def cache() -> Iterator[None]:
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(None)


def answered(llm: ChatAmulet) -> int:
    """How many answers were decoded so far, not taken from the cache."""
    return engine_of(llm).stats().admitted


def test_a_repeated_call_is_answered_from_the_cache(llm: ChatAmulet) -> None:
    config: Any = {"metadata": {"preference": "Be kind."}}
    first, before = invoke(llm, QUESTION, config), answered(llm)
    assert invoke(llm, QUESTION, config) == first
    assert invoke(llm, QUESTION, preference=" Be kind. ") == first
    assert answered(llm) == before


@pytest.mark.parametrize("place", ["configurable", "metadata"])
def test_two_users_never_share_an_answer(llm: ChatAmulet, place: str) -> None:
    wishes = ["Be kind.", "Keep it short.", None]
    alone = [invoke(llm, QUESTION, preference=wish, stop=["zzzz"]) for wish in wishes]
    assert len(set(alone)) == 3
    configs: Any = [{place: {"preference": wish}} for wish in wishes]
    for _ in range(2):
        assert [invoke(llm, QUESTION, config) for config in configs] == alone
        together = asyncio.run(llm.abatch([QUESTION] * 3, configs))
        assert [answer.content for answer in together] == alone


CHANGES: list[dict[str, Any]] = [
    {"preference": "Be kinder."},
    {"preference": Preference("Be kind.", strength=1.0)},
    {"preference": Preference("Be kind.", weight=2.0)},
    {"preference": None},
    {"method": Amulet.paper()},
    {"method": "pref"},
    {"placement": "user"},
    {"preference_template": "Please: {preference}"},
    {"temperature": 0.5},
    {"top_p": 0.5},
    {"max_tokens": 5},
    {"seed": 1},
    {"stop": ["a"]},
    {"trace": True},
    {"chat_template_kwargs": {"enable_thinking": False}},
]
every_change = pytest.mark.parametrize("change", CHANGES, ids=str)


@every_change
def test_whatever_a_call_changes_is_part_of_the_key(
    llm: ChatAmulet, change: dict[str, Any]
) -> None:
    invoke(llm, QUESTION, preference="Be kind.")
    before = answered(llm)
    invoke(llm, QUESTION, **{"preference": "Be kind.", **change})
    assert answered(llm) == before + 1


@every_change
def test_whatever_a_constructor_changes_is_part_of_the_key(
    llm: ChatAmulet, change: dict[str, Any]
) -> None:
    names = ("model", "dtype", "temperature", "max_tokens")
    settings = {**{name: getattr(llm, name) for name in names}, "preference": "Be kind."}
    invoke(ChatAmulet(**settings), QUESTION)
    before = answered(llm)
    invoke(ChatAmulet(**settings), QUESTION)
    assert answered(llm) == before
    invoke(ChatAmulet(**{**settings, **change}), QUESTION)
    assert answered(llm) == before + 1


def test_two_models_never_share_an_answer(llm: ChatAmulet, other_tiny: str) -> None:
    settings = {"dtype": "float32", "temperature": 0.0, "max_tokens": 12}
    other = ChatAmulet(model=other_tiny, **settings)
    assert invoke(llm, QUESTION) != invoke(other, QUESTION)
    assert invoke(llm, QUESTION, model=other_tiny) == invoke(other, QUESTION)


def test_copies_with_a_preference_never_share_an_answer(llm: ChatAmulet) -> None:
    copies = [llm, llm.with_preference("Be kind."), llm.with_preference("Keep it short.")]
    for _ in range(2):
        assert len({invoke(copy, QUESTION) for copy in copies}) == 3
