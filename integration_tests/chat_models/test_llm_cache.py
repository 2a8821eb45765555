"""With LangChain's cache on, nobody gets an answer that was made for somebody else."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.caches import InMemoryCache
from langchain_core.globals import set_llm_cache
from langgraph.graph import START, MessagesState, StateGraph
from pydantic import BaseModel, create_model

from langchain_amulet import Amulet, ChatAmulet, Preference
from langchain_amulet.methods import Iterated
from support.engines import engine_of
from support.ways import INSIDE, Way, beta, invoke

QUESTION = "How do I sleep better?"


@pytest.fixture(autouse=True)
def cache() -> Iterator[None]:
    set_llm_cache(InMemoryCache())
    yield
    set_llm_cache(None)


def uncached(llm: ChatAmulet) -> list[str]:
    """The answer's parts: streams are never cached."""
    return [chunk.text for chunk in llm.stream(QUESTION)]


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


def test_one_function_is_never_taken_for_another(llm: ChatAmulet) -> None:
    for sign in (1.0, -1.0, 1.0, -1.0):  # each is gone before the next one is made
        method = Iterated(lambda policy, base, sign=sign: sign * (policy - base), updates=3)
        asked: dict[str, Any] = {"preference": "Be kind.", "method": method}
        streamed = "".join(chunk.text for chunk in llm.stream(QUESTION, **asked))
        assert invoke(llm, QUESTION, **asked) == streamed
        assert invoke(llm, QUESTION, **asked) == streamed


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
    {"steer_thinking": False},
    {"logprobs": True},
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


def test_it_does_not_matter_who_sets_what(llm: ChatAmulet) -> None:
    settings = {name: getattr(llm, name) for name in ("model", "dtype", "max_tokens")}
    expected = invoke(llm, QUESTION, preference="Be kind.", method="strong")
    before = answered(llm)
    settled = ChatAmulet(**settings, temperature=0, preference="Be kind.", method=2.0)
    other = ChatAmulet(**settings, temperature=0.5, max_retries=2)
    assert invoke(settled, QUESTION) == expected
    assert invoke(other, QUESTION, preference="Be kind.", method=2, temperature=0.0) == expected
    assert answered(llm) == before


@pytest.mark.parametrize("way", INSIDE.values(), ids=INSIDE)
def test_what_the_model_is_part_of_gets_the_same_answer_from_the_cache(
    llm: ChatAmulet, way: Way
) -> None:
    config: Any = {"configurable": {"preference": "Be kind."}}
    first = way(llm, QUESTION, config)
    assert way(llm, QUESTION, config) == first
    assert invoke(llm, QUESTION, preference="Be short.") != first


def test_events_of_a_graph_are_played_again_from_the_cache(llm: ChatAmulet) -> None:
    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [llm.invoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile()
    texts, decoded = [], []
    for _ in range(2):
        with beta():
            run = graph.stream_events({"messages": [("user", QUESTION)]}, version="v3")
            texts.append(["".join(message.text) for message in run.messages])
        decoded.append(answered(llm))
    assert decoded[0] == decoded[1]
    assert texts[0] == texts[1] == ["".join(uncached(llm))]


def test_models_that_shape_their_content_otherwise_never_share_an_answer(llm: ChatAmulet) -> None:
    settings = {name: getattr(llm, name) for name in ("model", "dtype", "temperature")}
    blocks = ChatAmulet(**settings, max_tokens=12, output_version="v1")
    for _ in range(2):
        assert isinstance(blocks.invoke(QUESTION).content, list)
        assert isinstance(llm.invoke(QUESTION).content, str)


def test_structures_of_one_name_never_share_an_answer(llm: ChatAmulet) -> None:
    def structure(field: str) -> type[BaseModel]:
        return create_model("Answer", **{field: int})

    roomy = llm.bind(max_tokens=120)
    for field in ("age", "size", "age"):
        answer = roomy.invoke(QUESTION, response_format=structure(field))
        assert field in json.loads(answer.text)
        found = roomy.with_structured_output(structure(field)).invoke(QUESTION)
        assert field in found.model_dump()


def test_answers_from_the_cache_cost_nothing(llm: ChatAmulet) -> None:
    first, second = llm.invoke(QUESTION), llm.invoke(QUESTION)
    assert first.usage_metadata
    assert second.usage_metadata == {**first.usage_metadata, "total_cost": 0}


def test_a_model_may_have_a_cache_of_its_own_or_none(llm: ChatAmulet) -> None:
    settings = {name: getattr(llm, name) for name in ("model", "dtype", "temperature")}
    invoke(llm, QUESTION)
    for cache, decodes in ((False, [1, 1]), (InMemoryCache(), [1, 0])):
        own = ChatAmulet(**settings, max_tokens=12, cache=cache)
        for count in decodes:
            before = answered(llm)
            invoke(own, QUESTION)
            assert answered(llm) - before == count
