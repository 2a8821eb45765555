"""What is asked of a LangGraph store, step by step, and what its answers mean.

A procedure is a generator: it yields operations, is sent their results, and returns what it was
for. Whether the store is asked in this thread, in another or in an event loop is not known here.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from langgraph.store.base import (
    BaseStore,
    GetOp,
    ListNamespacesOp,
    MatchCondition,
    Op,
    PutOp,
    SearchOp,
)

from langchain_amulet.errors import CorruptProfileError, PreferenceStoreError, RequestError
from langchain_amulet.memory.merging import Edit, StoredState, merge, new_id
from langchain_amulet.memory.namespaces import Namespace, RecordLocation, is_user_id
from langchain_amulet.memory.profile import (
    Change,
    Entries,
    Profile,
    dump,
    dump_change,
    now,
)
from langchain_amulet.memory.reading import (
    Complain,
    changes_of,
    found_of,
    is_empty,
    items_of,
    profile_of,
    within,
)

Answer = TypeVar("Answer")

Procedure = Generator[Sequence[Op], list[Any], Answer]
"""Yields operations, is sent as many results, returns an answer."""

ITEMS = 256
"""How many items of a user's own namespace are looked at."""

SPARE = 64
"""How many changes beyond those to keep are looked at, to find those to delete."""

ROUNDS = 100
"""How often a writer looks whether others have undone its change: more than there are others."""


@dataclass(frozen=True)
class Records:
    """The records of all users, and how long they are kept.

    Attributes:
        namespace: Where they are.
        max_chars: The longest text of a preference.
        max_history: How many changes per user are kept.
        ttl: Minutes after which the store may drop what has no end of its own; None for never.
        refresh: Whether reading puts that off.
    """

    namespace: Namespace
    max_chars: int
    max_history: int
    ttl: float | None
    refresh: bool

    @classmethod
    def of(
        cls, store: BaseStore, namespace: Namespace, max_chars: int, max_history: int
    ) -> Records:
        """With the store's own rules on how long it keeps things."""
        rules = store.ttl_config
        return cls(
            namespace,
            max_chars,
            max_history,
            ttl=rules.get("default_ttl") if rules else None,
            refresh=bool(rules and rules.get("refresh_on_read", True)),
        )

    # --- Procedures ---

    def lookup(self, user_id: str, complain: Complain) -> Procedure[Profile | None]:
        """What is stored of a user, in one exchange; None for nothing."""
        place = self.namespace.place(user_id)
        items = items_of(place, (yield self._reading(place)))
        return profile_of(place, items, self.max_chars, complain)

    def change(self, user_id: str, edit: Edit, complain: Complain) -> Procedure[Change | None]:
        """Change a user's preferences; None if nothing was to be done.

        Raises:
            PreferenceStoreError: Others wrote the same user's all the time.
        """
        place = self.namespace.place(user_id)
        found = yield from self._find(place, complain)
        if found.changes and not found.ours:
            # The record was read first, and may be older than the change that came with it.
            found = yield from self._find(place, complain)
        change = edit(found, now())
        if change is None:
            return None
        yield self._writing(place, found, change)
        for _ in range(ROUNDS):
            found = yield from self._find(place, _let_pass)
            if found.is_settled:
                return change
            yield [self._put(place, found.merged)]
        raise PreferenceStoreError(
            f"The preferences of user {user_id!r} were written by others {ROUNDS} times on end: "
            "the change is in the history and may not be in force, so ask for it again."
        )

    def erase(self, user_id: str) -> Procedure[None]:
        """Leave nothing of a user in the store, history included."""
        place = self.namespace.place(user_id)
        for _ in range(ROUNDS):
            *own, history = yield [*self._reading(place), self._searching(place)]
            items = [*items_of(place, own).values(), *within(place.history, history)]
            if not items:
                return
            yield [PutOp(item.namespace, item.key, None) for item in items]
        raise PreferenceStoreError(
            f"Something was stored for user {user_id!r} {ROUNDS} times while it was erased: erase "
            "it again when nobody writes any more."
        )

    def history(
        self, user_id: str, limit: int, complain: Complain
    ) -> Procedure[tuple[Change, ...]]:
        """A user's last changes, newest first.

        Raises:
            RequestError: There is no such number of changes.
        """
        _check_page(limit)
        place = self.namespace.place(user_id)
        (found,) = yield [self._searching(place)]
        changes = changes_of(place, found, complain)
        return tuple(reversed(changes.values()))[: min(limit, self.max_history)]

    def users(self, limit: int, offset: int) -> Procedure[tuple[str, ...]]:
        """A page of the users of whom something is stored.

        Raises:
            RequestError: There is no such page.
        """
        _check_page(limit, offset)
        pattern = self.namespace.wildcard
        if not self.namespace.owned:
            (found,) = yield [SearchOp(pattern, limit=limit, offset=offset, refresh_ttl=False)]
            known = [item for item in within(pattern, found) if not is_empty(item)]
            return tuple(item.key for item in known if is_user_id(item.key))
        (found,) = yield [_listing(pattern, limit, offset)]
        users = [user for user in map(self.namespace.user_of, found) if user is not None]
        places = [self.namespace.place(user) for user in users]
        found = yield [
            SearchOp(place.namespace, limit=ITEMS, refresh_ttl=False) for place in places
        ]
        return tuple(
            place.user_id
            for place, items in zip(places, found, strict=True)
            if not all(map(is_empty, within(place.namespace, items)))
        )

    # --- Reading ---

    def _reading(self, place: RecordLocation) -> list[Op]:
        """Operations for everything that applies to a user."""
        record = GetOp(place.namespace, place.key, refresh_ttl=self.refresh)
        if not place.owned:
            return [record]
        return [record, SearchOp(place.namespace, limit=ITEMS, refresh_ttl=self.refresh)]

    def _searching(self, place: RecordLocation) -> Op:
        """The operation for a user's history."""
        return SearchOp(place.history, limit=self.max_history + SPARE, refresh_ttl=False)

    def _find(self, place: RecordLocation, complain: Complain) -> Procedure[StoredState]:
        """Everything that the store holds of a user."""
        *own, history = yield [*self._reading(place), self._searching(place)]
        return found_of(place, items_of(place, own), history, self.max_chars, complain)

    # --- Writing ---

    def _writing(self, place: RecordLocation, found: StoredState, change: Change) -> list[Op]:
        """Operations for a change: the record first, for whoever reads in between."""
        key = new_id(found.changes)
        changes = {**found.changes, key: change}
        others = (change.removed.keys() & found.items.keys()) | {*found.unreadable} - {place.key}
        gone = [*found.unreadable_changes, *sorted(changes)[: -self.max_history]]
        return [
            self._put(place, merge(found.record, changes)),
            PutOp(place.history, key, dump_change(change), index=False, ttl=self.ttl),
            *(PutOp(place.history, old, None) for old in gone),
            *(PutOp(place.namespace, other, None) for other in sorted(others)),
        ]

    def _put(self, place: RecordLocation, entries: Entries) -> Op:
        return PutOp(
            place.namespace, place.key, dump(entries), index=False, ttl=self._ttl_of(entries)
        )

    def _ttl_of(self, entries: Entries) -> float | None:
        """Minutes until all preferences are over; the store's own rule where one never is.

        It is told to stores that say they don't support it, too: some do.
        """
        ends = [entry.expires_at for entry in entries.values()]
        if not ends or None in ends:
            return self.ttl
        left = max(end for end in ends if end is not None) - now()
        return max(left.total_seconds() / 60, 0.0)


def _listing(pattern: tuple[str, ...], limit: int, offset: int) -> Op:
    """The operation for namespaces that a pattern with wildcards describes whole."""
    conditions = (MatchCondition("prefix", pattern), MatchCondition("suffix", pattern))
    return ListNamespacesOp(conditions, limit=limit, offset=offset)


def _check_page(limit: int, offset: int = 0) -> None:
    """Refuse what each store would understand in its own way."""
    if limit < 0 or offset < 0:
        raise RequestError(
            f"A page has a limit and an offset of at least 0, not {limit} and {offset}: give "
            "numbers of records to return and to leave out."
        )


def _let_pass(error: CorruptProfileError) -> None:
    """For a writer that has read everything before."""
