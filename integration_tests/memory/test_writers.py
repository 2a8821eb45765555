"""Writers at the same time: whatever the order of their steps, nothing that was done is undone."""

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from langgraph.store.memory import InMemoryStore

from langchain_amulet.memory import Change, StoredPreference
from langchain_amulet.memory.lookups import Timeout
from langchain_amulet.memory.merging import Edit, adding, forgetting, merge, setting, updating
from langchain_amulet.memory.namespaces import Namespace
from langchain_amulet.memory.profile import distinct, stored_preferences
from langchain_amulet.memory.reading import RecordReader
from langchain_amulet.memory.store_access import access_to
from langchain_amulet.memory.writing import RecordWriter
from langchain_amulet.waiting.procedure import Procedure, run
from langchain_amulet.waiting.wait import Wait

LIMIT = 16
SHARED, OWNED = ("preferences",), ("users", "{user_id}")

texts = st.sampled_from("abcdef")
edits = st.one_of(
    st.builds(lambda text: adding(stored_preferences(text), LIMIT), texts),
    st.builds(lambda texts: setting(stored_preferences(texts)), st.lists(texts, max_size=3)),
    st.builds(forgetting, st.none() | texts),
    st.builds(lambda text: updating(stored_preferences(text), "strength"), texts),
)
every_namespace = st.sampled_from([SHARED, OWNED])


class Ada:
    """What is stored of one user, by writers whose steps a test can take one by one."""

    def __init__(self, namespace: tuple[str, ...] = SHARED) -> None:
        self.store = InMemoryStore()
        access = access_to(self.store, Timeout(None))
        self.reader = RecordReader(access, Namespace.of(namespace), 100, 16, refresh=False)
        self.writer = RecordWriter(self.reader, ttl=None)

    def writing(self, edit: Edit) -> Procedure[None, Change | None]:
        return self.writer.change("ada", edit, _fail)

    def write(self, edit: Edit) -> None:
        run(self.writing(edit))

    @property
    def preferences(self) -> tuple[StoredPreference, ...]:
        location = self.reader.namespace.location("ada")
        return run(self.reader.preferences(location, _fail))

    @property
    def texts(self) -> set[str]:
        return {preference.text for preference in self.preferences}

    @property
    def history(self) -> tuple[Change, ...]:
        return run(self.reader.history("ada", 99, _fail))


def test_what_another_program_wrote_over_does_not_come_back() -> None:
    ada = Ada()
    ada.write(setting([StoredPreference("old")]))
    ada.store.put(("preferences",), "ada", {"content": "theirs"})
    ada.write(adding([StoredPreference("new")], LIMIT))
    assert ada.texts == {"theirs", "new"}


@settings(max_examples=300)
@given(st.data(), every_namespace)
def test_everything_that_writers_add_at_the_same_time_is_kept(
    data: st.DataObject, namespace: tuple[str, ...]
) -> None:
    ada = Ada(namespace)
    added = data.draw(st.lists(texts, min_size=2, max_size=4, unique=True))
    interleave([ada.writing(adding([StoredPreference(text)], LIMIT)) for text in added], data)
    assert ada.texts == set(added)


@settings(max_examples=100)
@given(st.data(), every_namespace)
def test_what_several_writers_add_at_the_same_time_is_one_preference(
    data: st.DataObject, namespace: tuple[str, ...]
) -> None:
    """The newest is given, one more fits where two may be, and forgetting it forgets all copies."""
    ada = Ada(namespace)
    copies = [StoredPreference(text, weight=place) for place, text in enumerate(("a", "A", " a "))]
    interleave([ada.writing(adding([copy], 1)) for copy in copies], data)
    history = ada.history
    newest = max(name for change in history for name in change.added)
    (found,) = ada.preferences
    assert found == next(change.added[newest] for change in history if newest in change.added)
    ada.write(adding([StoredPreference("b")], 2))
    assert ada.texts == {found.text, "b"}
    ada.write(forgetting("a"))
    assert ada.texts == {"b"}


@settings(max_examples=300)
@given(st.data(), st.lists(edits, min_size=2, max_size=4))
def test_the_record_ends_as_its_history_says(data: st.DataObject, edits: list[Edit]) -> None:
    ada = Ada()
    ada.write(setting([StoredPreference("a")]))
    interleave([ada.writing(edit) for edit in edits], data)
    numbered = {f"{place:03d}": each for place, each in enumerate(reversed(ada.history))}
    assert ada.preferences == tuple(distinct(merge({}, numbered)).values())


def test_a_set_beside_an_add_leaves_nothing_older() -> None:
    """Whichever comes first, what was there before both is gone and both are in the history."""
    ada = Ada()
    ada.write(setting([StoredPreference("old")]))
    edits = adding([StoredPreference("added")], LIMIT), setting([StoredPreference("set")])
    in_turn([ada.writing(edit) for edit in edits])
    assert ada.texts == {"added", "set"}
    assert [change.action for change in ada.history] == ["set", "add", "set"]


def test_of_two_sets_at_the_same_time_one_is_in_force() -> None:
    ada = Ada()
    in_turn([ada.writing(setting([StoredPreference(text)])) for text in ("one", "two")])
    assert ada.texts == {"two"}
    assert len(ada.history) == 2


def test_only_so_many_changes_are_kept() -> None:
    ada = Ada()
    for number in range(40):
        ada.write(setting([StoredPreference(str(number))]))
    added = [entry.text for change in ada.history for entry in change.added.values()]
    assert added == [str(number) for number in range(39, 23, -1)]
    assert len(ada.store.search(("preference_changes",), limit=99)) == 16


def interleave(writers: Sequence[Procedure[None, Any]], data: st.DataObject) -> None:
    """Run all, a step of one or another at a time."""
    waiting = {place: (writer, _done(next(writer))) for place, writer in enumerate(writers)}
    while waiting:
        place = data.draw(st.sampled_from(sorted(waiting)))
        writer, results = waiting[place]
        try:
            waiting[place] = (writer, _done(writer.send(results)))
        except StopIteration:
            del waiting[place]


def in_turn(writers: Sequence[Procedure[None, Any]]) -> None:
    """Have all read before the first one writes; then run one after the other to its end."""
    read = [_done(next(writer)) for writer in writers]
    for writer, results in zip(writers, read, strict=True):
        try:
            while True:
                results = _done(writer.send(results))
        except StopIteration:
            pass


def _done(step: Wait[Any] | None) -> Any:
    assert step is not None
    return step.block()


def _fail(error: Exception) -> None:
    raise error
