"""Changes are merged: whatever the order they are met in, nothing that was done is undone."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.utils.uuid import uuid7

from langchain_amulet.errors import PreferenceError
from langchain_amulet.memory.merging import (
    StoredState,
    adding,
    forgetting,
    merge,
    new_id,
    updating,
)
from langchain_amulet.memory.profile import Change, StoredPreference, distinct, stored_preferences

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LIMIT = 16
TEXTS = "abcdef"

ids = st.sampled_from(TEXTS)
entries = st.dictionaries(ids, ids.map(StoredPreference))
actions = st.sampled_from(["set", "add", "forget", "learn"])
changes = st.dictionaries(
    st.uuids().map(str),
    st.builds(Change, action=actions, at=st.just(NOW), added=entries, removed=entries),
    max_size=4,
)


@given(entries, changes, st.randoms())
def test_changes_merge_in_any_order(record: Any, met: dict[str, Change], random: Any) -> None:
    merged = merge(record, met)
    shuffled = dict(random.sample(sorted(met.items()), len(met)))
    assert merge(record, shuffled).keys() == merged.keys()
    assert merge(merged, met).keys() == merged.keys()  # and any number of times


@given(changes)
def test_of_what_was_set_what_was_set_last_is_left(met: dict[str, Change]) -> None:
    sets = {key: change for key, change in met.items() if change.action == "set"}
    expected = sets[max(sets)].added.keys() if sets else set()
    assert merge({}, sets).keys() <= expected


def test_a_change_comes_after_those_it_knows_of_even_if_the_clock_is_behind() -> None:
    tomorrow = str(uuid7(time.time_ns() + 24 * 3600 * 10**9))
    assert new_id() < tomorrow < new_id([tomorrow, new_id()]) < new_id([new_id([tomorrow])])


def test_a_preference_with_the_same_text_gives_way() -> None:
    found = StoredState(record={"1": StoredPreference("Be kind.")}, is_ours=True)
    change = adding([StoredPreference(" be KIND. ", weight=2.0)], LIMIT)(found, NOW)
    assert change is not None
    assert change.removed == found.record
    assert [added.weight for added in change.added.values()] == [2.0]


def test_what_has_expired_makes_room() -> None:
    found = StoredState(record={"1": StoredPreference("Be kind.", expires_at=NOW)}, is_ours=True)
    change = adding([StoredPreference("Keep it short.")], 1)(found, NOW)
    assert change is not None
    assert change.removed == found.record


def test_no_more_preferences_than_the_limit_are_added() -> None:
    found = StoredState(record={"1": StoredPreference("Be kind.")}, is_ours=True)
    with pytest.raises(PreferenceError, match="at most 1 stored preferences, not 2"):
        adding([StoredPreference("Keep it short.")], 1)(found, NOW)


def test_forgetting_what_is_not_there_changes_nothing() -> None:
    assert forgetting(None)(StoredState(), NOW) is None
    assert forgetting("Be kind.")(StoredState(record={"1": StoredPreference("Hi.")}), NOW) is None


def test_traits_are_forgotten_by_the_text_that_named_them() -> None:
    words = stored_preferences(["warm", "Use lists."])
    traits = stored_preferences("concise ++, warm -")
    record = {str(place): each for place, each in enumerate([*traits, *words])}
    change = forgetting("Concise ++, warm -")(StoredState(record=record, is_ours=True), NOW)
    assert change is not None
    assert tuple(change.removed.values()) == traits


def test_only_what_is_still_there_is_updated() -> None:
    held = {"1": StoredPreference("a"), "2": StoredPreference("b", weight=2.0)}
    learned = [StoredPreference("A", strength=2.0), StoredPreference("c", strength=2.0)]
    change = updating(learned, "strength")(StoredState(record=held), NOW)
    assert change is not None and change.action == "learn"
    assert list(change.added.values()) == [StoredPreference("a", strength=2.0)]
    assert change.removed == {"1": held["1"]}
    assert updating(learned[1:], "strength")(StoredState(record=held), NOW) is None


def test_what_was_learned_changes_nothing_else_about_a_preference() -> None:
    """Fitting takes its time, in which others write."""
    by_now = StoredPreference("a", weight=0.5, when=["work"], expires_at=NOW + timedelta(days=1))
    over = StoredPreference("b", expires_at=NOW)
    learned = [StoredPreference("a", strength=2.0), StoredPreference("b", strength=2.0)]
    change = updating(learned, "strength")(StoredState(record={"1": by_now, "2": over}), NOW)
    assert change is not None
    assert list(change.added.values()) == [by_now.model_copy(update={"strength": 2.0})]


def test_copies_of_a_text_count_once_and_go_together() -> None:
    copies = {"1": StoredPreference("Be kind."), "2": StoredPreference("be kind.", weight=2.0)}
    found = StoredState(record=copies, is_ours=True)
    assert distinct(copies) == {"2": copies["2"]}
    assert adding([StoredPreference("Keep it short.")], 2)(found, NOW) is not None
    change = forgetting("Be KIND.")(found, NOW)
    assert change is not None and change.removed == copies
