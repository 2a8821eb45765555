"""Traits: names with more and less, presets made of them, and how people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amulet_evals.scorers.trait_measures import MEASURES
from langchain_amulet.errors import PreferenceError
from langchain_amulet.memory import StoredPreference
from langchain_amulet.preferences import PRESETS, TRAITS, Preference, Trait
from langchain_amulet.preferences.traits import LEVELS, SIGNS, read_levels


@pytest.mark.parametrize("name", TRAITS)
def test_more_of_a_trait_is_its_text_and_never_weaker_at_two_steps_than_at_one(name: str) -> None:
    one, two = (Preference.trait(name, level) for level in (1, 2))
    assert one.text == two.text == TRAITS[name].more
    assert -1 < float(one.strength or 0) <= float(two.strength or 0)


@pytest.mark.parametrize("name", TRAITS)
def test_less_of_a_trait_is_the_other_text_or_pushes_away_from_the_same(name: str) -> None:
    one, two = (Preference.trait(name, level) for level in (-1, -2))
    assert one.text == two.text == (TRAITS[name].less or TRAITS[name].more)
    strengths = [float(each.strength or 0) for each in (one, two)]
    assert all(math.copysign(1, each + 1) == (1 if TRAITS[name].less else -1) for each in strengths)
    assert abs(strengths[0] + 1) <= abs(strengths[1] + 1)


def test_a_trait_s_name_may_have_any_case_and_its_level_be_left_out() -> None:
    assert Preference.trait("Concise") == Preference.trait("concise", 1)


@pytest.mark.parametrize("level", [0, 3, -3, 1.0, True, "+", None])
def test_a_level_that_there_isn_t_is_refused(level: object) -> None:
    with pytest.raises(PreferenceError, match="one of -2, -1, 1, 2"):
        Preference.trait("concise", level)  # type: ignore[arg-type]


def test_a_trait_or_preset_that_there_isn_t_is_refused_with_one_that_is_near() -> None:
    with pytest.raises(PreferenceError, match="did you mean 'concise'"):
        Preference.trait("consise")
    with pytest.raises(PreferenceError, match="did you mean 'friendly'"):
        Preference.preset("freindly")
    with pytest.raises(PreferenceError, match="must be one of"):
        Preference.preset(3)  # type: ignore[arg-type]


def test_a_trait_can_be_stored_like_any_preference() -> None:
    assert isinstance(StoredPreference.trait("warm", 2), StoredPreference)
    assert all(isinstance(each, StoredPreference) for each in StoredPreference.preset("nerdy"))


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_made_of_traits_that_there_are(name: str) -> None:
    assert PRESETS[name].keys() <= TRAITS.keys()
    assert set(PRESETS[name].values()) <= set(LEVELS)
    assert len(Preference.preset(name)) == len(PRESETS[name])


def test_there_is_a_measure_for_every_trait() -> None:
    assert MEASURES.keys() == TRAITS.keys()


written = st.tuples(st.sampled_from(list(TRAITS)), st.sampled_from(list(SIGNS)))


@given(st.lists(written, min_size=1), st.sampled_from([",", ", ", " , "]))
def test_what_is_written_of_traits_is_read(wanted: list[tuple[str, str]], comma: str) -> None:
    text = comma.join(f"{name} {sign}" for name, sign in wanted)
    assert read_levels(text, TRAITS) == tuple((name, SIGNS[sign]) for name, sign in wanted)


@pytest.mark.parametrize("text", ["", "kind", "concise +++", "concise, please", "concise 2", ","])
def test_what_isn_t_made_of_traits_alone_is_none(text: str) -> None:
    assert read_levels(text, TRAITS) is None


def test_a_trait_without_words_for_less_pushes_away_from_those_for_more() -> None:
    assert Trait("Be loud.").at(-2) == ("Be loud.", -3.0)
