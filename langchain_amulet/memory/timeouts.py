"""Waiting for an answer no longer than asked, in a thread or in an event loop.

What is waited for goes on by itself: a database's client that is stopped half-way can be left in
the middle of a transaction. So that a store that hangs doesn't gather waiting threads for ever,
only so many may be unanswered at a time.

This module doesn't know what is waited for.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from threading import Thread
from typing import Any, TypeVar

from langchain_amulet.errors import ConfigurationError, PreferenceTimeoutError

Answer = TypeVar("Answer")

UNANSWERED = 64
"""How many may be late at a time before others aren't even begun."""


def in_thread(work: Callable[[], Answer]) -> Future[Answer]:
    """Begin work in a thread of its own, which keeps no process from ending."""
    future: Future[Answer] = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    future.set_running_or_notify_cancel()  # so that nobody can cancel it
    Thread(target=contextvars.copy_context().run, args=(run,), daemon=True).start()
    return future


class Timeout:
    """How long to wait.

    Args:
        timeout: Seconds; None for as long as it takes.

    Raises:
        ConfigurationError: The timeout isn't a time.
    """

    def __init__(self, timeout: float | None) -> None:
        """Nothing is waited for yet."""
        if timeout is not None and not timeout > 0.0:
            raise ConfigurationError(
                f"timeout must be a number of seconds above 0, not {timeout!r}: use None to wait "
                "for as long as it takes."
            )
        self.timeout = timeout
        self._unanswered: set[Future[Any] | asyncio.Future[Any]] = set()

    def result(self, work: Callable[[], Answer]) -> Answer:
        """What ``work()`` returns.

        Raises:
            PreferenceTimeoutError: It took too long.
        """
        if self.timeout is None:
            return work()
        self._check()
        future = in_thread(work)
        wait([future], self.timeout)
        if not future.done():
            self._leave(future)
            raise self._too_late()
        return future.result()

    async def aresult(self, work: Callable[[], Coroutine[Any, Any, Answer]]) -> Answer:
        """What ``await work()`` gives. If the caller is cancelled, the work goes on to its end.

        Raises:
            PreferenceTimeoutError: It took too long.
        """
        self._check()
        task = asyncio.ensure_future(work())
        try:
            await asyncio.wait([task], timeout=self.timeout)
        finally:
            if not task.done():
                self._leave(task)
        if not task.done():
            raise self._too_late()
        return task.result()

    def _check(self) -> None:
        if len(self._unanswered) >= UNANSWERED:
            raise PreferenceTimeoutError(
                f"The last {UNANSWERED} questions to the store are still unanswered: it hangs, so "
                "it isn't asked again until it answers one of them."
            )

    def _leave(self, future: Future[Any] | asyncio.Future[Any]) -> None:
        self._unanswered.add(future)
        future.add_done_callback(self._answered)

    def _answered(self, future: Future[Any] | asyncio.Future[Any]) -> None:
        self._unanswered.discard(future)
        if not future.cancelled():
            future.exception()  # nobody waits for it, and asyncio would complain

    def _too_late(self) -> PreferenceTimeoutError:
        return PreferenceTimeoutError(
            f"The store gave no answer within {self.timeout} s: mend the store, raise timeout, or "
            "go on without preferences by on_store_error='ignore'."
        )
