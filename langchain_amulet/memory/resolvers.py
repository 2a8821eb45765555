"""Whatever knows what a user prefers, as a chat model's memory.

Besides `PreferenceMemory` that is a function of the user's id, synchronous or not, over mem0 or a
system of one's own. This module doesn't know what such a function does.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial

from langgraph.store.base import BaseStore

from langchain_amulet.errors import (
    AmuletError,
    ConfigurationError,
    CorruptProfileError,
    PreferenceStoreError,
)
from langchain_amulet.memory.failures import FailurePolicy, OnFailure
from langchain_amulet.memory.namespaces import check_user_id
from langchain_amulet.memory.preference_memory import PreferenceMemory
from langchain_amulet.memory.timeouts import Timeout, in_thread
from langchain_amulet.preferences.preference import Preference, PreferenceLike, as_preferences
from langchain_amulet.preferences.resolution import PreferenceSource
from langchain_amulet.validation import told

Resolve = Callable[[str], PreferenceLike] | Callable[[str], Awaitable[PreferenceLike]]
"""``resolve(user_id)``: what the user prefers; None for nothing."""


class ResolverMemory:
    """A function of the user's id, as a memory.

    A synchronous function doesn't block an event loop: it is called in a thread. A coroutine
    function that is needed outside of one gets a loop of its own in a thread.

    Args:
        resolve: The function.
        on_store_error: "ignore" to have a lookup find nothing, with a warning, if it fails.
        on_corrupt: "ignore" to do the same if what it gives isn't a preference.
        timeout: Seconds that it may take; None for as long as it likes.

    Raises:
        ConfigurationError: An argument can never work.
    """

    def __init__(
        self,
        resolve: Resolve,
        *,
        on_store_error: OnFailure = "raise",
        on_corrupt: OnFailure = "raise",
        timeout: float | None = None,
    ) -> None:
        """Call nothing yet."""
        self._resolve = resolve
        self._patience = Timeout(timeout)
        self._tolerance = FailurePolicy(on_store_error, on_corrupt)

    @property
    def failures(self) -> int:
        """How many failures were ignored so far."""
        return self._tolerance.failures

    def get(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        """What the function gives for the user, whatever the conversation is about."""
        check_user_id(user_id)
        with self._tolerance:
            return self._read(user_id, self._patience.result(partial(self._call, user_id)))
        return ()

    async def aget(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        """See `get`."""
        check_user_id(user_id)
        with self._tolerance:
            return self._read(user_id, await self._patience.aresult(partial(self._acall, user_id)))
        return ()

    def _call(self, user_id: str) -> PreferenceLike:
        try:
            given = self._resolve(user_id)
            if inspect.isawaitable(given):
                return in_thread(partial(asyncio.run, _awaited(given))).result()
        except Exception as error:
            raise _failed(user_id, error) from error
        return given

    async def _acall(self, user_id: str) -> PreferenceLike:
        try:
            if _is_async(self._resolve):
                given = self._resolve(user_id)
            else:
                given = await asyncio.wrap_future(in_thread(partial(self._resolve, user_id)))
            return await given if inspect.isawaitable(given) else given
        except Exception as error:
            raise _failed(user_id, error) from error

    def _read(self, user_id: str, given: PreferenceLike) -> tuple[Preference, ...]:
        try:
            return as_preferences(given)
        except AmuletError as error:
            self._tolerance.complain(
                CorruptProfileError(f"What was resolved for user {user_id!r} is unusable: {error}")
            )
        return ()


def as_memory(value: PreferenceSource | BaseStore | Resolve) -> PreferenceSource:
    """A memory, given as itself, as a LangGraph store or as a function of the user's id.

    Raises:
        ConfigurationError: It is none of these.
    """
    if isinstance(value, BaseStore):
        return PreferenceMemory(value)
    if isinstance(value, PreferenceSource):
        return value
    if callable(value):
        return ResolverMemory(value)
    raise ConfigurationError(
        f"A memory must be a PreferenceMemory, a store of LangGraph's or a function of the user's "
        f"id, not {value!r}: use one of those."
    )


async def _awaited(given: Awaitable[PreferenceLike]) -> PreferenceLike:
    return await given


def _is_async(resolve: Resolve) -> bool:
    return inspect.iscoroutinefunction(resolve) or inspect.iscoroutinefunction(
        getattr(resolve, "__call__", None)  # noqa: B004 - what is asked is what kind of call it is
    )


def _failed(user_id: str, error: Exception) -> PreferenceStoreError:
    return PreferenceStoreError(
        f"Resolving the preferences of user {user_id!r} failed: {type(error).__name__}: "
        f"{told(error)}. Mend the function, or go on without preferences by "
        "memory=ResolverMemory(function, on_store_error='ignore')."
    )
