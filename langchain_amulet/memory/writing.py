"""A user's preferences in a LangGraph store, changed and erased.

How a change is made so that no other is lost is in `merging`; here it is written. This module
doesn't know what the changes are.
"""

from __future__ import annotations

from dataclasses import dataclass

from langgraph.store.base import Item, Op, PutOp

from langchain_amulet.errors import CorruptProfileError, PreferenceStoreError
from langchain_amulet.memory.merging import Edit, StoredState, merge, new_id
from langchain_amulet.memory.namespaces import RecordLocation
from langchain_amulet.memory.profile import Change, Entries, dump, dump_change, is_ours, now
from langchain_amulet.memory.reading import (
    OnCorrupt,
    RecordReader,
    read_changes,
    read_items,
    within,
)
from langchain_amulet.waiting.procedure import Procedure

ROUNDS = 100
"""How often a writer looks whether others have undone its change: more than there are others."""


@dataclass(frozen=True)
class RecordWriter:
    """Writes what is stored of users.

    Attributes:
        reader: Reads what is there.
        ttl: Minutes after which the store may drop what has no end of its own; None for never.
    """

    reader: RecordReader
    ttl: float | None

    def change(
        self, user_id: str, edit: Edit, on_corrupt: OnCorrupt
    ) -> Procedure[None, Change | None]:
        """Change a user's preferences; None if nothing was to be done.

        Raises:
            PreferenceStoreError: Others wrote the same user's all the time.
        """
        location = self.reader.namespace.location(user_id)
        state = yield from self._state(location, on_corrupt)
        if state.changes and not state.is_ours:
            # The record was read first, and may be older than the change that came with it.
            state = yield from self._state(location, on_corrupt)
        change = edit(state, now())
        if change is None:
            return None
        yield self.reader.access.batch(self._writing(location, state, change))
        for _ in range(ROUNDS):
            state = yield from self._state(location, _let_pass)
            if state.is_settled:
                return change
            yield self.reader.access.batch([self._put(location, state.merged)])
        raise PreferenceStoreError(
            f"The preferences of user {user_id!r} were written by others {ROUNDS} times on end: "
            "the change is in the history and may not be in force, so ask for it again."
        )

    def erase(self, user_id: str) -> Procedure[None, None]:
        """Leave nothing of a user in the store, history included.

        Raises:
            PreferenceStoreError: Others wrote the same user's all the time.
        """
        location = self.reader.namespace.location(user_id)
        for _ in range(ROUNDS):
            items, history = yield from self._items(location)
            own = [PutOp(location.namespace, key, None) for key in items]
            changes = [PutOp(location.history, item.key, None) for item in history]
            if not own and not changes:
                return
            yield self.reader.access.batch([*own, *changes])
        raise PreferenceStoreError(
            f"Something was stored for user {user_id!r} {ROUNDS} times while it was erased: erase "
            "it again when nobody writes any more."
        )

    def _state(
        self, location: RecordLocation, on_corrupt: OnCorrupt
    ) -> Procedure[None, StoredState]:
        """Everything that the store holds of a user."""
        items, history = yield from self._items(location)
        read = read_items(location, items, self.reader.max_chars, on_corrupt)
        changes = read_changes(location, history, on_corrupt)
        record = items.get(location.key)
        return StoredState(
            record=read.get(location.key, {}),
            is_ours=record is not None and is_ours(record.value),
            items={
                name: each
                for key, entries in read.items()
                if key != location.key
                for name, each in entries.items()
            },
            unreadable=tuple(items.keys() - read.keys()),
            changes=changes,
            unreadable_changes=tuple({item.key for item in history} - changes.keys()),
        )

    def _items(
        self, location: RecordLocation
    ) -> Procedure[None, tuple[dict[str, Item], list[Item]]]:
        """What the store has of a user, and of their history, as of one moment."""
        operations = [*self.reader.lookup(location), self.reader.history_search(location)]
        *own, history = yield self.reader.access.batch(operations)
        items = yield from self.reader.all_items(location, own)
        return items, within(location.history, history)

    def _writing(self, location: RecordLocation, state: StoredState, change: Change) -> list[Op]:
        """Operations for a change: the record first, for whoever reads in between."""
        key = new_id(state.changes)
        changes = {**state.changes, key: change}
        others = (change.removed.keys() & state.items.keys()) | {*state.unreadable}
        old = [*state.unreadable_changes, *sorted(changes)[: -self.reader.max_history]]
        return [
            self._put(location, merge(state.record, changes)),
            PutOp(location.history, key, dump_change(change), index=False, ttl=self.ttl),
            *(PutOp(location.history, each, None) for each in old),
            *(PutOp(location.namespace, each, None) for each in sorted(others - {location.key})),
        ]

    def _put(self, location: RecordLocation, entries: Entries) -> Op:
        value, ttl = dump(entries), self._ttl_of(entries)
        return PutOp(location.namespace, location.key, value, index=False, ttl=ttl)

    def _ttl_of(self, entries: Entries) -> float | None:
        """Minutes until all preferences are over; the store's own rule where one never is.

        It is given to stores that say they don't support it, too: some do.
        """
        ends = [entry.expires_at for entry in entries.values()]
        if not ends or None in ends:
            return self.ttl
        left = max(end for end in ends if end is not None) - now()
        return max(left.total_seconds() / 60, 0.0)


def _let_pass(error: CorruptProfileError) -> None:
    """For a writer that has read everything before."""
