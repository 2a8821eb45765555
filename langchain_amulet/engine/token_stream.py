"""The caller's end of a request: tokens to wait for, from a thread, from asyncio or a procedure.

The engine's thread holds the `Channel`, the caller holds the `TokenStream`. The channel never
points back, so a caller who drops the stream, or leaves its loop, has cancelled the request.

Knows tokens and how they are waited for. Doesn't know models or rows.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, InvalidStateError
from typing import Any, Literal, NamedTuple, TypeVar

from langchain_amulet.engine.request import Finish, Token
from langchain_amulet.errors import CancelledError
from langchain_amulet.waiting.procedure import arun, run
from langchain_amulet.waiting.wait import Wait, from_future

T = TypeVar("T")

Event = Token | Finish | BaseException
"""What a request's reader is told: a token, how the answer ended, or what went wrong."""


class DraftCounts(NamedTuple):
    """How many of an answer's tokens were guessed, and how many of these guesses were right."""

    drafted: int
    accepted: int


class Channel:
    """A mailbox from the engine's thread to one reader, with a cancel flag going back."""

    def __init__(self, on_cancel: Callable[[], None]) -> None:
        """Make an empty mailbox; ``on_cancel`` wakes the engine and may be called by anyone."""
        self._events: deque[Event] = deque()
        self._waiting: Future[Event] | None = None  # only while there are no events
        self._ending: Future[None] | None = None
        # Reentrant: a dropped stream may be collected while this very thread holds it.
        self._lock = threading.RLock()
        self._on_cancel = on_cancel
        self._closed = False
        self.cancelled = False
        self.cached_tokens: tuple[int, ...] = ()
        self.drafts: DraftCounts | None = None

    def put(self, event: Event) -> None:
        """Hand over one event and wake the reader. Nothing is kept after a cancel."""
        with self._lock:
            if self._closed or self.cancelled:
                return
            self._closed = not isinstance(event, Token)
            waiting = self._keep(event)
        _wake(waiting, event)
        if self._closed:
            _wake(self._ending, None)

    def cancel(self) -> None:
        """Say that nobody reads any more; the reader, if there is one, is told."""
        with self._lock:
            if self._closed or self.cancelled:
                return
            self.cancelled = True
            self._events.clear()
            error = CancelledError(
                "The request was cancelled by its caller, so it has no further tokens. "
                "Submit the request again for a whole answer."
            )
            waiting = self._keep(error)
        _wake(waiting, error)
        _wake(self._ending, None)
        self._on_cancel()

    def poll(self) -> Event | None:
        """The oldest event, or ``None`` when there is none yet."""
        with self._lock:
            return self._events.popleft() if self._events else None

    def arrival(self) -> Future[Event]:
        """The oldest event, as a future for who found none by `poll`.

        An event that comes while nobody waits for that future any more is lost, so who leaves it
        has to `cancel`.
        """
        with self._lock:
            arrival: Future[Event] = Future()
            if self._events:
                arrival.set_result(self._events.popleft())
            else:
                self._waiting = arrival
            return arrival

    def end(self) -> Future[None]:
        """Done as soon as nothing more is to come, and all there is can be polled."""
        with self._lock:
            self._ending = Future()
            has_ended = self._closed or self.cancelled
        if has_ended:
            _wake(self._ending, None)
        return self._ending

    def _keep(self, event: Event) -> Future[Event] | None:
        """Keep an event to be polled, or else return who waits for it."""
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            self._events.append(event)
        return waiting


class TokenStream:
    """The tokens of one request, in order, as they are decoded.

    Iterate with ``for`` or ``async for``, by one reader, or wait for `next_token` in a procedure.
    All of them raise the request's own error if it fails. Leaving early, by ``close``, by a context
    manager, by cancelling the asyncio task that waits, by closing the procedure, or by dropping the
    object, frees the request's rows at the engine's next step.
    """

    def __init__(self, channel: Channel, owner: object) -> None:
        """Read from ``channel``; ``owner`` is kept alive as long as the stream."""
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

    @property
    def cached_tokens(self) -> tuple[int, ...]:
        """Tokens of each stream's prompt that were in the cache.

        Known once there is a token; of what a server decodes, once the answer is over.
        """
        return self._channel.cached_tokens

    @property
    def drafts(self) -> DraftCounts | None:
        """How speculation went so far; ``None`` where the request doesn't speculate."""
        return self._channel.drafts

    def cancel(self) -> None:
        """Stop decoding. Further iteration raises ``CancelledError``; harmless after the end."""
        self._channel.cancel()

    close = cancel

    def next_token(self) -> Generator[Wait[Any], Any, Token | None]:
        """A procedure that waits for the next token, see `waiting`; ``None`` after the last one.

        ::

            while (token := (yield from tokens.next_token())) is not None:
                yield detokenizer.feed(token.id)
        """
        event = self._channel.poll() if self._ended is None else self._ended
        if event is None:
            try:
                event = yield from_future(self._channel.arrival())
            except BaseException:  # nobody waits any more: interrupted, cancelled or closed
                self.cancel()
                raise
        if isinstance(event, Token):
            return event
        self._ended = event
        if isinstance(event, Finish):
            return None
        raise event

    def ended(self) -> Generator[Wait[Any], Any, None]:
        """A procedure that waits until no more tokens are to come, so that none is waited for.

        Who needs an answer as a whole is woken once by it, instead of once per token.
        """
        try:
            yield from_future(self._channel.end())
        except BaseException:  # nobody waits any more
            self.cancel()
            raise

    def __iter__(self) -> TokenStream:
        """Iterate over the tokens."""
        return self

    def __next__(self) -> Token:
        """Wait for the next token."""
        token = run(self.next_token())
        if token is None:
            raise StopIteration
        return token

    def __aiter__(self) -> TokenStream:
        """Iterate over the tokens without blocking the event loop."""
        return self

    async def __anext__(self) -> Token:
        """Await the next token."""
        token = await arun(self.next_token())
        if token is None:
            raise StopAsyncIteration
        return token

    def __enter__(self) -> TokenStream:
        """Close on leaving the block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Free the rows, whatever happened."""
        self.cancel()

    async def __aenter__(self) -> TokenStream:
        """Close on leaving the block."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Free the rows, whatever happened."""
        self.cancel()


def _wake(waiting: Future[T] | None, event: T) -> None:
    # Not under the channel's lock: what a future calls when it is done is its reader's own.
    if waiting is None:
        return
    try:
        waiting.set_result(event)
    except InvalidStateError:  # the task that awaited it was cancelled
        return
