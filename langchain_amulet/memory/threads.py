"""Functions that may be coroutine functions, called in both ways.

This module doesn't know what is called.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from langchain_amulet.waiting import Wait, Workers, in_executor, in_thread

T = TypeVar("T")


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
