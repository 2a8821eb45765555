"""Procedures, and the ways to run one: blocking a thread, or an event loop's task.

Whatever waiting raises is raised inside the procedure, where it yielded. A reader who leaves a
stream, or whose task is cancelled, closes the procedure, so that its ``finally`` and ``with``
blocks run at once.

Knows generators. Doesn't know how one thing is waited for.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import closing
from functools import partial
from typing import Any, Generic, TypeVar

from langchain_amulet.waiting.wait import Wait

T = TypeVar("T")

Item = TypeVar("Item")

Procedure = Generator[Item | Wait[Any], Any, T]
"""``Procedure[Item, T]``: yields items and waits, returns a ``T``."""


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


def with_waits(
    procedure: Procedure[Item, T], change: Callable[[Wait[Any]], Wait[Any]]
) -> Procedure[Item, T]:
    """The same procedure, in which each wait is another one, such as one that ends sooner."""
    steps = _Steps(procedure)
    with closing(procedure):
        for step in steps:
            if isinstance(step, Wait):
                try:
                    steps.answer((yield change(step)))
                except BaseException as error:
                    steps.fail(error)
            else:
                yield step
    return steps.returned


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
