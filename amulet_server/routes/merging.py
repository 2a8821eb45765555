"""Several streams read at a time, as one; what comes while nobody reads is given at once.

Knows asyncio. Doesn't know what the streams give.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from typing import TypeVar

Item = TypeVar("Item")

_Event = tuple[int, Item] | BaseException | None
"""An item, what a stream failed with, or that one is over."""


async def merged(
    streams: Sequence[AsyncIterator[Item]],
    end: Callable[[], Awaitable[object]] | None = None,
) -> AsyncGenerator[list[tuple[int, Item]], None]:
    """What all streams give, as it comes, with the number of the stream that gave it.

    Each time it is all that has come by then, at least one item: a reader who is slow, or whose
    thread has to wait for another one, catches up in one step.

    When it is closed, and when one of them fails, all are cancelled and have ended.

    Args:
        streams: What is read.
        end: Waits for what ends all of them before their time, and raises what they fail with.
    """
    queue: asyncio.Queue[_Event[Item]] = asyncio.Queue()
    tasks = [
        asyncio.create_task(_read(number, stream, queue)) for number, stream in enumerate(streams)
    ]
    if end is not None:
        tasks.append(asyncio.create_task(_fail(end, queue)))
    try:
        left = len(streams)
        while left:
            events = [await queue.get(), *_waiting(queue)]
            left -= events.count(None)
            if items := [event for event in events if isinstance(event, tuple)]:
                yield items
            for event in events:
                if left and isinstance(event, BaseException):  # else all was over before `end`
                    raise event
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(
    number: int,
    stream: AsyncIterator[Item],
    queue: asyncio.Queue[_Event[Item]],
) -> None:
    try:
        async with aclosing(stream):  # type: ignore[type-var]
            async for item in stream:
                queue.put_nowait((number, item))
        queue.put_nowait(None)
    except Exception as error:
        queue.put_nowait(error)


async def _fail(end: Callable[[], Awaitable[object]], queue: asyncio.Queue[_Event[Item]]) -> None:
    try:
        await end()
    except Exception as error:
        queue.put_nowait(error)


def _waiting(queue: asyncio.Queue[_Event[Item]]) -> Iterator[_Event[Item]]:
    """What is in a queue now."""
    while not queue.empty():
        yield queue.get_nowait()
