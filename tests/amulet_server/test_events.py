"""Streams of events as ASGI sends them, to readers who read, don't read, and leave."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from amulet_server.transport.events import EventStream

SCOPE: dict[str, Any] = {"type": "http", "asgi": {"spec_version": "2.3"}}


async def events(ended: list[bool], most: int = 10**9) -> AsyncGenerator[list[str], None]:
    try:
        for number in range(most):
            await asyncio.sleep(0)
            yield [str(number)] * (number % 3)
    finally:
        ended.append(True)


async def never() -> dict[str, Any]:
    """A caller who stays: nothing is heard of them."""
    await asyncio.Event().wait()
    raise AssertionError


async def test_events_that_are_there_together_are_sent_at_once() -> None:
    sent: list[bytes] = []

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    ended: list[bool] = []
    await EventStream(events(ended, 6), patience=60)(SCOPE, never, send)
    # Where nothing is there nothing is sent; the first message is the head, the last the end.
    assert sent == [
        b"",
        b"data: 1\n\n",
        b"data: 2\n\ndata: 2\n\n",
        b"data: 4\n\n",
        b"data: 5\n\ndata: 5\n\n",
        b"",
    ]
    assert ended


async def test_a_reader_who_leaves_an_event_unread_for_too_long_counts_as_gone() -> None:
    async def send(message: Any) -> None:
        if message.get("body"):
            await asyncio.Event().wait()  # the socket takes no more

    ended: list[bool] = []
    with pytest.raises(ClientDisconnect):
        await EventStream(events(ended), patience=0.05)(SCOPE, never, send)
    assert ended


async def test_a_caller_who_leaves_ends_the_source() -> None:
    leaving = asyncio.Event()

    async def send(message: Any) -> None:
        if message.get("body"):
            leaving.set()

    async def receive() -> dict[str, Any]:
        await leaving.wait()
        return {"type": "http.disconnect"}

    ended: list[bool] = []
    await EventStream(events(ended), patience=60)(SCOPE, receive, send)
    assert ended
