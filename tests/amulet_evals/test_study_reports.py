"""What is read out of the study's answers: effects, levels, turns, conditions, and what is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_evals.data.questions import Question
from amulet_evals.reporting.tables import Table
from amulet_evals.study.applying import KINDS, Rule, applying, matchers, matching
from amulet_evals.study.asked import PARTS, PUSHING, TAKEN, TOWARDS, Amount, grid, read
from amulet_evals.study.calibration import (
    calibrate,
    growing,
    halves,
    level_plot,
    level_table,
    strengths,
    trials,
)
from amulet_evals.study.lasting import Lasting, effect_table, repetition_table, turn_plot
from amulet_evals.study.quoted import kept_table
from amulet_evals.study.said import Said, effect, plain, signs
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.preferences import TRAITS, Trait

PLAIN = Said("m", "a", 1, "base", None, "system", "one two three four")
TURNS = 10
SCRIPTS = ("a", "b", "c", "d")


def said(script: str, style: str | None, method: str, text: str, **fields: object) -> Said:
    return replace(PLAIN, script=script, style=style, method=method, text=text, **fields)  # type: ignore[arg-type]


# --- Effects ---


@pytest.mark.parametrize("words, sign", [("one", 1.0), ("a b c d", 0.0), ("a b c d e", -1.0)])
def test_an_answer_has_more_less_or_as_much_as_the_plain_one(words: str, sign: float) -> None:
    own = replace(PLAIN, style="concise", method="pref", text=words)
    assert signs([own], plain([PLAIN, own]), lambda text: -len(text.split())) == {own.place: sign}


def test_what_has_no_number_or_no_plain_answer_counts_for_nothing() -> None:
    own = replace(PLAIN, style="formal", text="")
    alone = replace(own, script="alone")
    found = signs([own, alone], plain([PLAIN]), lambda text: len(text) or None)
    assert found.keys() == {own.place}
    assert math.isnan(found[own.place])
    assert math.isnan(effect(found.values()).mean)


def test_an_effect_is_more_less_less_and_lies_within_its_bounds() -> None:
    found = effect([1.0] * 30 + [0.0] * 10 + [-1.0] * 10)
    assert found.mean == pytest.approx(0.4)
    assert found.difference is not None
    assert -1.0 <= found.difference.low < 0.4 < found.difference.high <= 1.0


# --- Traits ---


def tried(reach: float, script: int, strength: float) -> str:
    """An answer that is short if the strength is enough for this script's turn of mind."""
    return "short" if strength >= -1 + 2 * reach * (script % 10) / 10 else "one two three four"


def trait_answers(reach: float) -> Iterator[Said]:
    for at in range(200):
        yield said(str(at), None, "base", "one two three four")
        for strength in TOWARDS:
            method = f"amulet:strength={strength:g}"
            yield said(str(at), "concise more", method, tried(reach, at, strength))
            yield said(str(at), "concise less", method, "one two three four five")
        for strength in PUSHING:
            method = f"amulet:strength={strength:g}"
            yield said(str(at), "concise more", method, "one two three four")


@pytest.mark.parametrize("reach", [0.4, 1.0, 2.0])
def test_levels_are_as_noticeable_however_hard_a_trait_is_to_reach(reach: float) -> None:
    levels = {each.level: each for each in calibrate(tuple(trait_answers(reach)))}
    assert levels[1].effects["m"].mean == pytest.approx(0.4, abs=0.25)
    assert levels[2].effects["m"].mean == pytest.approx(0.8, abs=0.25)
    assert -1 < levels[1].trial.strength < levels[2].trial.strength


def test_every_question_is_shown_by_the_strengths_that_the_other_half_chose() -> None:
    answers = tuple(trait_answers(1.0))
    one, other = halves(answers)
    assert not one & other
    assert len(one | other) == 200
    assert {each.effects["m"].count for each in calibrate(answers)} == {200}


def test_a_model_that_shows_nothing_of_a_trait_does_not_choose_its_strengths() -> None:
    able = tuple(trait_answers(1.0))
    deaf = [replace(each, model="deaf", text="one two three four") for each in able]
    alone, together = (
        [each.trial.strength for each in calibrate(all_of)] for all_of in (able, (*able, *deaf))
    )
    assert together == alone


def test_where_no_model_shows_anything_the_strengths_are_the_usual_ones() -> None:
    deaf = [replace(each, text="one two three four") for each in trait_answers(1.0)]
    levels = {each.level: each.trial for each in calibrate(deaf)}
    assert (levels[1].strength, levels[2].strength) == (0.0, 1.2)


@given(st.lists(st.floats(-1, 1), min_size=1, max_size=12))
def test_what_grows_never_falls_and_keeps_its_mean(values: list[float]) -> None:
    found = growing(values)
    assert all(a <= b + 1e-9 for a, b in pairwise(found))
    assert sum(found) == pytest.approx(sum(values), abs=1e-6)
    assert growing(sorted(values)) == pytest.approx(sorted(values))


def test_what_falls_apart_is_no_level() -> None:
    wreck = "again and again " * 20
    answers = [
        replace(each, text=wreck) if each.method == "amulet:strength=-0.2" else each
        for each in trait_answers(1.0)
    ]
    assert all(each.trial.repeated < 0.1 for each in calibrate(answers))
    assert any(each.repeated > 0.1 for each in trials(answers)["concise"])


def test_levels_are_not_chosen_where_one_direction_was_never_asked_for() -> None:
    only = [each for each in trait_answers(1.0) if each.style is None or "more" in each.style]
    towards = [each for each in only if float(each.method.partition("=")[2] or 0) > -1]
    with pytest.raises(ConfigurationError, match="of one sort there are none"):
        tuple(calibrate(towards))


def test_strengths_that_were_found_make_a_trait() -> None:
    levels = tuple(calibrate(tuple(trait_answers(1.0))))
    fields = strengths(levels)["concise"]
    assert fields.pop("has_less")
    trait = Trait("Be brief.", "Be long.", **{name: tuple(each) for name, each in fields.items()})
    for each in levels:
        assert trait.at(each.level)[1] == each.trial.strength


def test_levels_are_shown_in_a_table_and_a_picture() -> None:
    levels = tuple(calibrate(tuple(trait_answers(1.0))))
    table = level_table("m", levels)
    assert table.columns == ("-2", "-1", "+1", "+2")
    assert numbers(table, "concise") == [each.effects["m"].mean for each in levels]
    (panel,) = level_plot(levels).figure.axes
    assert list(panel.lines[0].get_xdata()) == [-2, -1, 0, 1, 2]


# --- Conversations ---


def lasting() -> Lasting:
    """Prompted answers are in style for three turns, steered ones for good."""
    found = []
    for script in SCRIPTS:
        for turn in range(1, TURNS + 1):
            found.append(said(script, None, "base", "a b c d", turn=turn))
            for method in ("pref", "amulet"):
                is_kept = method == "amulet" or turn <= 3
                text = "a" if is_kept else "a b c d"
                found.append(said(script, "concise", method, text, turn=turn))
    return Lasting("m", tuple(found))


def numbers(table: Table, method: str) -> list[float]:
    return [each.mean for each in table.rows[method]]


def test_what_fades_is_told_from_what_lasts() -> None:
    table = effect_table(lasting(), "system")
    assert table.columns == ("turn 1", "turns 2 to 5", "turns 6 to 10", "second less first")
    assert numbers(table, "pref") == pytest.approx([1.0, 0.5, 0.0, -0.5])
    assert numbers(table, "amulet") == pytest.approx([1.0, 1.0, 1.0, 0.0])
    difference = table.rows["amulet"][2].difference
    assert difference is not None and difference.ends == (1.0, 1.0)
    assert all(each.difference is None for each in table.rows["pref"])
    assert numbers(repetition_table(lasting(), "system"), "amulet") == [0.0, 0.0, 0.0, 0.0]


def test_turns_that_few_conversations_reached_are_not_shown() -> None:
    whole = lasting()
    one_less = [each for each in whole.said if not (each.script == "a" and each.turn > 5)]
    assert numbers(effect_table(Lasting("m", one_less), "system"), "amulet")[2] == 1.0
    one_left = [each for each in whole.said if each.script == "a" or each.turn <= 5]
    found = effect_table(Lasting("m", one_left), "system")
    assert math.isnan(numbers(found, "amulet")[2])
    assert numbers(found, "amulet")[1] == 1.0


def test_the_picture_has_a_line_per_method() -> None:
    (panel,) = turn_plot(lasting()).figure.axes
    labels = [line.get_label() for line in panel.lines]
    assert labels[:2] == ["pref", "amulet"]


# --- Conditions ---

RULE = Rule("r", "concise", ("work",), {"applies": ("At work?", "The office?"), "not": ("A cat?",)})


def conditional() -> Iterator[Said]:
    for at in range(3):
        yield said(f"r {at}", None, "base", "a b c d")
        yield said(f"r {at}", "preference", "pref", "a")
        yield said(f"r {at}", "worded", "pref", "a" if at == 2 else "a b c d")


def test_what_is_not_matched_is_answered_plainly() -> None:
    table = applying("m", tuple(conditional()), [RULE], matchers(None))
    assert numbers(table, "pref, always") == [1.0, 1.0]
    assert numbers(table, "pref, in words") == [0.0, 1.0]
    assert numbers(table, "pref, when, words") == [0.5, 0.0]
    assert numbers(matching([RULE], matchers(None)), "words") == [0.5, 0.0]


def test_every_rule_names_topics_that_words_find_and_no_question_twice() -> None:
    rules = [Rule.of(row) for row in read("conditions.json")]
    for rule in rules:
        assert rule.trait in TRAITS
        assert len({text for kind in KINDS for text in rule.cases[kind]}) == 18
        applies, not_applies = (
            each.mean for each in matching([rule], matchers(None)).rows["words"]
        )
        assert applies > 0.3 > not_applies


# --- What is given back ---


def test_what_is_given_back_is_counted_letter_by_letter() -> None:
    answers = [
        said("code 0", "formal", "pref", "Of course: `x = 1`"),
        said("code 0", "plain", "pref", "x=1"),
        said("code 0", "formal", "amulet", "x = 1"),
        said("code 0", None, "base", "x = 1"),
    ]
    table = kept_table("m", answers, {"code": ["x = 1"]})
    assert {name: cells[0].mean for name, cells in table.rows.items()} == {
        "pref": 0.5, "amulet": 1.0, "base": 1.0,
    }  # fmt: skip


# --- What is asked ---

QUESTIONS = tuple(Question(str(at), f"What is {at}?") for at in range(60))


@pytest.mark.parametrize("part", PARTS)
def test_a_part_s_shares_are_all_of_it_and_each_has_whole_scripts(part: str) -> None:
    whole = PARTS[part]("m", Amount(QUESTIONS, limit=6, turns=4))
    shares = [whole.share(at, 3) for at in (1, 2, 3)]
    keys = [each.key for share in shares for each in share.talks]
    assert sorted(keys) == sorted(each.key for each in whole.talks)
    assert len(set(keys)) == len(keys)
    for share in shares:
        assert {each.script for each in share.talks} == {each.id for each in share.scripts}


@pytest.mark.parametrize("part", PARTS)
def test_of_a_part_some_methods_keep_what_they_are_held_against(part: str) -> None:
    whole = PARTS[part]("m", Amount(QUESTIONS, limit=6, turns=4))
    method = next(each.method for each in whole.talks if each.style is not None)
    kept = whole.narrowed([method], ["system"]).talks
    assert {each.method for each in kept} == {"base", method}
    assert {each.placement for each in kept} == {"system"}
    plain = [each for each in whole.talks if each.style is None]
    assert [each for each in kept if each.style is None] == plain
    assert whole.narrowed([], []) == whole


@pytest.mark.parametrize("part", PARTS)
def test_what_is_said_to_change_a_part_does_and_nothing_else(part: str) -> None:
    amount = Amount(QUESTIONS, limit=6, turns=4)
    whole = PARTS[part]("m", amount)
    others = {
        "questions": replace(amount, questions=QUESTIONS[5:]),
        "conversations": replace(amount, limit=2),
        "turns": replace(amount, turns=3),
    }
    for name, other in others.items():
        assert (PARTS[part]("m", other) != whole) == (part in TAKEN[name]), name
    assert (len({each.placement for each in whole.talks}) > 1) == (part in TAKEN["placement"])
    assert any(len(each.says) > 1 for each in whole.scripts) == (part in TAKEN["window"])


@pytest.mark.parametrize("part", ["greedy", "sampled"])
def test_of_a_grid_some_methods_keep_what_they_are_held_against(part: str) -> None:
    whole, some = grid(part, []), grid(part, ["Examples"])
    kept = ("Base", "Pref", "Examples")
    assert some["methods"] == {name: whole["methods"][name] for name in kept}
    assert {**some, "methods": whole["methods"]} == whole
