"""Deadlines: who waits gives up by itself, however busy the one who is waited for.

Knows the clock and what calls a wait off. Doesn't know what is waited for.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from langchain_amulet.waiting.procedure import Procedure, with_waits
from langchain_amulet.waiting.threads import Workers, in_thread
from langchain_amulet.waiting.wait import Wait

T = TypeVar("T")

Item = TypeVar("Item")

AnyFuture = Future[Any] | asyncio.Future[Any]
"""What is waited for, of a thread or of an event loop."""


@dataclass(frozen=True)
class Deadline:
    """The moment at which who waits gives up.

    Attributes:
        at: By `time.monotonic`; infinite for never.
        error: What is raised then.
        called_off: Once it is done, that moment is over for all who wait in threads; None where it
            is a matter of time alone.
    """

    at: float
    error: Callable[[], Exception]
    called_off: Future[None] | None = None

    @property
    def left(self) -> float:
        """Seconds until then, at least 0."""
        if self.called_off is not None and self.called_off.done():
            return 0.0
        return max(self.at - time.monotonic(), 0.0)

    def check(self) -> None:
        """Raise the error if the time is over."""
        if self.left <= 0.0:
            raise self.error()

    def limited(
        self,
        awaited: Wait[T],
        give_up: Callable[[AnyFuture], object] | None = None,
        workers: Workers | None = None,
    ) -> Wait[T]:
        """Wait until then and no longer, not even for a thread that is busy.

        What can't be begun elsewhere is done in another thread, or as a task of the loop.

        Args:
            awaited: What to wait for.
            give_up: Told what isn't done when nobody waits for it any more, because the time is
                over or the waiter was interrupted; None to cancel it.
            workers: Whose threads these are; None for a thread of its own for each wait.
        """
        give_up = _cancel if give_up is None else give_up
        block = awaited.block
        if self.at < math.inf or self.called_off is not None:
            elsewhere = in_thread if workers is None else workers.submit
            begin = awaited.begin or partial(elsewhere, awaited.block)
            block = partial(self._block, begin, give_up)
        return Wait(block, partial(self._suspend, awaited, give_up))

    def _block(self, begin: Callable[[], Future[T]], give_up: Callable[[AnyFuture], object]) -> T:
        future = begin()
        ends: list[Future[Any]] = [future] if self.called_off is None else [future, self.called_off]
        try:
            wait(ends, self.left if self.at < math.inf else None, FIRST_COMPLETED)
        finally:
            is_done = future.done()  # before it may be cancelled
            if not is_done:
                give_up(future)
        if not is_done:
            raise self.error()
        return future.result()

    async def _suspend(self, awaited: Wait[T], give_up: Callable[[AnyFuture], object]) -> T:
        begun = None if awaited.begin is None else awaited.begin()
        future: asyncio.Future[T] = (
            asyncio.ensure_future(awaited.suspend())
            if begun is None
            else asyncio.wrap_future(begun)
        )
        try:
            await asyncio.wait([future], timeout=self.left if self.at < math.inf else None)
        finally:
            is_done = future.done()  # before it may be cancelled
            if not is_done:
                give_up(future if begun is None else begun)
                if begun is not None:
                    future.cancel()  # who is told is what does it, not what waits for that here
        if not is_done:
            raise self.error()
        return future.result()


def limited(
    procedure: Procedure[Item, T], deadline: Deadline, workers: Workers | None = None
) -> Procedure[Item, T]:
    """The same procedure, in which each wait ends at a deadline; see `Deadline.limited`."""
    return with_waits(procedure, partial(deadline.limited, workers=workers))


def _cancel(future: AnyFuture) -> None:
    """Say that nobody waits; what has begun may go on to its end, and nobody is told of it."""
    future.cancel()
    if isinstance(future, asyncio.Future):
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
