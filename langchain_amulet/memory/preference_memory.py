"""`PreferenceMemory`: what users prefer, remembered in any LangGraph store.

A chat model asks it for a user's preferences once per call. Programs set, add and forget them, and
look at their history. What is stored is in `profile`, where in `namespaces`, how it is read and
written in `reading` and `writing`, what of it applies in `limits`.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Self, TypeVar

from langgraph.store.base import BaseStore
from pydantic import Field

from langchain_amulet.errors import ConfigurationError, CorruptProfileError, PreferenceStoreError
from langchain_amulet.memory.conditions import SHORT, Matcher, mentions
from langchain_amulet.memory.limits import Limits
from langchain_amulet.memory.lookups import (
    FailurePolicy,
    LookupCache,
    LookupSettings,
    OnFailure,
    Timeout,
)
from langchain_amulet.memory.merging import Edit
from langchain_amulet.memory.namespaces import Namespace, NamespaceLike
from langchain_amulet.memory.preference_store import BasePreferenceStore
from langchain_amulet.memory.profile import Change, Profile, StoredPreference
from langchain_amulet.memory.reading import RecordReader
from langchain_amulet.memory.store_access import access_to
from langchain_amulet.memory.writing import RecordWriter
from langchain_amulet.preferences.preference import Preference
from langchain_amulet.preferences.user_id import check_user_id
from langchain_amulet.validation.pydantic_errors import explained
from langchain_amulet.waiting.procedure import Procedure, arun, run
from langchain_amulet.waiting.wait import Wait, in_executor

T = TypeVar("T")


class MemorySettings(Limits, LookupSettings):
    """What a program may say of a `PreferenceMemory`, which says what it means."""

    max_history: int = Field(ge=16)
    cache_seconds: float | None = Field(gt=0.0, allow_inf_nan=False)
    cache_users: int = Field(ge=1)


class PreferenceMemory(BasePreferenceStore):
    """What users prefer, remembered in a store that the program already has.

    ::

        memory = PreferenceMemory(store)
        memory.set("ada", "Keep it short.")
        memory.add("ada", StoredPreference("Be formal.", when=["work"]))
        memory.get("ada", about="How do I ask for a rise at work?")

    It is a `PreferenceStore`. Every method has a twin for event loops, with an ``a`` before its
    name. Lookups raise `PreferenceStoreError` if the store fails, `PreferenceTimeoutError` if it
    takes too long and `CorruptProfileError` if what it holds can't be read, but for what is to be
    ignored; all methods raise `PreferenceError` for what can't be a user's id or a preference.

    Two writers at a time don't undo each other's changes: what was added stays, whatever others
    add or set, and of what was set, what was set last. Every change that was acknowledged is in
    the history, until so many others have followed that it is dropped.

    Args:
        store: Any of LangGraph's stores; it is neither set up nor closed here.
        namespace: Where the records are, one item per user with the user's id for its key. With
            ``{user_id}`` in a label, every item of the namespace is one of the user's preferences.
            Or a function of the user's id that gives the namespace of the user's record: one that
            is quick, as an event loop waits for it.
        on_store_error: "ignore" to have `get` find nothing, with a warning, if the store fails.
        on_corrupt: "ignore" to leave out what can't be read, with a warning.
        timeout: Seconds that the store may take for a lookup; None for as long as it likes.
        ttl: How long a preference lasts that has no end of its own; seconds if a number.
        matcher: Decides whether a message is about one of a preference's topics.
        max_preferences: The most preferences of one user.
        max_preference_chars: The longest one.
        max_history: The most changes that are kept per user, at least 16: more than there are
            writers at a time.
        cache_seconds: How long `get` may find what the last one found, unless this object wrote
            since; None to ask the store every time.
        cache_users: The most users of whom that is remembered.

    Raises:
        ConfigurationError: An argument can never work.
    """

    def __init__(
        self,
        store: BaseStore,
        namespace: NamespaceLike = ("preferences",),
        *,
        on_store_error: OnFailure = "raise",
        on_corrupt: OnFailure = "raise",
        timeout: float | None = None,
        ttl: timedelta | float | None = None,
        matcher: Matcher = mentions,
        max_preferences: int = 16,
        max_preference_chars: int = 2000,
        max_history: int = 64,
        cache_seconds: float | None = None,
        cache_users: int = 10_000,
    ) -> None:
        """Ask the store nothing yet."""
        if not isinstance(store, BaseStore):
            raise ConfigurationError(
                f"A store must be one of LangGraph's, not of type {type(store).__name__}: use "
                "InMemoryStore() or SqliteStore to begin with."
            )
        with explained(ConfigurationError):
            settings = MemorySettings.model_validate(
                dict(
                    on_store_error=on_store_error,
                    on_corrupt=on_corrupt,
                    timeout=timeout,
                    ttl=ttl,
                    matcher=matcher,
                    max_preferences=max_preferences,
                    max_preference_chars=max_preference_chars,
                    max_history=max_history,
                    cache_seconds=cache_seconds,
                    cache_users=cache_users,
                )
            )
        rules = store.ttl_config or {}
        self.limits = settings
        self._failures = FailurePolicy(settings)
        self._looking_up, self._writing = Timeout(settings.timeout), Timeout(None)
        self._reader = RecordReader(
            access_to(store, self._looking_up),
            Namespace.of(namespace),
            settings.max_preference_chars,
            settings.max_history,
            refresh=bool(rules and rules.get("refresh_on_read", True)),
        )
        self._writer = RecordWriter(self._reader, ttl=rules.get("default_ttl"))
        self._cache: LookupCache[tuple[StoredPreference, ...]] | None = None
        if settings.cache_seconds is not None:
            self._cache = LookupCache(settings.cache_seconds, settings.cache_users)

    @property
    def store(self) -> BaseStore:
        """The store."""
        return self._reader.access.store

    @property
    def failures(self) -> int:
        """How many failures were ignored so far."""
        return self._failures.failures

    def __deepcopy__(self, memo: object) -> Self:
        """The same: a deep copy of a model asks the store that the model asks."""
        return self

    # --- What a `PreferenceStore` needn't have ---

    def list(self, limit: int = 100, offset: int = 0) -> tuple[str, ...]:
        """Ids of users of whom something is stored: those of ``limit`` records after ``offset``.

        A page can be shorter than ``limit`` before the last, by those who were forgotten.

        Raises:
            ConfigurationError: The namespace is a function, which can't be asked for its users.
            RequestError: There is no such page.
        """
        return run(self._reader.users(limit, offset))

    async def alist(self, limit: int = 100, offset: int = 0) -> tuple[str, ...]:
        """See `list`."""
        return await arun(self._reader.users(limit, offset))

    def history(self, user_id: str, limit: int = 20) -> tuple[Change, ...]:
        """A user's last changes, newest first.

        Raises:
            RequestError: There is no such number of changes.
        """
        return run(self._reader.history(user_id, limit, self._failures.on_corrupt))

    async def ahistory(self, user_id: str, limit: int = 20) -> tuple[Change, ...]:
        """See `history`."""
        return await arun(self._reader.history(user_id, limit, self._failures.on_corrupt))

    def erase(self, user_id: str) -> None:
        """Leave nothing of a user in the store, history included."""
        run(self._write(user_id, self._writer.erase(user_id)))

    async def aerase(self, user_id: str) -> None:
        """See `erase`."""
        await arun(self._write(user_id, self._writer.erase(user_id)))

    # --- What the other methods are made of ---

    def _applying(self, user_id: str, about: str | None) -> Procedure[None, tuple[Preference, ...]]:
        try:
            location = self._reader.namespace.location(user_id)
            lookup = self._reader.preferences(location, self._failures.on_corrupt)
            if self._cache is not None:
                lookup = self._cache.found(user_id, lookup)
            stored = yield from lookup
            is_long = isinstance(about, str) and len(about) > SHORT
            if self.limits.matcher is mentions and not is_long:
                return self.limits.applying(stored, about)
            applying = partial(self.limits.applying, stored, about)
            preferences: tuple[Preference, ...] = yield in_executor(
                applying, self._looking_up.workers
            )
            return preferences
        except PreferenceStoreError as error:
            self._failures.on_store_error(error)
            return ()

    def _profile(self, user_id: str) -> Procedure[None, Profile | None]:
        location = self._reader.namespace.location(user_id)
        return self._reader.profile(location, self._failures.on_corrupt)

    def _change(
        self, user_id: str, edit: Edit, *, replaces: bool = False
    ) -> Procedure[None, Change | None]:
        on_corrupt = _replace if replaces else _refuse
        return self._write(user_id, self._writer.change(user_id, edit, on_corrupt))

    def _write(self, user_id: str, writing: Procedure[None, T]) -> Procedure[None, T]:
        """Write to the end, even if the task that waits for it is cancelled."""
        check_user_id(user_id)
        whole = self._uncached(user_id, writing)
        wait = Wait(partial(run, whole), partial(arun, whole))
        written: T = yield self._writing.limited(wait)
        return written

    def _uncached(self, user_id: str, writing: Procedure[None, T]) -> Procedure[None, T]:
        """Write, and have nobody find what was there before."""
        try:
            return (yield from writing)
        finally:
            if self._cache is not None:
                self._cache.drop(user_id)


def _refuse(error: CorruptProfileError) -> None:
    """What isn't to be replaced must be readable to be changed."""
    raise error


def _replace(error: CorruptProfileError) -> None:
    """What is to be replaced needn't be readable."""
