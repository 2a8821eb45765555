"""How something is looked up: within a time, forgiving failures if asked, remembered for a while.

This module doesn't know what is looked up, or where.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from threading import Lock
from typing import Generic, Literal, TypeVar

from cachetools import TTLCache
from pydantic import BaseModel, ConfigDict, Field

from langchain_amulet.errors import (
    CorruptProfileError,
    PreferenceStoreError,
    PreferenceTimeoutError,
    PreferenceWarning,
)
from langchain_amulet.validation.checks import LONGEST_WAIT
from langchain_amulet.validation.packages import warn
from langchain_amulet.waiting.deadline import AnyFuture, Deadline
from langchain_amulet.waiting.procedure import Procedure
from langchain_amulet.waiting.threads import Workers
from langchain_amulet.waiting.wait import Wait

T = TypeVar("T")

logger = logging.getLogger(__name__)

OnFailure = Literal["raise", "ignore"]

UNANSWERED = 64
"""How many may be late at a time before others aren't even begun, and how many threads may wait."""

LATE = 10.0
"""Seconds after which what nobody waits for any more counts as late, where there is no timeout."""


class LookupSettings(BaseModel):
    """What a program may say about lookups; for what it means see `PreferenceMemory`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    on_store_error: OnFailure = "raise"
    on_corrupt: OnFailure = "raise"
    timeout: float | None = Field(default=None, gt=0.0, le=LONGEST_WAIT, allow_inf_nan=False)


class Timeout:
    """How long is waited for one thing.

    What is waited for goes on by itself: a database's client that is stopped half-way can be left
    in the middle of a transaction. So that what hangs doesn't gather waiting threads, there are
    `UNANSWERED` at the most, what is more waits for one of them, and it isn't begun where its time
    is over by then. Nor is anything while so many are late.

    Args:
        seconds: How long; None for as long as it takes.

    Attributes:
        workers: The threads in which what blocks is waited for. They are for one thing each: what
            hangs keeps nobody from asking another.
    """

    def __init__(self, seconds: float | None) -> None:
        """Nothing is waited for yet."""
        self.workers = Workers(UNANSWERED)
        self._seconds = seconds
        self._abandoned: dict[AnyFuture, float] = {}  # when they were begun

    def limited(self, awaited: Wait[T], begun: float | None = None) -> Wait[T]:
        """Wait no longer than allowed.

        Where it isn't allowed to block for ever, it is done in another thread. A task that is
        cancelled leaves it to go on to its end.

        Args:
            awaited: What to wait for.
            begun: The moment from which the time counts, by `time.monotonic`; None for now.

        Returns:
            A wait that raises `PreferenceTimeoutError` if it takes too long.
        """
        begun = time.monotonic() if begun is None else begun
        at = math.inf if self._seconds is None else begun + self._seconds
        deadline = Deadline(at, self._too_late)
        patient = deadline.limited(awaited, partial(self._abandon, begun), self.workers)
        return Wait(partial(self._checked, patient.block), partial(self._checked, patient.suspend))

    def _checked(self, begin: Callable[[], T]) -> T:
        if self._abandoned:
            self._check()
        return begin()

    def _check(self) -> None:
        """Refuse to begin what would only hang like so much else.

        What was left early, as by clients that hung up, says nothing against a store that is slow
        but well: only what is late counts.
        """
        latest = time.monotonic() - (LATE if self._seconds is None else self._seconds)
        if sum(begun <= latest for begun in list(self._abandoned.values())) >= UNANSWERED:
            raise PreferenceTimeoutError(
                f"The last {UNANSWERED} questions to the store are still unanswered: it hangs, so "
                "it isn't asked again until it answers one of them."
            )

    def _abandon(self, begun: float, future: AnyFuture) -> None:
        if isinstance(future, Future) and future.cancel():
            return  # it was still waiting for a thread
        self._abandoned[future] = begun
        future.add_done_callback(self._answered)

    def _answered(self, future: AnyFuture) -> None:
        self._abandoned.pop(future, None)
        if not future.cancelled():
            future.exception()  # nobody waits for it, and asyncio would complain

    def _too_late(self) -> PreferenceTimeoutError:
        logger.warning("A store of preferences gave no answer within %s s", self._seconds)
        return PreferenceTimeoutError(
            f"The store gave no answer within {self._seconds} s: mend the store, raise timeout, or "
            "go on without preferences by on_store_error='ignore'."
        )


class FailurePolicy:
    """What becomes of a lookup that failed: an error, or no preferences and a warning.

    Args:
        settings: What a program said of it.

    Attributes:
        failures: How often something was left out.
    """

    def __init__(self, settings: LookupSettings) -> None:
        """Nothing failed yet."""
        self._settings = settings
        self._lock = Lock()
        self.failures = 0

    def on_store_error(self, error: PreferenceStoreError) -> None:
        """Raise it, or warn that an answer goes without stored preferences."""
        if self._settings.on_store_error == "raise":
            raise error
        self._warn(f"An answer goes without stored preferences: {error}")

    def on_corrupt(self, error: CorruptProfileError) -> None:
        """Raise it, or warn that a record is left out."""
        if self._settings.on_corrupt == "raise":
            raise error
        self._warn(f"A record is left out: {error}")

    def _warn(self, message: str) -> None:
        with self._lock:
            self.failures += 1
        warn(message, PreferenceWarning)


class LookupCache(Generic[T]):
    """What the last lookups found, by user.

    Args:
        seconds: How long that is remembered.
        users: Of how many users it is.
    """

    def __init__(self, seconds: float, users: int) -> None:
        """Nothing is remembered yet."""
        self._lock = Lock()
        self._remembered: TTLCache[str, T] = TTLCache(users, seconds)
        self._drops = 0

    def found(self, user_id: str, lookup: Procedure[None, T]) -> Procedure[None, T]:
        """What is remembered of a user, or else what the lookup finds, which then is."""
        with self._lock:
            remembered, drops = self._remembered.get(user_id), self._drops
        if remembered is not None:
            return remembered
        found = yield from lookup
        with self._lock:
            if drops == self._drops:  # else it may have been read before somebody wrote
                self._remembered[user_id] = found
        return found

    def drop(self, user_id: str) -> None:
        """Remember nothing of a user, who was written to."""
        with self._lock:
            self._drops += 1
            self._remembered.pop(user_id, None)
