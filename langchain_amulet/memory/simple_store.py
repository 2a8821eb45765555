"""`SimplePreferenceStore`: a preference store of your own in two methods.

This module doesn't know where preferences are kept: that is for `load` and `save` to say.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable
from functools import cached_property, partial
from typing import TypeVar

from langchain_amulet.errors import AmuletError, CorruptProfileError, PreferenceStoreError
from langchain_amulet.memory.limits import Limits
from langchain_amulet.memory.lookups import UNANSWERED
from langchain_amulet.memory.merging import Edit, StoredState, merge, new_id
from langchain_amulet.memory.preference_store import BasePreferenceStore
from langchain_amulet.memory.profile import (
    Change,
    Profile,
    StoredPreference,
    named,
    now,
    stored_preferences,
)
from langchain_amulet.preferences.preference import Preference, PreferenceLike
from langchain_amulet.preferences.user_id import check_user_id
from langchain_amulet.validation.wording import kind_of
from langchain_amulet.waiting.procedure import Procedure
from langchain_amulet.waiting.threads import Workers
from langchain_amulet.waiting.wait import Wait, call, in_executor

T = TypeVar("T")


class SimplePreferenceStore(BasePreferenceStore):
    """A `PreferenceStore` of which only loading and saving are left to write.

    ::

        class Notes(SimplePreferenceStore):
            def __init__(self):
                self.notes = {}

            def load(self, user_id):
                return self.notes.get(user_id)

            def save(self, user_id, preferences):
                self.notes[user_id] = preferences

    Either may be a coroutine function. A plain one is called in a thread where an event loop runs;
    a coroutine function gets a loop of its own in a thread where none does.

    A change is what was loaded, edited and saved: of two writers at a time, the last one wins.
    Where that isn't good enough, have `PreferenceMemory` keep preferences in a LangGraph store.

    Attributes:
        limits: How many preferences a user may have, how long they are, and how long they last. A
            subclass may have others.
    """

    limits = Limits()

    @cached_property  # as a subclass needn't call __init__
    def _workers(self) -> Workers:
        """Threads that wait for plain functions beside an event loop; one that hangs keeps them."""
        return Workers(UNANSWERED)

    @abstractmethod
    def load(self, user_id: str) -> PreferenceLike | Awaitable[PreferenceLike]:
        """What `save` was given last for this user, as it is or as dicts of fields; None if never.

        An exception is a failure of the store, and what isn't a preference a corrupt profile.
        """

    @abstractmethod
    def save(
        self, user_id: str, preferences: tuple[StoredPreference, ...]
    ) -> Awaitable[None] | None:
        """Keep all of a user's preferences, in place of what is there; they can be none.

        Args:
            user_id: Whose preferences.
            preferences: What to keep; ``preference.model_dump(mode="json")`` makes a dict of one.
        """

    def _applying(self, user_id: str, about: str | None) -> Procedure[None, tuple[Preference, ...]]:
        stored = yield from self._loaded(user_id)
        applying = partial(self.limits.applying, stored, about)
        preferences: tuple[Preference, ...] = yield in_executor(applying, self._workers)
        return preferences

    def _profile(self, user_id: str) -> Procedure[None, Profile | None]:
        stored = yield from self._loaded(user_id)
        return Profile(preferences=stored) if stored else None

    def _change(
        self, user_id: str, edit: Edit, *, replaces: bool = False
    ) -> Procedure[None, Change | None]:
        stored = yield from self._loaded(user_id, replaces)
        record = named(stored)
        change = edit(StoredState(record=record, is_ours=True), now())
        if change is not None:
            kept = tuple(merge(record, {new_id(): change}).values())
            yield from self._tried(call(self._workers, self.save, user_id, kept))
        return change

    def _loaded(
        self, user_id: str, replaces: bool = False
    ) -> Procedure[None, tuple[StoredPreference, ...]]:
        check_user_id(user_id)
        loaded = yield from self._tried(call(self._workers, self.load, user_id))
        try:
            return stored_preferences(loaded)
        except AmuletError as error:
            if replaces:
                return ()
            raise CorruptProfileError(
                f"What {type(self).__name__} loaded for user {user_id!r} can't be read as "
                f"preferences: {error} Or set them anew."
            ) from error

    def _tried(self, wait: Wait[T]) -> Procedure[None, T]:
        """Wait, and say whose exception it is."""
        try:
            result: T = yield wait
            return result
        except AmuletError:
            raise
        except Exception as error:
            raise PreferenceStoreError(
                f"{type(self).__name__} failed: {kind_of(error)}, in words that aren't shown, as "
                "they may quote a preference. Mend it, or what it keeps preferences in."
            ) from None
