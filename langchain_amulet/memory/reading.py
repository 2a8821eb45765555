"""What a store's items say of a user.

This module knows what a store gives, and nothing of how it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timezone
from typing import Any

from langgraph.store.base import Item

from langchain_amulet.errors import (
    AmuletError,
    CorruptProfileError,
    PreferenceError,
    PreferenceStoreError,
)
from langchain_amulet.memory.merging import StoredState, distinct
from langchain_amulet.memory.namespaces import RecordLocation
from langchain_amulet.memory.profile import (
    Change,
    Entries,
    Profile,
    dump,
    is_ours,
    read_change,
    read_entries,
)
from langchain_amulet.preferences.preference import check_lengths

Complain = Callable[[CorruptProfileError], None]
"""Told of everything that can't be read: raises, or has it left out."""


def items_of(place: RecordLocation, results: list[Any]) -> dict[str, Item]:
    """What was read of a user, by key, oldest first.

    Raises:
        PreferenceStoreError: The store gave what it wasn't asked for.
    """
    record, *searched = results
    items = [] if record is None else [record]
    if items and (record.key, tuple(record.namespace)) != (place.key, place.namespace):
        raise PreferenceStoreError(
            f"The store gave {record.key!r} of {record.namespace} when asked for {place.key!r} of "
            f"{place.namespace}: it can't be trusted with preferences."
        )
    items += [item for found in searched for item in within(place.namespace, found)]
    return {item.key: item for item in sorted(items, key=lambda item: (item.updated_at, item.key))}


def within(namespace: tuple[str, ...], items: Iterable[Item]) -> list[Item]:
    """Items of a namespace itself: a search finds those of namespaces inside it, too."""
    return [item for item in items if tuple(item.namespace) == namespace]


def found_of(
    place: RecordLocation,
    items: Mapping[str, Item],
    history: Iterable[Item],
    max_chars: int,
    complain: Complain,
) -> StoredState:
    """Everything that the items of a user's namespace, and of their history, say."""
    read: dict[str, Entries] = {}
    for key, item in items.items():
        try:
            entries = read_entries(item.value)
            check_lengths(entries.values(), max_chars)
            read[key] = entries if key == place.key else _renamed(key, entries)
        except AmuletError as error:
            complain(_corrupt(place, key, error))
    record = items.get(place.key)
    told = within(place.history, history)
    changes = changes_of(place, told, complain)
    return StoredState(
        record=read.get(place.key, {}),
        ours=record is not None and is_ours(record.value),
        items={k: v for key in read if key != place.key for k, v in read[key].items()},
        unreadable=tuple(items.keys() - read.keys()),
        changes=changes,
        unreadable_changes=tuple({item.key for item in told} - changes.keys()),
    )


def profile_of(
    place: RecordLocation, items: Mapping[str, Item], max_chars: int, complain: Complain
) -> Profile | None:
    """What the items of a user's namespace say; None for nothing."""
    entries = distinct(found_of(place, items, (), max_chars, complain).entries)
    if not entries:
        return None
    return Profile(
        preferences=tuple(entries.values()),
        updated_at=max(_in_utc(item.updated_at) for item in items.values()),
    )


def changes_of(
    place: RecordLocation, items: Iterable[Item], complain: Complain
) -> dict[str, Change]:
    """Changes by key, oldest first."""
    changes = {}
    for item in sorted(within(place.history, items), key=lambda item: item.key):
        try:
            changes[item.key] = read_change(item.value)
        except AmuletError as error:
            complain(_corrupt(place, item.key, error))
    return changes


def is_empty(item: Item) -> bool:
    """Whether this is what `forget` leaves."""
    return bool(item.value == dump({}))


def _renamed(key: str, entries: Entries) -> Entries:
    """The one preference of an item that isn't a record, under the item's key.

    Raises:
        PreferenceError: There are several, which could not be forgotten one by one.
    """
    if len(entries) != 1:
        raise PreferenceError(
            f"An item beside the record must hold one preference, not {len(entries)}: store each "
            "under a key of its own."
        )
    return dict(zip([key], entries.values(), strict=True))


def _in_utc(moment: datetime) -> datetime:
    """SQLite's store leaves the time zone out."""
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


def _corrupt(place: RecordLocation, key: str, error: AmuletError) -> CorruptProfileError:
    return CorruptProfileError(
        f"What is stored for user {place.user_id!r} under {key!r} can't be read as preferences: "
        f"{error} Or set them anew, or have them left out by on_corrupt='ignore'."
    )
