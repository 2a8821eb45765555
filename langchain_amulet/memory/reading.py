"""What a LangGraph store holds of users, read: their preferences, their history, and who they are.

A lookup of preferences is on the way of every answer, so it reads the record and nothing else.
This module doesn't know how what it reads is written, or which of it applies.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from langgraph.store.base import GetOp, Item, ListNamespacesOp, MatchCondition, Op, SearchOp

from langchain_amulet.errors import (
    AmuletError,
    CorruptProfileError,
    PreferenceError,
    PreferenceStoreError,
    RequestError,
)
from langchain_amulet.memory.namespaces import Namespace, RecordLocation
from langchain_amulet.memory.profile import (
    Change,
    Entries,
    Profile,
    StoredPreference,
    distinct,
    dump,
    read_change,
    read_entries,
)
from langchain_amulet.memory.store_access import StoreAccess
from langchain_amulet.preferences.preference import check_lengths
from langchain_amulet.preferences.user_id import is_user_id
from langchain_amulet.validation.wording import quoted
from langchain_amulet.waiting.procedure import Procedure

OnCorrupt = Callable[[CorruptProfileError], None]
"""Called for everything that can't be read: raises, or has it left out."""

PAGE = 256
"""How many items are searched for at a time."""

FARTHEST = 2**31 - 1
"""The largest number of a record that all stores count to."""

SPARE = 64
"""How many changes beyond those to keep are looked at, to find those to delete."""


@dataclass(frozen=True)
class RecordReader:
    """Reads what is stored of users.

    Attributes:
        access: The way to the store.
        namespace: Where the records are.
        max_chars: The longest text of a preference.
        max_history: How many changes per user are kept.
        refresh: Whether a lookup puts off the end of what the store may drop.
    """

    access: StoreAccess
    namespace: Namespace
    max_chars: int
    max_history: int
    refresh: bool

    def preferences(
        self, location: RecordLocation, on_corrupt: OnCorrupt
    ) -> Procedure[None, tuple[StoredPreference, ...]]:
        """A user's preferences, oldest first: mostly in one exchange with the store."""
        begun = time.monotonic()
        results = yield self.access.batch(self.lookup(location), begun)
        if location.owned:
            items = yield from self.all_items(location, results, begun)
        else:
            items = {} if results[0] is None else {location.key: results[0]}
        read = read_items(location, items, self.max_chars, on_corrupt)
        return tuple(distinct(*read.values()).values())

    def profile(
        self, location: RecordLocation, on_corrupt: OnCorrupt
    ) -> Procedure[None, Profile | None]:
        """What is stored of a user, and since when; None for nothing."""
        begun = time.monotonic()
        results = yield self.access.batch(self.lookup(location), begun)
        items = yield from self.all_items(location, results, begun)
        read = read_items(location, items, self.max_chars, on_corrupt)
        preferences = tuple(distinct(*read.values()).values())
        if not preferences:
            return None
        updated_at = max(_in_utc(item.updated_at) for item in items.values())
        return Profile(preferences=preferences, updated_at=updated_at)

    def history(
        self, user_id: str, limit: int, on_corrupt: OnCorrupt
    ) -> Procedure[None, tuple[Change, ...]]:
        """A user's last changes, newest first.

        Raises:
            RequestError: There is no such number of changes.
        """
        _check_page(limit)
        location = self.namespace.location(user_id)
        (items,) = yield self.access.batch([self.history_search(location)], time.monotonic())
        changes = read_changes(location, within(location.history, items), on_corrupt)
        return tuple(reversed(changes.values()))[: min(limit, self.max_history)]

    def users(self, limit: int, offset: int) -> Procedure[None, tuple[str, ...]]:
        """A page of the users of whom something is stored.

        Raises:
            RequestError: There is no such page.
            ConfigurationError: The namespace is a function.
        """
        _check_page(limit, offset)
        begun, pattern = time.monotonic(), self.namespace.wildcard
        if self.namespace.owned:
            operation = _listing(pattern, limit, offset)
            (namespaces,) = yield self.access.batch([operation], begun)
            users = filter(None, map(self.namespace.user_of, namespaces))
            return (yield from self._with_something(users, begun))
        search = SearchOp(pattern, limit=limit, offset=offset, refresh_ttl=False)
        (items,) = yield self.access.batch([search], begun)
        filled = [item for item in within(pattern, items) if not _is_empty(item)]
        return tuple(item.key for item in filled if is_user_id(item.key))

    def _with_something(
        self, users: Iterable[str], begun: float
    ) -> Procedure[None, tuple[str, ...]]:
        """Those whose namespace holds anything."""
        locations = [self.namespace.location(user) for user in users]
        pages = yield self.access.batch([self._search(each) for each in locations], begun)
        found = yield from self._to_the_end(locations, pages, begun)
        pairs = zip(locations, found, strict=True)
        return tuple(each.user_id for each, items in pairs if not all(map(_is_empty, items)))

    # --- Operations, and what is left of a lookup after its first exchange ---

    def lookup(self, location: RecordLocation) -> list[Op]:
        """Operations for everything that may apply to a user, or the first page of it."""
        record = GetOp(location.namespace, location.key, refresh_ttl=self.refresh)
        return [record, self._search(location, self.refresh)] if location.owned else [record]

    def history_search(self, location: RecordLocation) -> Op:
        """The operation for a user's history."""
        return SearchOp(location.history, limit=self.max_history + SPARE, refresh_ttl=False)

    def all_items(
        self, location: RecordLocation, results: Sequence[Any], begun: float | None = None
    ) -> Procedure[None, dict[str, Item]]:
        """Everything of a user's that isn't history, by key: oldest first, and the record last.

        Args:
            location: Where it is.
            results: What came of `lookup`.
            begun: When the lookup was begun; None if it may take as long as it takes.
        """
        record, *pages = results
        own = {} if record is None else {location.key: record}
        locations = [location] * len(pages)
        found = yield from self._to_the_end(locations, pages, begun, self.refresh)
        others = {item.key: item for items in found for item in items if item.key not in own}
        oldest = sorted(others.values(), key=lambda item: (item.updated_at, item.key))
        return {item.key: item for item in oldest} | own

    def _search(self, location: RecordLocation, refresh: bool = False, offset: int = 0) -> SearchOp:
        return SearchOp(location.namespace, limit=PAGE, offset=offset, refresh_ttl=refresh)

    def _to_the_end(
        self,
        locations: Sequence[RecordLocation],
        pages: Iterable[list[Item]],
        begun: float | None,
        refresh: bool = False,
    ) -> Procedure[None, list[list[Item]]]:
        """The items of namespaces, of each of which the first page is there already.

        A search finds what is in namespaces inside one, too, of which there may be any number of
        pages before the first item of its own.
        """
        found, offset = [list(page) for page in pages], PAGE
        while unfinished := [index for index, each in enumerate(found) if len(each) == offset]:
            searches = [self._search(locations[index], refresh, offset) for index in unfinished]
            results = yield self.access.batch(searches, begun)
            for index, page in zip(unfinished, results, strict=True):
                found[index] += page
            offset += PAGE
        pairs = zip(locations, found, strict=True)
        return [within(location.namespace, items) for location, items in pairs]


# --- What items mean ---


def within(namespace: tuple[str, ...], items: Iterable[Item]) -> list[Item]:
    """Items of a namespace itself: a search finds those of namespaces inside it, too."""
    return [item for item in items if tuple(item.namespace) == namespace]


def read_items(
    location: RecordLocation,
    items: Mapping[str, Item],
    max_chars: int,
    on_corrupt: OnCorrupt,
) -> dict[str, Entries]:
    """What the items of a user's namespace say, by key; what can't be read is left out.

    Raises:
        PreferenceStoreError: An item is another's.
    """
    read = {}
    for key, item in items.items():
        if (item.key, tuple(item.namespace)) != (key, location.namespace):
            raise PreferenceStoreError(
                f"The store gave {quoted(item.key)} of {quoted(item.namespace)} when asked for "
                f"{quoted(key)} of {quoted(location.namespace)}: it can't be trusted with "
                "preferences."
            )
        try:
            entries = read_entries(item.value)
            check_lengths(entries.values(), max_chars)
            read[key] = entries if key == location.key else _renamed(key, entries)
        except AmuletError as error:
            on_corrupt(_corrupt(location, key, error))
    return read


def read_changes(
    location: RecordLocation, items: Iterable[Item], on_corrupt: OnCorrupt
) -> dict[str, Change]:
    """Changes by key, oldest first; what can't be read is left out."""
    changes = {}
    for item in sorted(items, key=lambda item: item.key):
        try:
            changes[item.key] = read_change(item.value)
        except AmuletError as error:
            on_corrupt(_corrupt(location, item.key, error))
    return changes


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


def _is_empty(item: Item) -> bool:
    """Whether this is what `forget` leaves."""
    return bool(item.value == dump({}))


def _in_utc(moment: datetime) -> datetime:
    """SQLite's store leaves the time zone out."""
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _corrupt(location: RecordLocation, key: str, error: AmuletError) -> CorruptProfileError:
    return CorruptProfileError(
        f"What is stored for user {location.user_id!r} under {quoted(key)} can't be read as "
        f"preferences: {error} Or set them anew, or have them left out by on_corrupt='ignore'."
    )


# --- Pages ---


def _listing(pattern: tuple[str, ...], limit: int, offset: int) -> Op:
    """The operation for namespaces that a pattern with wildcards describes whole."""
    conditions = (MatchCondition("prefix", pattern), MatchCondition("suffix", pattern))
    return ListNamespacesOp(conditions, limit=limit, offset=offset)


def _check_page(limit: object, offset: object = 0) -> None:
    """Refuse what each store would understand in its own way."""
    for number in (limit, offset):
        if not isinstance(number, int) or not 0 <= number <= FARTHEST:
            raise RequestError(
                "A page has a limit and an offset that are whole numbers of at least 0 and at most "
                f"{FARTHEST}, not {quoted(limit)} and {quoted(offset)}: give numbers of records to "
                "return and to leave out."
            )
