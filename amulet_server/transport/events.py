"""Answers that take a while: streams of events, and what is given up when the caller leaves.

Starlette's own streams end at a disconnect and let a server drain before it stops; what they lack
is added here.

Knows ASGI. Doesn't know what is answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request
from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

T = TypeVar("T")

DONE = "[DONE]"
"""What OpenAI's streams end with."""


class EventStream(StreamingResponse):
    """Server-sent events, whose source is closed as soon as nobody reads them any more.

    Args:
        events: What is sent: events without line breaks, those that are there together at once.
        patience: Seconds that the caller may leave an event unread before it counts as gone.
    """

    def __init__(self, events: AsyncGenerator[list[str], None], patience: float) -> None:
        """Send nothing yet."""
        self._events, self._patience = events, patience
        headers = {"X-Accel-Buffering": "no"}
        super().__init__(self._written(), headers=headers, media_type="text/event-stream")

    async def _written(self) -> AsyncGenerator[str, None]:
        async for events in self._events:
            if events:  # an empty piece would end the body
                yield "".join(f"data: {event}\n\n" for event in events)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until there are no more or the caller leaves."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._patience):
                await send(message)

        # A task that is cancelled while it sends leaves a generator where it is.
        async with aclosing(self._events):
            try:
                await super().__call__(scope, receive, send_in_time)
            except TimeoutError:
                raise ClientDisconnect from None


async def while_connected(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do what a caller waits for, and give it up when they leave.

    Args:
        request: Theirs, whose body was read.
        work: What to do; it is cancelled, and has ended when this raises.

    Raises:
        ClientDisconnect: They left.
    """
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        for each in (task, leaving):
            each.cancel()
        await asyncio.gather(task, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
