"""One thing to wait for, and both ways of doing it: blocking a thread, or an event loop's task.

Knows futures, executors, and functions of either kind. Doesn't know who waits, or for how long.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar

from langchain_core.runnables.config import run_in_executor

from langchain_amulet.waiting.threads import Workers, in_thread

Arguments = ParamSpec("Arguments")

T = TypeVar("T")


@dataclass(frozen=True)
class Wait(Generic[T]):
    """One thing to wait for, and both ways of doing it.

    Attributes:
        block: Waits in this thread.
        suspend: Waits in an event loop without blocking it.
        begin: Has it done elsewhere, for who may not wait to its end: a future, which is cancelled
            to say that nobody waits any more. None if there is no such way.
    """

    block: Callable[[], T]
    suspend: Callable[[], Awaitable[T]]
    begin: Callable[[], Future[T]] | None = None


def from_future(future: Future[T]) -> Wait[T]:
    """Wait for what another thread will have done. A cancelled task cancels the future."""
    return Wait(future.result, lambda: asyncio.wrap_future(future), lambda: future)


def in_executor(work: Callable[[], T], workers: Workers | None = None) -> Wait[T]:
    """Do what takes long: here in a thread's own time, beside an event loop in another thread.

    Args:
        work: What to do.
        workers: Who does it in another thread; None for the event loop's own executor, which it
            shares with all of the program.
    """
    if workers is None:
        return Wait(work, lambda: run_in_executor(None, work))
    begin = partial(workers.submit, work)
    return Wait(work, lambda: asyncio.wrap_future(begin()), begin)


def twins(
    block: Callable[Arguments, T],
    suspend: Callable[Arguments, Awaitable[T]],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Wait[T]:
    """Call a method that there is in both ways: ``twins(store.get, store.aget, "ada")``."""
    return Wait(partial(block, *args, **kwargs), partial(suspend, *args, **kwargs))


def call(workers: Workers, function: Callable[..., T | Awaitable[T]], *args: Any) -> Wait[T]:
    """Call a function that may be a coroutine function.

    A plain one doesn't block an event loop: it is called by one of these threads. A coroutine
    function that is needed outside of an event loop gets a loop of its own in a thread.
    """
    return Wait(partial(_block, function, *args), partial(_suspend, workers, function, *args))


def _block(function: Callable[..., Any], *args: Any) -> Any:
    result = function(*args)
    if inspect.isawaitable(result):
        # In a thread, as a loop may be running in this one.
        return in_thread(partial(asyncio.run, _awaited(result))).result()
    return result


async def _suspend(workers: Workers, function: Callable[..., Any], *args: Any) -> Any:
    if _is_async(function):
        result = function(*args)
    else:
        result = await in_executor(partial(function, *args), workers).suspend()
    return await result if inspect.isawaitable(result) else result


async def _awaited(result: Awaitable[T]) -> T:
    return await result


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - what is asked is what kind of call it is
    )
