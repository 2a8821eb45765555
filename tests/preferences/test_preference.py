"""What a preference may be made of; and lists of them, which end however they are nested."""

from __future__ import annotations

from typing import Any

import pytest

from langchain_amulet.errors import PreferenceError
from langchain_amulet.memory import StoredPreference
from langchain_amulet.memory.profile import stored_preferences
from langchain_amulet.preferences.preference import (
    MOST_PREFERENCES,
    Preference,
    as_preferences,
    have_strengths,
)
from langchain_amulet.preferences.traits import LEVELS, SIGNS, TRAITS


def nested(depth: int) -> Any:
    found: Any = "Be kind."
    for _ in range(depth):
        found = [found]
    return found


def cyclic(width: int) -> list[Any]:
    found: list[Any] = []
    found.extend([found] * width)
    return found


def test_lists_in_lists_are_read_in_their_order() -> None:
    value = ["a", [["b", None, ("c",)], []], {"text": "d"}]
    assert [each.text for each in as_preferences(value)] == ["a", "b", "c", "d"]


def test_nesting_may_be_deep() -> None:
    assert len(as_preferences(nested(MOST_PREFERENCES))) == 1


@pytest.mark.parametrize(
    "value",
    [
        nested(MOST_PREFERENCES + 1),
        nested(100_000),
        cyclic(1),
        cyclic(MOST_PREFERENCES),
        ["Be kind."] * (MOST_PREFERENCES + 1),
        [[]] * 10**6,
    ],
    ids=["too deep", "far too deep", "a cycle", "a wide cycle", "too many", "too many of nothing"],
)
def test_what_never_ends_or_is_too_much_is_refused(value: Any) -> None:
    with pytest.raises(PreferenceError, match="at most 1000 preferences") as caught:
        as_preferences(value)
    assert "Be kind" not in str(caught.value)


@pytest.mark.parametrize("fields", [{"when": ["work"]}, {"expires_at": None}], ids=str)
def test_what_only_a_stored_preference_has_is_said_to_be_its(fields: dict[str, Any]) -> None:
    with pytest.raises(PreferenceError, match="unknown: a StoredPreference has it"):
        Preference("Be kind.", **fields)
    StoredPreference("Be kind.", **fields)
    with pytest.raises(PreferenceError, match=r"'whem' is unknown: did you mean 'when'\?"):
        StoredPreference("Be kind.", whem=["work"])


@pytest.mark.parametrize("kind", [Preference, StoredPreference])
@pytest.mark.parametrize("field", ["strength", "weight"])
@pytest.mark.parametrize("flag", [True, False])
def test_a_truth_value_is_no_number(kind: type[Preference], field: str, flag: bool) -> None:
    with pytest.raises(PreferenceError, match=f"'{field}' can't be {flag}: it must be a number"):
        kind("Be kind.", **{field: flag})


@pytest.mark.parametrize("name", TRAITS)
@pytest.mark.parametrize("level", LEVELS)
def test_a_text_of_traits_with_signs_stands_for_these(name: str, level: int) -> None:
    signs = [sign for sign, meant in SIGNS.items() if meant == level and sign]
    for sign in signs:
        text = f"{name.title()} {sign}"
        assert as_preferences(text) == (Preference.trait(name, level),)
        both = (Preference.trait(name, level), Preference.trait("warm"))
        assert as_preferences(["Be kind.", f"{text}, warm"]) == (Preference("Be kind."), *both)
        (stored,) = stored_preferences(text)
        assert isinstance(stored, StoredPreference)
        assert stored.plain == Preference.trait(name, level)


@pytest.mark.parametrize(
    "text",
    [
        "concise",
        "Concise, formal",
        "Be concise.",
        "Less is more - so.",
        "C++",
        "Use Rust, Go, C++",
        "I want an A+",
    ],
)
def test_any_other_text_is_words(text: str) -> None:
    assert as_preferences(text) == (Preference(text),)


@pytest.mark.parametrize(
    "text",
    [
        "concise +++", "concise --, kind", "consise --", "C --", "concise ++ formal -",
        "concise ++; formal -", "+concise", "- formal\n- concise",
    ],
)  # fmt: skip
def test_a_text_that_is_meant_for_traits_and_is_not_one_is_refused(text: str) -> None:
    with pytest.raises(PreferenceError, match="must be concise, formal"):
        as_preferences(text)


@pytest.mark.parametrize("text", ["concise --", "C++", "concise +++"])
def test_words_as_they_stand_are_the_text_of_a_preference(text: str) -> None:
    assert Preference(text).text == text
    assert as_preferences([Preference(text), {"text": text}]) == (Preference(text),) * 2


@pytest.mark.parametrize(("name", "level"), [("concise --", -2), ("Formal+", 1), ("warm ++", 2)])
def test_a_level_behind_a_trait_s_name_is_told_how_to_be_given(name: str, level: int) -> None:
    with pytest.raises(PreferenceError, match=rf"as in trait\('\w+', {level}\)"):
        Preference.trait(name)


def test_preferences_have_strengths_where_all_that_count_do() -> None:
    own, without = Preference("a", strength=1.0), Preference("b")
    assert have_strengths([own, own])
    assert have_strengths([own, Preference("c", weight=0.0)])
    assert not have_strengths([own, without])
    assert not have_strengths([])
