"""What has to wait, written once and run from a thread or from an event loop.

A `Procedure` is a generator. Where it has to wait it yields a `Wait`, which knows both ways of
waiting for one thing, and is sent what came of it; what it yields besides are the items that it
gives out. So a procedure says what is done, in which order and what is tidied up, and one of four
functions says how: `run` and `stream` block the thread, `arun` and `astream` an event loop's task.

::

    def answer() -> Procedure[str, int]:
        token_ids = yield from_future(engine.submit(...))
        yield "Hello"
        return len(token_ids)

    for piece in stream(answer()): ...
    async for piece in astream(answer()): ...

Whatever waiting raises is raised inside the procedure, where it yielded. A reader who leaves a
stream, or whose task is cancelled, closes the procedure, so that its ``finally`` and ``with``
blocks run at once.

Knows threads and event loops. Doesn't know what is waited for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from langchain_core.runnables.config import run_in_executor

T = TypeVar("T")
Item = TypeVar("Item")


@dataclass(frozen=True)
class Wait(Generic[T]):
    """One thing to wait for, and both ways of doing it.

    Attributes:
        block: Waits in this thread.
        suspend: Waits in an event loop without blocking it.
    """

    block: Callable[[], T]
    suspend: Callable[[], Awaitable[T]]


Procedure = Generator[Item | Wait[Any], Any, T]
"""``Procedure[Item, T]``: yields items and waits, returns a ``T``."""


def from_future(future: Future[T]) -> Wait[T]:
    """Wait for what another thread will have done. A cancelled task cancels the future."""
    return Wait(future.result, lambda: asyncio.wrap_future(future))


def in_executor(work: Callable[[], T]) -> Wait[T]:
    """Do what takes long: here in a thread's own time, beside an event loop in another thread."""
    return Wait(work, lambda: run_in_executor(None, work))


def run(procedure: Procedure[Any, T]) -> T:
    """What a procedure returns; items are let go."""
    steps = _Steps(procedure)
    for _ in steps.blocking():
        pass
    return steps.returned


async def arun(procedure: Procedure[Any, T]) -> T:
    """What a procedure returns, without blocking the event loop; items are let go."""
    steps = _Steps(procedure)
    async for _ in steps.suspending():
        pass
    return steps.returned


def stream(procedure: Procedure[Item, Any]) -> Generator[Item, None, None]:
    """The items of a procedure, as they come."""
    return _Steps(procedure).blocking()


def astream(procedure: Procedure[Item, Any]) -> AsyncGenerator[Item, None]:
    """The items of a procedure, as they come, without blocking the event loop."""
    return _Steps(procedure).suspending()


class _Steps(Generic[Item, T]):
    """A procedure on its way.

    Attributes:
        returned: What it returned, once it has.
    """

    returned: T

    def __init__(self, procedure: Procedure[Item, T]) -> None:
        """Begin with nothing done: the first step is for who asks for it."""
        self._procedure = procedure
        self._has_ended = False

    def blocking(self) -> Generator[Item, None, None]:
        """The items; this thread waits."""
        with closing(self._procedure):
            step = self._send(None)
            while not self._has_ended:
                if isinstance(step, Wait):
                    try:
                        value = step.block()
                    except BaseException as error:
                        step = self._throw(error)
                        continue
                    step = self._send(value)
                else:
                    yield cast("Item", step)
                    step = self._send(None)

    async def suspending(self) -> AsyncGenerator[Item, None]:
        """The items; an event loop's task waits. Its cancellation is raised inside, too."""
        with closing(self._procedure):
            step = self._send(None)
            while not self._has_ended:
                if isinstance(step, Wait):
                    try:
                        value = await step.suspend()
                    except BaseException as error:
                        step = self._throw(error)
                        continue
                    step = self._send(value)
                else:
                    yield cast("Item", step)
                    step = self._send(None)

    def _send(self, value: Any) -> Item | Wait[Any] | None:
        return self._step(lambda: self._procedure.send(value))

    def _throw(self, error: BaseException) -> Item | Wait[Any] | None:
        return self._step(lambda: self._procedure.throw(error))

    def _step(self, advance: Callable[[], Item | Wait[Any]]) -> Item | Wait[Any] | None:
        """Run to the next yield."""
        try:
            return advance()
        except StopIteration as end:
            self._has_ended, self.returned = True, end.value
            return None
