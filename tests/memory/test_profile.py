"""What may be stored of a user, and what is read back."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_amulet.errors import AmuletError, PreferenceError
from langchain_amulet.memory.profile import (
    Change,
    Profile,
    StoredPreference,
    dump,
    dump_change,
    end_of,
    read_change,
    read_entries,
    stored_preferences,
)
from langchain_amulet.preferences.preference import Preference

NOW = datetime(2026, 5, 1, tzinfo=UTC)

preferences = st.builds(
    lambda text, **fields: StoredPreference(text=text, **fields),
    text=st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1).filter(str.strip),
    strength=st.none() | st.floats(-5, 5) | st.sampled_from(["subtle", "strong"]),
    weight=st.floats(0, 5),
    when=st.lists(st.sampled_from(["work", "the garden", "C++"]), max_size=3),
    expires_at=st.none() | st.datetimes(timezones=st.just(UTC)),
)
entries = st.dictionaries(st.uuids().map(str), preferences, max_size=4)


@given(entries)
def test_preferences_are_read_as_they_were_stored(held: dict[str, StoredPreference]) -> None:
    assert read_entries(dump(held)) == dict(sorted(held.items()))


@given(entries, entries)
def test_a_change_is_read_as_it_was_stored(added: Any, removed: Any) -> None:
    change = Change(action="add", at=NOW, added=added, removed=removed)
    assert read_change(dump_change(change)) == change


@pytest.mark.parametrize(
    "value",
    [
        {"preferences": {"1": {"text": "Keep it short."}}},
        {"preferences": [{"text": "Keep it short."}]},
        {"preferences": ["Keep it short."]},
        {"text": "Keep it short."},
        {"content": "Keep it short."},
        {"kind": "Memory", "content": "Keep it short."},
        {"kind": "Memory", "content": {"content": "Keep it short."}},
        {"kind": "Preference", "content": {"text": "Keep it short."}},
    ],
    ids=str,
)
def test_all_shapes_hold_the_same_preference(value: dict[str, Any]) -> None:
    assert list(read_entries(value).values()) == [StoredPreference("Keep it short.")]


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ({}, "text"),
        ({"preferences": 3}, "preferences"),
        ({"preferences": [{"text": "Short.", "colour": "red"}]}, "preferences.0.*colour"),
        ({"preferences": {"7": {"text": ""}}}, "preferences.7.*text"),
        ({"preferences": [], "colour": "red"}, "colour"),
        ({"text": "Short.", "strength": "enormous"}, "enormous"),
        ({"text": "Short.", "weight": -1}, "weight"),
        ({"text": ["Short."]}, "text"),
        ({"text": "Short.", "expires_at": "soon"}, "expires_at"),
        ({"content": None}, "content"),
        ({"kind": "Memory"}, "content"),
        ({"kind": "Car", "content": {"wheels": 4}}, "wheels"),
        (["Short."], "object"),
    ],
    ids=str,
)
def test_a_complaint_names_the_field(value: Any, named: str) -> None:
    with pytest.raises(AmuletError, match=rf"(?s){named}"):
        read_entries(value)


@pytest.mark.parametrize("text", ["a\x00b", "a\x1b[31m", "a\x7f", "a\x85b", "a\ud800"])
def test_control_characters_are_refused(text: str) -> None:
    for kind in (Preference, StoredPreference):
        with pytest.raises(PreferenceError, match="control characters"):
            kind(text)
    with pytest.raises(PreferenceError, match=r"control characters|'when"):
        StoredPreference("Keep it short.", when=[text])


def test_new_lines_and_tabs_are_kept_and_those_of_windows_made_plain() -> None:
    assert StoredPreference("one\r\ntwo\n\tthree").text == "one\ntwo\n\tthree"


@pytest.mark.parametrize("topics", [[""], [" "], ["x" * 101], ["work"] * 33, [3], 3])
def test_topics_are_few_and_short(topics: Any) -> None:
    with pytest.raises(PreferenceError, match="when"):
        StoredPreference("Keep it short.", when=topics)


def test_one_topic_needs_no_list() -> None:
    assert StoredPreference("Be formal.", when="work").when == ("work",)


@pytest.mark.parametrize("end", [3600, 1.5, NOW.replace(tzinfo=None), True])
def test_an_end_is_a_moment_with_a_time_zone(end: Any) -> None:
    with pytest.raises(PreferenceError, match="expires_at"):
        StoredPreference("Keep it short.", expires_at=end)


def test_an_end_is_given_as_a_moment_a_duration_or_seconds() -> None:
    end = NOW + timedelta(hours=1)
    assert end_of(end, NOW) == end_of(timedelta(hours=1), NOW) == end_of(3600, NOW) == end
    assert end_of(None, NOW) is None


@pytest.mark.parametrize("lifetime", [0, -1, float("nan"), 1e300, NOW, timedelta(0), "soon"])
def test_an_end_is_to_come(lifetime: Any) -> None:
    with pytest.raises(PreferenceError, match="expiry"):
        end_of(lifetime, NOW)


def test_an_end_that_is_refused_is_told_the_rule_that_it_broke() -> None:
    with pytest.raises(PreferenceError, match="must be in the future, unlike "):
        end_of(NOW, NOW)
    with pytest.raises(PreferenceError, match="must have a time zone, unlike "):
        end_of(NOW.replace(tzinfo=None), NOW)
    with pytest.raises(PreferenceError, match="must be a time, unlike 'soon'"):
        end_of("soon", NOW)  # type: ignore[arg-type]


def test_a_preference_is_over_from_its_end_on() -> None:
    preference = StoredPreference("Keep it short.", expires_at=NOW)
    assert not preference.is_over(NOW - timedelta(microseconds=1))
    assert preference.is_over(NOW)
    assert not StoredPreference("Keep it short.").is_over(NOW)


def test_whatever_a_call_takes_for_a_preference_can_be_stored() -> None:
    given = ["Keep it short.", Preference("Be kind.", weight=2.0), {"text": "Hi.", "when": "work"}]
    assert stored_preferences(given) == (
        StoredPreference("Keep it short."),
        StoredPreference("Be kind.", weight=2.0),
        StoredPreference("Hi.", when=("work",)),
    )


def test_a_profile_tells_what_lasts_from_what_is_over() -> None:
    over = StoredPreference("Keep it short.", expires_at=NOW)
    ending = StoredPreference("Be kind.", expires_at=datetime.now(UTC) + timedelta(hours=1))
    formal = StoredPreference("Be formal.", when="work")
    profile = Profile(preferences=(over, ending, formal))
    assert profile.lasting == (ending, formal)
    assert Profile(preferences=(over,)).lasting == ()
