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
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from langchain_core.runnables.config import run_in_executor

Arguments = ParamSpec("Arguments")
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


def twins(
    block: Callable[Arguments, T],
    suspend: Callable[Arguments, Awaitable[T]],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Wait[T]:
    """Call a method that there is in both ways: ``twins(store.get, store.aget, "ada")``."""
    return Wait(partial(block, *args, **kwargs), partial(suspend, *args, **kwargs))


def run(procedure: Procedure[Any, T]) -> T:
    """What a procedure returns; items are let go."""
    steps = _Steps(procedure)
    for _ in _blocking(steps):
        pass
    return steps.returned


async def arun(procedure: Procedure[Any, T]) -> T:
    """What a procedure returns, without blocking the event loop; items are let go."""
    steps = _Steps(procedure)
    async for _ in _suspending(steps):
        pass
    return steps.returned


def stream(procedure: Procedure[Item, Any]) -> Generator[Item, None, None]:
    """The items of a procedure, as they come."""
    return _blocking(_Steps(procedure))


def astream(procedure: Procedure[Item, Any]) -> AsyncGenerator[Item, None]:
    """The items of a procedure, as they come, without blocking the event loop."""
    return _suspending(_Steps(procedure))


def collected(procedure: Procedure[Item, Any]) -> Procedure[Any, list[Item]]:
    """The same as part of another procedure: its items are returned instead of given out."""
    steps, items = _Steps(procedure), list[Item]()
    with closing(procedure):
        for step in steps:
            if isinstance(step, Wait):
                try:
                    steps.answer((yield step))
                except BaseException as error:
                    steps.fail(error)
            else:
                items.append(step)
    return items


def _blocking(steps: _Steps[Item, Any]) -> Generator[Item, None, None]:
    with closing(steps.procedure):
        for step in steps:
            if isinstance(step, Wait):
                try:
                    steps.answer(step.block())
                except BaseException as error:
                    steps.fail(error)
            else:
                yield step


async def _suspending(steps: _Steps[Item, Any]) -> AsyncGenerator[Item, None]:
    with closing(steps.procedure):
        for step in steps:
            if isinstance(step, Wait):
                try:
                    steps.answer(await step.suspend())
                except BaseException as error:  # a task's cancellation, too
                    steps.fail(error)
            else:
                yield step


class _Steps(Generic[Item, T]):
    """What a procedure yields, one after the other; who waited says what came of it.

    Attributes:
        procedure: The procedure.
        returned: What it returned, once it has.
    """

    returned: T

    def __init__(self, procedure: Procedure[Item, T]) -> None:
        """Nothing is done yet: the first step is for who asks for it."""
        self.procedure = procedure
        self._resume = partial(procedure.send, None)
        self._advance: Callable[[], Item | Wait[Any]] = self._resume

    def answer(self, value: Any) -> None:
        """Go on with this in place of the last yield."""
        self._advance = partial(self.procedure.send, value)

    def fail(self, error: BaseException) -> None:
        """Go on by raising this where the procedure yielded last."""
        self._advance = partial(self.procedure.throw, error)

    def __iter__(self) -> Iterator[Item | Wait[Any]]:
        """Run from one yield to the next."""
        while True:
            advance, self._advance = self._advance, self._resume
            try:
                step = advance()
            except StopIteration as end:
                self.returned = end.value
                return
            yield step
