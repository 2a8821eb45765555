"""Writers at the same time: whatever the order of their steps, nothing that was done is undone."""

import time
from collections.abc import Generator, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.utils.uuid import uuid7
from langgraph.store.memory import InMemoryStore

from langchain_amulet.errors import PreferenceError
from langchain_amulet.memory.merging import (
    Edit,
    StoredState,
    adding,
    distinct,
    forgetting,
    merge,
    new_id,
    setting,
    updating,
)
from langchain_amulet.memory.namespaces import Namespace
from langchain_amulet.memory.profile import Change, StoredPreference, stored_preferences
from langchain_amulet.memory.records import Records

NOW = datetime(2026, 5, 1, tzinfo=timezone.utc)
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
edits = st.one_of(
    st.builds(lambda text: adding(stored_preferences(text), LIMIT), ids),
    st.builds(lambda texts: setting(stored_preferences(texts)), st.lists(ids, max_size=3)),
    st.builds(forgetting, st.none() | ids),
    st.builds(lambda text: updating(stored_preferences(text), "strength"), ids),
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
    found = StoredState(record={"1": StoredPreference("Be kind.")}, ours=True)
    change = adding([StoredPreference(" be KIND. ", weight=2.0)], LIMIT)(found, NOW)
    assert change is not None
    assert change.removed == found.record
    assert [added.weight for added in change.added.values()] == [2.0]


def test_what_has_expired_makes_room() -> None:
    found = StoredState(record={"1": StoredPreference("Be kind.", expires_at=NOW)}, ours=True)
    change = adding([StoredPreference("Keep it short.")], 1)(found, NOW)
    assert change is not None
    assert change.removed == found.record


def test_no_more_preferences_than_the_limit_are_added() -> None:
    found = StoredState(record={"1": StoredPreference("Be kind.")}, ours=True)
    with pytest.raises(PreferenceError, match="at most 1 stored preferences, not 2"):
        adding([StoredPreference("Keep it short.")], 1)(found, NOW)


def test_forgetting_what_is_not_there_changes_nothing() -> None:
    assert forgetting(None)(StoredState(), NOW) is None
    assert forgetting("Be kind.")(StoredState(record={"1": StoredPreference("Hi.")}), NOW) is None


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


def test_what_another_program_wrote_over_does_not_come_back() -> None:
    store, records = InMemoryStore(), _records()
    _run(store, records.change("ada", setting([StoredPreference("old")]), _fail))
    store.put(("preferences",), "ada", {"content": "theirs"})
    _run(store, records.change("ada", adding([StoredPreference("new")], LIMIT), _fail))
    assert _texts(store) == {"theirs", "new"}


@settings(max_examples=300)
@given(st.data(), st.sampled_from([("preferences",), ("users", "{user_id}")]))
def test_everything_that_writers_add_at_the_same_time_is_kept(
    data: st.DataObject, namespace: tuple[str, ...]
) -> None:
    store = InMemoryStore()
    texts = data.draw(st.lists(ids, min_size=2, max_size=4, unique=True))
    edits = [adding([StoredPreference(text)], LIMIT) for text in texts]
    _interleaved(store, [_records(namespace).change("ada", edit, _fail) for edit in edits], data)
    assert _texts(store, namespace) == set(texts)


@settings(max_examples=100)
@given(st.data(), st.sampled_from([("preferences",), ("users", "{user_id}")]))
def test_what_several_writers_add_at_the_same_time_is_one_wish(
    data: st.DataObject, namespace: tuple[str, ...]
) -> None:
    """The newest is given, one more fits where two may be, and forgetting it forgets all copies."""
    store, records = InMemoryStore(), _records(namespace)
    wishes = [StoredPreference(text, weight=place) for place, text in enumerate(("a", "A", " a "))]
    writers = [records.change("ada", adding([wish], 1), _fail) for wish in wishes]
    _interleaved(store, writers, data)
    history = _run(store, records.history("ada", 9, _fail))
    newest = max(name for change in history for name in change.added)
    (given,) = _run(store, records.lookup("ada", _fail)).preferences
    assert given == next(change.added[newest] for change in history if newest in change.added)
    _run(store, records.change("ada", adding([StoredPreference("b")], 2), _fail))
    assert _texts(store, namespace) == {given.text, "b"}
    _run(store, records.change("ada", forgetting("a"), _fail))
    assert _texts(store, namespace) == {"b"}


def test_copies_of_a_text_count_once_and_go_together() -> None:
    copies = {"1": StoredPreference("Be kind."), "2": StoredPreference("be kind.", weight=2.0)}
    found = StoredState(record=copies, ours=True)
    assert distinct(copies) == {"2": copies["2"]}
    assert adding([StoredPreference("Keep it short.")], 2)(found, NOW) is not None
    change = forgetting("Be KIND.")(found, NOW)
    assert change is not None and change.removed == copies


@settings(max_examples=300)
@given(st.data(), st.lists(edits, min_size=2, max_size=4))
def test_the_record_ends_as_its_history_says(data: st.DataObject, edits: list[Edit]) -> None:
    store, records = InMemoryStore(), _records()
    _run(store, records.change("ada", setting([StoredPreference("a")]), _fail))
    _interleaved(store, [records.change("ada", edit, _fail) for edit in edits], data)
    history = _run(store, records.history("ada", 64, _fail))
    profile = _run(store, records.lookup("ada", _fail))
    kept = merge({}, {f"{place:03d}": each for place, each in enumerate(reversed(history))})
    assert (profile.preferences if profile else ()) == tuple(distinct(kept).values())


def test_a_set_beside_an_add_leaves_nothing_older() -> None:
    """Whichever comes first, what was there before both is gone and both are in the history."""
    store, records = InMemoryStore(), _records()
    _run(store, records.change("ada", setting([StoredPreference("old")]), _fail))
    one = records.change("ada", adding([StoredPreference("added")], LIMIT), _fail)
    other = records.change("ada", setting([StoredPreference("set")]), _fail)
    read = [store.batch(next(writer)) for writer in (one, other)]
    for writer, results in zip((one, other), read, strict=True):
        _finish(store, writer, results)
    assert _texts(store) == {"added", "set"}
    assert [change.action for change in _run(store, records.history("ada", 9, _fail))] == [
        "set",
        "add",
        "set",
    ]


def test_of_two_sets_at_the_same_time_one_is_in_force() -> None:
    store, records = InMemoryStore(), _records()
    writers = [
        records.change("ada", setting([StoredPreference(text)]), _fail) for text in ("one", "two")
    ]
    read = [store.batch(next(writer)) for writer in writers]
    for writer, results in zip(writers, read, strict=True):
        _finish(store, writer, results)
    assert _texts(store) == {"two"}
    assert len(_run(store, records.history("ada", 9, _fail))) == 2


def test_only_so_many_changes_are_kept() -> None:
    store, records = InMemoryStore(), _records()
    for number in range(40):
        _run(store, records.change("ada", setting([StoredPreference(str(number))]), _fail))
    changes = _run(store, records.history("ada", 99, _fail))
    texts = [entry.text for change in changes for entry in change.added.values()]
    assert texts == [str(number) for number in range(39, 23, -1)]
    assert len(store.search(("preference_changes",), limit=99)) == 16


def _records(namespace: tuple[str, ...] = ("preferences",)) -> Records:
    return Records.of(InMemoryStore(), Namespace.of(namespace), max_chars=100, max_history=16)


def _run(store: InMemoryStore, procedure: Generator[Any, Any, Any]) -> Any:
    return _finish(store, procedure, store.batch(next(procedure)))


def _finish(store: InMemoryStore, procedure: Generator[Any, Any, Any], results: Any) -> Any:
    try:
        while True:
            results = store.batch(procedure.send(results))
    except StopIteration as end:
        return end.value


def _interleaved(
    store: InMemoryStore, writers: Sequence[Generator[Any, Any, Any]], data: st.DataObject
) -> None:
    """Run all, a step of one or another at a time."""
    waiting = {place: (writer, store.batch(next(writer))) for place, writer in enumerate(writers)}
    while waiting:
        place = data.draw(st.sampled_from(sorted(waiting)))
        writer, results = waiting[place]
        try:
            waiting[place] = (writer, store.batch(writer.send(results)))
        except StopIteration:
            del waiting[place]


def _texts(store: InMemoryStore, namespace: tuple[str, ...] = ("preferences",)) -> set[str]:
    profile = _run(store, _records(namespace).lookup("ada", _fail))
    return {preference.text for preference in profile.preferences} if profile else set()


def _fail(error: Exception) -> None:
    raise error
