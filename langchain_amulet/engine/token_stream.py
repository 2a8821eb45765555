"""The caller's end of a request: tokens to iterate over, from a thread or from asyncio.

The engine's thread holds the ``Channel``, the caller holds the ``TokenStream``. The channel never
points back, so a caller who drops the generation, or leaves its loop, has cancelled the request.
Knows nothing of models or rows.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from types import TracebackType
from typing import Literal

from langchain_amulet.engine.request import Finish, Token
from langchain_amulet.errors import CancelledError

Event = Token | Finish | BaseException


class Channel:
    """A mailbox from the engine's thread to one reader, with a cancel flag going back."""

    def __init__(self, on_cancel: Callable[[], None]) -> None:
        """Make an empty mailbox; ``on_cancel`` wakes the engine and may be called by anyone."""
        self._events: deque[Event] = deque()
        self._waiting: Future[None] | None = None
        # Reentrant: a dropped generation may be collected while this very thread holds it.
        self._lock = threading.RLock()
        self._on_cancel = on_cancel
        self._closed = False
        self.cancelled = False

    def put(self, event: Event) -> None:
        """Hand over one event and wake the reader. Nothing is kept after a cancel."""
        with self._lock:
            if self._closed or self.cancelled:
                return
            self._closed = not isinstance(event, Token)
            self._events.append(event)
            waiting, self._waiting = self._waiting, None
        _wake(waiting)

    def cancel(self) -> None:
        """Say that nobody reads any more; the reader, if there is one, is told."""
        with self._lock:
            if self._closed or self.cancelled:
                return
            self.cancelled = True
            self._events.clear()
            self._events.append(
                CancelledError(
                    "The generation was cancelled by its caller, so it has no further tokens. "
                    "Submit the request again for a whole answer."
                )
            )
            waiting, self._waiting = self._waiting, None
        _wake(waiting)
        self._on_cancel()

    def poll(self) -> Event | None:
        """The oldest event, or ``None`` when there is none yet."""
        with self._lock:
            return self._events.popleft() if self._events else None

    def arrival(self) -> Future[None]:
        """A future that is done as soon as ``poll`` has something to give."""
        with self._lock:
            arrival: Future[None] = Future()
            if self._events:
                arrival.set_result(None)
            else:
                self._waiting = arrival
            return arrival


class TokenStream:
    """The tokens of one request, in order, as they are decoded.

    Iterate with ``for`` or ``async for``, by one reader. Iteration raises the request's own error
    if it fails. Leaving early, by ``close``, by a context manager, by cancelling the asyncio task
    that waits, or by dropping the object, frees the request's rows at the engine's next step.
    """

    def __init__(self, channel: Channel, owner: object) -> None:
        """Read from ``channel``; ``owner`` is kept alive as long as the generation."""
        self._channel = channel
        self._owner = owner
        self._ended: Finish | BaseException | None = None
        self._abandon = weakref.finalize(self, channel.cancel)
        self._abandon.atexit = False

    @property
    def finish_reason(self) -> Literal["stop", "length"] | None:
        """Why the answer ended; ``None`` until iteration is over, or if it failed."""
        return self._ended.reason if isinstance(self._ended, Finish) else None

    @property
    def stop_token(self) -> Token | None:
        """The token that ended the answer, once iteration is over; ``None`` if none did."""
        return self._ended.token if isinstance(self._ended, Finish) else None

    def cancel(self) -> None:
        """Stop decoding. Further iteration raises ``CancelledError``; harmless after the end."""
        self._channel.cancel()

    close = cancel

    def __iter__(self) -> TokenStream:
        """Iterate over the tokens."""
        return self

    def __next__(self) -> Token:
        """Wait for the next token."""
        try:
            while (event := self._poll()) is None:
                self._channel.arrival().result()
        except BaseException:  # KeyboardInterrupt included: nobody waits any more
            self.cancel()
            raise
        return self._unwrap(event, StopIteration)

    def __aiter__(self) -> TokenStream:
        """Iterate over the tokens without blocking the event loop."""
        return self

    async def __anext__(self) -> Token:
        """Await the next token; ``wrap_future`` wakes the loop by ``call_soon_threadsafe``."""
        try:
            while (event := self._poll()) is None:
                await asyncio.wrap_future(self._channel.arrival())
        except BaseException:  # asyncio.CancelledError included
            self.cancel()
            raise
        return self._unwrap(event, StopAsyncIteration)

    def __enter__(self) -> TokenStream:
        """Close on leaving the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Free the rows, whatever happened."""
        self.cancel()

    async def __aenter__(self) -> TokenStream:
        """Close on leaving the block."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Free the rows, whatever happened."""
        self.cancel()

    def _poll(self) -> Event | None:
        return self._ended if self._ended is not None else self._channel.poll()

    def _unwrap(self, event: Event, stop: type[Exception]) -> Token:
        if isinstance(event, Token):
            return event
        self._ended = event
        if isinstance(event, Finish):
            raise stop
        raise event


def _wake(waiting: Future[None] | None) -> None:
    if waiting is None:
        return
    try:
        waiting.set_result(None)
    except InvalidStateError:  # the task that awaited it was cancelled
        return
