"""`PreferenceMemory`: what users prefer, remembered in any LangGraph store.

A chat model asks it for a user's preferences once per call. Programs set, add and forget them, and
look at their history. What is stored is in `profile`, where in `namespaces`, what of it applies in
`limits`, how a change is made in `merging`, and how a store is asked in `records` and `store_io`.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial

from langchain_core.runnables.config import run_in_executor
from langgraph.store.base import BaseStore

from langchain_amulet.errors import ConfigurationError, CorruptProfileError
from langchain_amulet.fitting.examples import FittedPreferences
from langchain_amulet.memory.cache import ProfileCache
from langchain_amulet.memory.conditions import Matcher, mentions
from langchain_amulet.memory.failures import FailurePolicy, OnFailure
from langchain_amulet.memory.fitting import Learns
from langchain_amulet.memory.limits import Limits
from langchain_amulet.memory.merging import Edit, adding, forgetting, setting, updating
from langchain_amulet.memory.namespaces import Namespace, NamespaceLike, check_user_id
from langchain_amulet.memory.profile import Change, Lifetime, Profile, StoredPreference
from langchain_amulet.memory.reading import Complain
from langchain_amulet.memory.records import Answer, Procedure, Records
from langchain_amulet.memory.store_io import StoreIO
from langchain_amulet.memory.timeouts import Timeout
from langchain_amulet.preferences.preference import Preference, PreferenceLike
from langchain_amulet.validation import explained


class PreferenceMemory(Learns):
    """What users prefer, remembered in a store that the program already has.

    ::

        memory = PreferenceMemory(store)
        memory.set("ada", "Keep it short.")
        memory.add("ada", StoredPreference("Be formal.", when=["work"]))
        memory.get("ada", about="How do I ask for a rise at work?")

    Every method has a twin for event loops, with an ``a`` before its name. Lookups raise
    `PreferenceStoreError` if the store fails, `PreferenceTimeoutError` if it takes too long and
    `CorruptProfileError` if what it holds can't be read, but for what is to be ignored; all
    methods raise `PreferenceError` for what can't be a user's id or a preference.

    Two writers at a time don't undo each other's changes: what was added stays, whatever others
    add or set, and of what was set, what was set last. Every change that was acknowledged is in
    the history, until so many others have followed that it is dropped.

    Args:
        store: Any of LangGraph's stores; it is neither set up nor closed here.
        namespace: Where the records are, one item per user with the user's id for its key. With
            ``{user_id}`` in a label, every item of the namespace is one of the user's preferences.
            Or a function of the user's id that gives the namespace of the user's record.
        on_store_error: "ignore" to have a lookup find nothing, with a warning, if the store fails.
        on_corrupt: "ignore" to leave out what can't be read, with a warning.
        timeout: Seconds that the store may take for a lookup; None for as long as it likes.
        ttl: How long a preference lasts that has no end of its own; seconds if a number.
        matcher: Decides whether a message is about one of a preference's topics.
        max_preferences: The most preferences of one user.
        max_preference_chars: The longest one.
        max_history: The most changes that are kept per user, at least 16: more than there are
            writers at a time.
        cache_seconds: How long a lookup may find what the last one found, unless this object wrote
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
                f"A store must be one of LangGraph's, not {store!r}: use InMemoryStore() or "
                "SqliteStore to begin with."
            )
        with explained(ConfigurationError):
            self._rules = Limits.model_validate(
                dict(
                    ttl=ttl,
                    matcher=matcher,
                    max_preferences=max_preferences,
                    max_preference_chars=max_preference_chars,
                    max_history=max_history,
                    cache_seconds=cache_seconds,
                    cache_users=cache_users,
                )
            )
        place = Namespace.of(namespace)
        self._records = Records.of(store, place, max_preference_chars, max_history)
        self._access = StoreIO(store)
        self._tolerance = FailurePolicy(on_store_error, on_corrupt)
        self._patience, self._endless = Timeout(timeout), Timeout(None)
        self._cache = ProfileCache(cache_seconds, cache_users)

    @property
    def store(self) -> BaseStore:
        """The store."""
        return self._access.store

    @property
    def failures(self) -> int:
        """How many failures were ignored so far."""
        return self._tolerance.failures

    # --- Lookups ---

    def get(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        """What applies now, in the order in which it was stored; nothing for an unknown user.

        Args:
            user_id: Whose preferences.
            about: The last message that the human wrote; without it, no condition is met.
        """
        with self._tolerance:
            self._access.check_thread()
            (profile,) = self._held(user_id) or (self._ask(self._lookup(user_id)),)
            return self._rules.applying(profile, about)
        return ()

    async def aget(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        """See `get`."""
        with self._tolerance:
            (profile,) = self._held(user_id) or (await self._aask(self._lookup(user_id)),)
            if self._rules.matcher is mentions:
                return self._rules.applying(profile, about)
            return await run_in_executor(None, self._rules.applying, profile, about)
        return ()

    def profile(self, user_id: str) -> Profile | None:
        """Everything that is stored of a user, whether it applies now or not; None for nothing.

        What is over stays in it until something is added or set: see `StoredPreference.is_over`.
        """
        return self._ask(self._records.lookup(user_id, self._tolerance.complain))

    async def aprofile(self, user_id: str) -> Profile | None:
        """See `profile`."""
        return await self._aask(self._records.lookup(user_id, self._tolerance.complain))

    def list(self, limit: int = 100, offset: int = 0) -> tuple[str, ...]:
        """Ids of users of whom something is stored: those of ``limit`` records after ``offset``.

        A page can be shorter than ``limit`` before the last, by those who were forgotten.

        Raises:
            ConfigurationError: The namespace is a function, which can't be asked for its users.
        """
        return self._ask(self._records.users(limit, offset))

    async def alist(self, limit: int = 100, offset: int = 0) -> tuple[str, ...]:
        """See `list`."""
        return await self._aask(self._records.users(limit, offset))

    def history(self, user_id: str, limit: int = 20) -> tuple[Change, ...]:
        """A user's last changes, newest first."""
        return self._ask(self._records.history(user_id, limit, self._tolerance.complain))

    async def ahistory(self, user_id: str, limit: int = 20) -> tuple[Change, ...]:
        """See `history`."""
        return await self._aask(self._records.history(user_id, limit, self._tolerance.complain))

    # --- Changes ---

    def set(self, user_id: str, preference: PreferenceLike, *, expires: Lifetime = None) -> None:
        """Have a user prefer this, one thing or several, and nothing else.

        Args:
            user_id: Whose preference.
            preference: What `ChatAmulet` takes for a preference, or a `StoredPreference`.
            expires: When it ends, for those that have no end of their own; seconds if a number.
        """
        self._write(self._setting(user_id, preference, expires))

    async def aset(
        self, user_id: str, preference: PreferenceLike, *, expires: Lifetime = None
    ) -> None:
        """See `set`."""
        await self._awrite(self._setting(user_id, preference, expires))

    def add(self, user_id: str, preference: PreferenceLike, *, expires: Lifetime = None) -> None:
        """Have a user prefer this too. One with the same text is replaced, expired ones go."""
        self._write(self._adding(user_id, preference, expires))

    async def aadd(
        self, user_id: str, preference: PreferenceLike, *, expires: Lifetime = None
    ) -> None:
        """See `add`."""
        await self._awrite(self._adding(user_id, preference, expires))

    def forget(self, user_id: str, text: str | None = None) -> tuple[StoredPreference, ...]:
        """Have a user prefer nothing, or not the one thing with this text; the history stays.

        Returns:
            What was forgotten.
        """
        return _removed(self._write(self._forgetting(user_id, text)))

    async def aforget(self, user_id: str, text: str | None = None) -> tuple[StoredPreference, ...]:
        """See `forget`."""
        return _removed(await self._awrite(self._forgetting(user_id, text)))

    def erase(self, user_id: str) -> None:
        """Leave nothing of a user in the store, history included."""
        self._write(self._erasing(user_id))

    async def aerase(self, user_id: str) -> None:
        """See `erase`."""
        await self._awrite(self._erasing(user_id))

    # --- What both ways share ---

    def _held(self, user_id: str) -> tuple[Profile | None] | None:
        check_user_id(user_id)
        return self._cache.get(user_id)

    def _lookup(self, user_id: str) -> Procedure[Profile | None]:
        before = self._cache.drops
        profile = yield from self._records.lookup(user_id, self._tolerance.complain)
        self._cache.put(user_id, profile, before)
        return profile

    def _is_met(self, stored: StoredPreference, about: str | None) -> bool:
        return self._rules.is_met(stored, about)

    def _setting(
        self, user_id: str, preference: PreferenceLike, expires: Lifetime
    ) -> Procedure[Change | None]:
        return self._changing(user_id, setting(self._rules.checked(preference, expires)), _ignore)

    def _adding(
        self, user_id: str, preference: PreferenceLike, expires: Lifetime
    ) -> Procedure[Change | None]:
        edit = adding(self._rules.checked(preference, expires), self._rules.max_preferences)
        return self._changing(user_id, edit, _raise)

    def _forgetting(self, user_id: str, text: str | None) -> Procedure[Change | None]:
        return self._changing(user_id, forgetting(text), _ignore if text is None else _raise)

    def _keep(self, user_id: str, learned: FittedPreferences[StoredPreference]) -> None:
        self._write(self._learning(user_id, learned))

    async def _akeep(self, user_id: str, learned: FittedPreferences[StoredPreference]) -> None:
        await self._awrite(self._learning(user_id, learned))

    def _learning(
        self, user_id: str, learned: FittedPreferences[StoredPreference]
    ) -> Procedure[Change | None]:
        return self._changing(user_id, updating(learned.preferences, learned.field), _raise)

    def _changing(self, user_id: str, edit: Edit, complain: Complain) -> Procedure[Change | None]:
        try:
            return (yield from self._records.change(user_id, edit, complain))
        finally:
            self._cache.drop(user_id)

    def _erasing(self, user_id: str) -> Procedure[None]:
        try:
            yield from self._records.erase(user_id)
        finally:
            self._cache.drop(user_id)

    # --- The two ways ---

    def _ask(self, procedure: Procedure[Answer]) -> Answer:
        self._access.check_thread()
        return self._patience.result(partial(self._access.run, procedure))

    async def _aask(self, procedure: Procedure[Answer]) -> Answer:
        return await self._patience.aresult(partial(self._access.arun, procedure))

    def _write(self, procedure: Procedure[Answer]) -> Answer:
        self._access.check_thread()
        return self._access.run(procedure)

    async def _awrite(self, procedure: Procedure[Answer]) -> Answer:
        return await self._endless.aresult(partial(self._access.arun, procedure))


def _removed(change: Change | None) -> tuple[StoredPreference, ...]:
    return tuple(change.removed.values()) if change else ()


def _raise(error: CorruptProfileError) -> None:
    raise error


def _ignore(error: CorruptProfileError) -> None:
    """What is to be replaced needn't be readable."""
