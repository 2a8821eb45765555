"""Several streams read at a time, as one.

Knows asyncio. Doesn't know what the streams give.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from typing import TypeVar

Item = TypeVar("Item")


async def merged(
    streams: Sequence[AsyncIterator[Item]],
) -> AsyncGenerator[tuple[int, Item], None]:
    """What all streams give, as it comes, with the number of the stream that gave it.

    When it is closed, and when one of them fails, all are cancelled and have ended.
    """
    queue: asyncio.Queue[tuple[int, Item] | BaseException | None] = asyncio.Queue()
    readers = [
        asyncio.create_task(_read(number, stream, queue)) for number, stream in enumerate(streams)
    ]
    try:
        left = len(readers)
        while left:
            event = await queue.get()
            if event is None:
                left -= 1
            elif isinstance(event, BaseException):
                raise event
            else:
                yield event
    finally:
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)


async def _read(
    number: int,
    stream: AsyncIterator[Item],
    queue: asyncio.Queue[tuple[int, Item] | BaseException | None],
) -> None:
    try:
        async with aclosing(stream):  # type: ignore[type-var]
            async for item in stream:
                queue.put_nowait((number, item))
        queue.put_nowait(None)
    except Exception as error:
        queue.put_nowait(error)
