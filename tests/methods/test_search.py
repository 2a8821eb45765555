"""Searches as data: how many candidates, who ranks them, and what a ranking may say."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from langchain_amulet.errors import ConfigurationError, GenerationError
from langchain_amulet.methods import (
    Amulet,
    BeamPlan,
    BeamSearch,
    BestOf,
    Candidate,
    Guidance,
    GuidedReranking,
    Pref,
    Ranking,
    SearchPlan,
)
from langchain_amulet.methods.search import checked_scores
from langchain_amulet.steering import Stream


@dataclass(frozen=True)
class Written:
    """A candidate that was written by hand."""

    message: str
    pref: Sequence[float] = ()
    base: Sequence[float] = ()
    steered: Sequence[float] = ()
    token_ids: Sequence[int] = ()
    messages: Sequence[str] = ("Why?",)
    preferences: Sequence[str] = ("Be kind.",)


SHORT, LONG = Written("Yes."), Written("Yes, indeed.")


def ranked(plan: SearchPlan, *candidates: Candidate) -> list[float]:
    """What the search of a plan says of candidates, in either way of waiting."""
    if not isinstance(plan.rank, Ranking):
        return list(plan.rank(candidates))
    found = list(plan.rank.scores(candidates))
    assert list(asyncio.run(plan.rank.ascores(candidates))) == found  # type: ignore[arg-type]
    return found


# --- Plans ---


def test_a_method_that_decodes_token_by_token_searches_nothing() -> None:
    assert Amulet().search() is None
    assert Pref().search() is None


@pytest.mark.parametrize("n", [0, -1, 2.0, True, "many", 1025, 100_000, 10**30])
def test_a_search_looks_at_a_whole_number_of_answers_and_not_at_too_many(n: Any) -> None:
    rule = "n must be a whole number, at least 1 and at most 1024"
    for make in (SearchPlan, BeamPlan):
        with pytest.raises(ConfigurationError, match=rule):
            make(n, len)


def test_a_search_by_nothing_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="rank must be a function of the candidates"):
        SearchPlan(4, None)  # type: ignore[arg-type]


def test_beams_are_two_at_least_and_their_penalty_is_a_number() -> None:
    assert BeamSearch(3, length_penalty=0.5).search() == BeamPlan(3, 0.5)
    with pytest.raises(ConfigurationError, match="at least 2 beams"):
        BeamSearch(1)
    with pytest.raises(ConfigurationError, match="length_penalty must be a finite number"):
        BeamSearch(length_penalty=math.nan)


# --- What a ranking may say ---


def test_scores_are_numbers_one_for_each_candidate() -> None:
    assert checked_scores(iter((1, 2.5, -math.inf)), 3) == [1.0, 2.5, -math.inf]


@pytest.mark.parametrize(
    ("scores", "rule"),
    [
        ([1.0], "must give a number for each of 2 answers, but gave 1"),
        ([1.0, 2.0, 3.0], "of 2 answers, but gave 3"),
        ([1.0, math.nan], "must return a number for each answer, but returned nan"),
        ([1.0, "good"], "but returned 'good'"),
        ([None, 1.0], "but returned None"),
        ([-math.inf, -math.inf], "scored each of 2 with -inf"),
    ],
)
def test_anything_else_is_refused(scores: list[Any], rule: str) -> None:
    with pytest.raises(GenerationError, match=rule):
        checked_scores(scores, 2)


# --- Best of n ---


def test_a_function_scores_one_answer_after_the_other() -> None:
    asked = []

    def scorer(messages: list[str], answer: str) -> int:
        asked.append((messages, answer))
        return len(answer)

    assert ranked(BestOf(2, scorer=scorer).search(), SHORT, LONG) == [4, 12]
    assert asked == [(["Why?"], "Yes."), (["Why?"], "Yes, indeed.")]


def test_a_function_that_asks_for_preferences_is_told_them() -> None:
    plan = BestOf(1, scorer=lambda messages, answer, preferences: preferences == ["Be kind."])
    assert ranked(plan.search(), SHORT) == [True]


def test_a_runnable_scores_all_answers_in_one_batch() -> None:
    class Lengths:
        def batch(self, asked: list[dict[str, Any]]) -> list[int]:
            return [len(each["answer"]) + len(each["messages"]) for each in asked]

        async def abatch(self, asked: list[dict[str, Any]]) -> list[int]:
            return self.batch(asked)

    assert ranked(BestOf(2, scorer=Lengths()).search(), SHORT, LONG) == [5, 13]


def test_best_of_s_samples_are_planned_by_their_method() -> None:
    method = BestOf(2, scorer=lambda messages, answer: 0, method="strong")
    assert method.plan([Guidance()]) == Amulet(strength="strong").plan([Guidance()])


# --- Guided reranking ---


def test_reranking_adds_up_what_steering_makes_of_each_token() -> None:
    first = Written("", pref=(-1.0, -2.0), base=(-1.5, -0.5))
    second = Written("", pref=(-3.0,), base=(-6.0,))
    plan = GuidedReranking(2, 2.0).search()
    assert plan.trace
    assert ranked(plan, first, second) == [-3.0 + 2.0 * (0.5 - 1.5), -3.0 + 2.0 * 3.0]
    assert ranked(GuidedReranking(2, 0.0).search(), first, second) == [-3.0, -3.0]


def test_a_token_that_one_of_the_prompts_rules_out_says_nothing_of_the_other() -> None:
    impossible = Written("", pref=(-1.0, -2.0), base=(-math.inf, -2.0))
    assert ranked(GuidedReranking(1).search(), impossible) == [-3.0]
    never = Written("", pref=(-math.inf,), base=(-1.0,))
    assert ranked(GuidedReranking(1).search(), never) == [-math.inf]


@pytest.mark.parametrize(("prompt", "drawn_from"), [("pref", (0,)), ("base", ())])
def test_reranking_s_samples_are_drawn_from_one_prompt_and_compared_with_the_other(
    prompt: Any, drawn_from: tuple[int, ...]
) -> None:
    plan = GuidedReranking(2, prompt=prompt).plan([Guidance()])
    assert plan.streams == (Stream((0,)), Stream())
    assert plan.streams[plan.anchor] == Stream(drawn_from)
    assert plan.reference == ((0, 1.0),)
