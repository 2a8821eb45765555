"""`ResolverMemory`: a function of the user's id, as a chat model's memory.

The function may be synchronous or not, over mem0 or a system of one's own. This module doesn't
know what it does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Self

from langchain_amulet.errors import (
    AmuletError,
    ConfigurationError,
    CorruptProfileError,
    PreferenceStoreError,
)
from langchain_amulet.memory.lookups import FailurePolicy, LookupSettings, OnFailure, Timeout
from langchain_amulet.preferences.preference import Preference, PreferenceLike, as_preferences
from langchain_amulet.preferences.user_id import check_user_id
from langchain_amulet.validation.pydantic_errors import explained
from langchain_amulet.validation.wording import kind_of
from langchain_amulet.waiting.procedure import Procedure, arun, run
from langchain_amulet.waiting.wait import call

Resolve = Callable[[str], PreferenceLike] | Callable[[str], Awaitable[PreferenceLike]]
"""``resolve(user_id)``: what the user prefers; None for nothing."""


class ResolverMemory:
    """A function of the user's id, as a `PreferenceSource`.

    A synchronous function doesn't block an event loop: it is called in a thread. A coroutine
    function that is needed outside of one gets a loop of its own in a thread.

    Args:
        resolve: The function.
        on_store_error: "ignore" to have a lookup find nothing, with a warning, if it fails.
        on_corrupt: "ignore" to do so if what it gives isn't a preference.
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
        if not callable(resolve):
            raise ConfigurationError(
                "A resolver must be a function of the user's id, not of type "
                f"{type(resolve).__name__}: give one such as {{'ada': 'Keep it short.'}}.get."
            )
        given: dict[str, Any] = dict(
            on_store_error=on_store_error, on_corrupt=on_corrupt, timeout=timeout
        )
        with explained(ConfigurationError):
            settings = LookupSettings(**given)
        self._resolve = resolve
        self._timeout = Timeout(settings.timeout)
        self._failures = FailurePolicy(settings)

    @property
    def failures(self) -> int:
        """How many failures were ignored so far."""
        return self._failures.failures

    def __deepcopy__(self, memo: object) -> Self:
        """The same: a deep copy of a model calls the function that the model calls."""
        return self

    def get(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        """What the function gives for the user, whatever the conversation is about."""
        return run(self._resolved(user_id))

    async def aget(self, user_id: str, about: str | None = None) -> tuple[Preference, ...]:
        """See `get`."""
        return await arun(self._resolved(user_id))

    def _resolved(self, user_id: str) -> Procedure[None, tuple[Preference, ...]]:
        check_user_id(user_id)
        try:
            workers = self._timeout.workers
            resolved = yield self._timeout.limited(call(workers, self._resolve, user_id))
        except Exception as error:
            self._failures.on_store_error(_failure(user_id, error))
            return ()
        try:
            return as_preferences(resolved)
        except AmuletError as error:
            self._failures.on_corrupt(
                CorruptProfileError(f"What was resolved for user {user_id!r} is unusable: {error}")
            )
            return ()


def _failure(user_id: str, error: Exception) -> PreferenceStoreError:
    if isinstance(error, PreferenceStoreError):
        return error  # that it took too long
    failure = PreferenceStoreError(
        f"Resolving the preferences of user {user_id!r} failed: {kind_of(error)}, in words that "
        "aren't shown, as they may quote one. Mend the function, or go on without preferences by "
        "memory=ResolverMemory(function, on_store_error='ignore')."
    )
    failure.__suppress_context__ = True
    return failure
