"""How a user's preferences change, so that no writer undoes what another did at the same time.

A store has no compare-and-swap: a record that is read, changed and written back can undo another
writer's change. So every change is also stored by itself, under a key that no other has, together
with the record; and preferences have ids that are given once. The record can then be made from
any other version of it and the changes near it, in whatever order these are met: all that was
ever added, but for what was ever removed (an observed-remove set), and of what was set at the same
time, what was set last. A writer is done when what it reads back holds all changes that it can
see. The last writer sees them all.

This module knows no stores: only what was found in one, and what is to be there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import NoneType
from uuid import UUID

from langchain_core.utils.uuid import uuid7

from langchain_amulet.errors import PreferenceError
from langchain_amulet.memory.limits import check_count
from langchain_amulet.memory.profile import (
    Change,
    Entries,
    StoredPreference,
    distinct,
    normalized,
)
from langchain_amulet.preferences.traits import TRAITS, means_traits, read_levels
from langchain_amulet.validation.checks import check_type


@dataclass(frozen=True)
class StoredState:
    """What a store holds of one user.

    Attributes:
        record: The preferences of the record; empty if there is none.
        is_ours: Whether this package wrote it.
        items: What other programs put beside it, by key, where a namespace is the user's own.
        unreadable: Keys of items, the record's among them, that hold no preferences.
        changes: By key, oldest first; as many as are kept.
        unreadable_changes: Keys of changes that can't be read.
    """

    record: Entries = field(default_factory=dict)
    is_ours: bool = False
    items: Entries = field(default_factory=dict)
    unreadable: tuple[str, ...] = ()
    changes: Mapping[str, Change] = field(default_factory=dict)
    unreadable_changes: tuple[str, ...] = ()

    @property
    def entries(self) -> Entries:
        """All preferences, as a lookup finds them."""
        return {**self.items, **self.record}

    @property
    def replaced(self) -> Entries:
        """What was added, and then written over or deleted by another program."""
        if self.is_ours:
            return {}
        return {name: each for name, each in self.merged.items() if name not in self.record}

    @property
    def merged(self) -> Entries:
        """The record as it has to be after all the changes."""
        return merge(self.record, self.changes)

    @property
    def is_settled(self) -> bool:
        """Whether the record holds all the changes."""
        return self.merged.keys() == self.record.keys()


def merge(record: Entries, changes: Mapping[str, Change]) -> Entries:
    """All that is in the record or was added, but for what was removed, oldest first.

    What was set goes by itself when something else is set, even by those who didn't know of it.
    """
    held, gone = dict(record), set[str]()
    last = max((key for key in changes if changes[key].action == "set"), default=None)
    for key, change in changes.items():
        held |= change.added
        gone |= change.removed.keys()
        if change.action == "set" and key != last:
            gone |= change.added.keys()
    return {name: held[name] for name in sorted(held) if name not in gone}


Edit = Callable[[StoredState, datetime], "Change | None"]
"""What is to change, given what is there and the time; None for nothing."""


def setting(preferences: Iterable[StoredPreference]) -> Edit:
    """Have these and no others."""

    def edit(state: StoredState, at: datetime) -> Change:
        return Change(
            action="set",
            at=at,
            added=_identified(preferences),
            removed={**state.entries, **state.replaced},
        )

    return edit


def adding(preferences: Sequence[StoredPreference], limit: int) -> Edit:
    """Have these too; one with the same text gives way, and so do those that have expired.

    The edit raises `PreferenceError` if there would be more than ``limit``.
    """
    texts = {normalized(preference.text) for preference in preferences}

    def edit(state: StoredState, at: datetime) -> Change:
        gives_way = {
            name: entry
            for name, entry in state.entries.items()
            if normalized(entry.text) in texts or entry.is_over(at)
        }
        kept = {name: each for name, each in state.entries.items() if name not in gives_way}
        check_count(len(distinct(kept)) + len(preferences), limit)
        return Change(
            action="add",
            at=at,
            added=_identified(preferences),
            removed={**gives_way, **state.replaced},
        )

    return edit


def updating(fitted: Iterable[StoredPreference], field: str) -> Edit:
    """Have this field of those with the same text, as far as these are still there.

    All else about them may have changed since they were read, and stays as it is now.
    """
    values = {normalized(each.text): getattr(each, field) for each in fitted}

    def edit(state: StoredState, at: datetime) -> Change | None:
        updated = [
            entry.model_copy(update={field: values[normalized(entry.text)]})
            for entry in distinct(state.entries).values()
            if normalized(entry.text) in values and not entry.is_over(at)
        ]
        if not updated:
            return None
        change = adding(updated, len(state.entries))(state, at)
        return change and change.model_copy(update={"action": "learn"})

    return edit


def forgetting(text: str | None) -> Edit:
    """Have the one with this text no more, whatever its case; None for all.

    Of traits with signs those are meant, too, that are kept since somebody preferred this text.
    """
    check_type("text", text, str, NoneType, error=PreferenceError)
    texts = None if text is None else {normalized(each) for each in (text, *_trait_texts(text))}

    def edit(state: StoredState, at: datetime) -> Change | None:
        forgotten = {
            name: entry
            for name, entry in state.entries.items()
            if texts is None or normalized(entry.text) in texts
        }
        if not forgotten and not state.unreadable:
            return None
        return Change(action="forget", at=at, removed={**forgotten, **state.replaced})

    return edit


def _trait_texts(text: str) -> Iterator[str]:
    """What traits with signs ask for; nothing where a text is words."""
    levels = read_levels(text, TRAITS) if means_traits(text) else None
    return (TRAITS[name].at(level)[0] for name, level in levels or ())


def new_id(others: Iterable[str] = ()) -> str:
    """A name that is given once, and sorts by time; after the others, whatever clocks say."""
    last, name = max(others, default=""), str(uuid7())
    if name > last:
        return name
    milliseconds = UUID(last).int >> 80
    return str(uuid7((milliseconds + 1) * 1_000_000))


def _identified(preferences: Iterable[StoredPreference]) -> dict[str, StoredPreference]:
    return {new_id(): preference for preference in preferences}
