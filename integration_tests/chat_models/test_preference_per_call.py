"""A preference per call, in every way of calling, from every place it may come from."""

import asyncio
from typing import Any

import pytest
from langchain_core.runnables import ConfigurableField

from langchain_amulet import ChatAmulet, Preference
from support.memories import KIND
from support.ways import DIRECT, INSIDE, QUESTION, Tokens, Way, invoke

SHORT = "Keep it short."

every_way = pytest.mark.parametrize("way", DIRECT.values(), ids=DIRECT)
every_way_inside = pytest.mark.parametrize("way", INSIDE.values(), ids=INSIDE)
every_place = pytest.mark.parametrize("place", ["configurable", "metadata"])


def test_preferences_change_the_answer(llm: ChatAmulet, kind: str) -> None:
    assert len({kind, invoke(llm, QUESTION, preference=SHORT), invoke(llm, QUESTION)}) == 3


@every_way
def test_a_preference_comes_as_an_argument(llm: ChatAmulet, kind: str, way: Way) -> None:
    assert way(llm, QUESTION, preference=KIND) == kind


@every_place
@every_way
def test_a_preference_comes_in_the_config(llm: ChatAmulet, kind: str, way: Way, place: str) -> None:
    assert way(llm, QUESTION, {place: {"preference": KIND}}) == kind


@every_place
@every_way_inside
def test_a_preference_comes_in_the_config_of_what_the_model_is_part_of(
    llm: ChatAmulet, kind: str, way: Way, place: str
) -> None:
    assert way(llm, QUESTION, {place: {"preference": KIND}}) == kind


@every_way
def test_a_preference_comes_from_the_constructor(llm: ChatAmulet, kind: str, way: Way) -> None:
    assert way(llm.with_preference(KIND), QUESTION) == kind


@every_way
def test_a_bound_preference_is_kept(llm: ChatAmulet, kind: str, way: Way) -> None:
    assert way(llm.bind(preference=KIND), QUESTION) == kind


@every_way
def test_the_nearer_place_wins(llm: ChatAmulet, kind: str, way: Way) -> None:
    other = llm.with_preference(SHORT)
    in_configurable = {"configurable": {"preference": KIND}, "metadata": {"preference": SHORT}}
    in_metadata = {"metadata": {"preference": KIND}}
    in_both = {"configurable": {"preference": SHORT}, "metadata": {"preference": SHORT}}
    assert way(other, QUESTION, in_metadata) == kind
    assert way(other, QUESTION, in_configurable) == kind
    assert way(other, QUESTION, in_both, preference=KIND) == kind


@every_way
def test_none_turns_a_preference_off(llm: ChatAmulet, way: Way) -> None:
    plain, other = invoke(llm, QUESTION), llm.with_preference(SHORT)
    assert way(other, QUESTION, preference=None) == plain
    assert way(other, QUESTION, {"configurable": {"preference": None}}) == plain
    assert way(other, QUESTION, {"metadata": {"preference": None}}) == plain
    both = {"configurable": {"preference": None}, "metadata": {"preference": KIND}}
    assert way(other, QUESTION, both) == plain


def test_each_call_of_a_batch_has_its_own(llm: ChatAmulet) -> None:
    wishes = [KIND, SHORT, None, "Be kind.", "Keep it short, and be kind."] * 4
    alone = [invoke(llm, QUESTION, preference=wish) for wish in wishes]
    configs: Any = [{"metadata": {"preference": wish}} for wish in wishes]
    together = llm.batch([QUESTION] * len(wishes), configs)
    assert [answer.content for answer in together] == alone
    together = asyncio.run(llm.abatch([QUESTION] * len(wishes), configs))
    assert [answer.content for answer in together] == alone


def test_a_seeded_draw_is_the_same_alone_and_among_others(llm: ChatAmulet) -> None:
    drawn = {"temperature": 1.0, "seed": 7, "preference": KIND}
    alone = invoke(llm, QUESTION, **drawn)
    assert invoke(llm, QUESTION, **drawn) == alone
    assert invoke(llm, QUESTION, **{**drawn, "seed": 8}) != alone
    assert [a.content for a in llm.batch([QUESTION] * 6, **drawn)] == [alone] * 6


def test_callbacks_hear_the_steered_tokens(llm: ChatAmulet, kind: str) -> None:
    heard = Tokens()
    config: Any = {"callbacks": [heard], "metadata": {"preference": KIND}}
    list(llm.stream(QUESTION, config))
    assert heard.text == kind


def test_streaming_set_on_the_model_lets_callbacks_of_invoke_hear_tokens(
    tiny: str, kind: str
) -> None:
    heard = Tokens()
    llm = ChatAmulet(model=tiny, dtype="float32", temperature=0.0, max_tokens=12, streaming=True)
    assert invoke(llm, QUESTION, {"callbacks": [heard]}, preference=KIND) == kind
    assert heard.text == kind


def test_several_preferences_steer_together(llm: ChatAmulet, kind: str) -> None:
    both = invoke(llm, QUESTION, preference=[KIND, Preference(SHORT, weight=0.5)])
    assert both not in (kind, invoke(llm, QUESTION, preference=SHORT))
    assert invoke(llm, QUESTION, preference=[KIND, Preference(SHORT, weight=0.0)]) == kind


def test_a_preference_brings_its_own_strength(llm: ChatAmulet, kind: str) -> None:
    named = invoke(llm, QUESTION, preference=Preference(KIND, strength="amulet"))
    assert named == invoke(llm, QUESTION, preference=KIND, method="amulet")
    prompted = invoke(llm, QUESTION, preference=KIND, method="pref")
    unmasked = {"method": "linear_alignment", "preference": Preference(KIND, strength=0.0)}
    assert invoke(llm, QUESTION, **unmasked) == prompted != kind


def test_a_preference_survives_a_config_of_plain_data(llm: ChatAmulet, kind: str) -> None:
    config: Any = {"configurable": {"preference": {"text": KIND, "strength": 1}}}
    assert invoke(llm, QUESTION, config) == invoke(
        llm, QUESTION, preference=Preference(KIND, strength="balanced")
    )


def test_a_configurable_field_sets_the_preference(llm: ChatAmulet, kind: str) -> None:
    configurable = llm.configurable_fields(preference=ConfigurableField(id="style"))
    assert invoke(configurable, QUESTION, {"configurable": {"style": KIND}}) == kind


def test_both_placements_and_all_methods_answer(llm: ChatAmulet) -> None:
    answers = {
        invoke(llm, QUESTION, preference=KIND, method=method, placement=placement)
        for method in ("amulet", "pref", "linear_alignment", "subtle", 1.5)
        for placement in ("system", "user")
    }
    assert len(answers) > 5
    assert invoke(llm, QUESTION, preference=KIND, method="base") == invoke(llm, QUESTION)
