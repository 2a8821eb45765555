"""An engine whose requests a vLLM server decodes: the same to callers as `Engine`.

Each request is one HTTP call with all its prompts, so that all reach one server; the tokens come
back as they are made. One thread with an event loop serves all calls. Leaving a request closes its
connection, by which the server ends its rows.

Knows requests and the two wires. Doesn't know how a server schedules or decodes.
"""

from __future__ import annotations

import asyncio
import os
import threading
import weakref
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import aclosing
from typing import Any, NoReturn

import httpx
from torch import Tensor

from langchain_amulet.engine.backends.base import Prompts
from langchain_amulet.engine.beam_search import BeamResult
from langchain_amulet.engine.remote.completion import completion
from langchain_amulet.engine.remote.http import refusal, timeouts, unreachable
from langchain_amulet.engine.remote.model import RemoteModel
from langchain_amulet.engine.remote.sse import Answer, events
from langchain_amulet.engine.request import Finish, Request
from langchain_amulet.engine.stats import Stats
from langchain_amulet.engine.token_stream import Channel, TokenStream
from langchain_amulet.errors import (
    AmuletError,
    DeadlineError,
    EngineClosedError,
    GenerationError,
    QueueFullError,
    RequestError,
)
from langchain_amulet.validation.checks import check_count, check_type
from langchain_amulet.validation.wording import message_of

LONGEST_END = 2.0
"""Seconds that closing waits for connections to be closed."""


class RemoteEngine:
    """Has requests decoded by the server of one model.

    Args:
        model: What is served, and where.
        max_queue: The most requests that may be under way; how many of them decode at a time is
            the server's business.

    Raises:
        ConfigurationError: A limit is below 1.
    """

    def __init__(self, model: RemoteModel, *, max_queue: int = 4096) -> None:
        """Take the model over; nothing is asked yet."""
        check_type("model", model, RemoteModel)
        check_count("max_queue", max_queue, 1)
        self._model, self._max_queue = model, max_queue
        self._calls = _Calls(model)
        self._finalizer = weakref.finalize(self, self._calls.close)

    def submit(self, request: Request) -> TokenStream:
        """Send a request and return its tokens to come.

        Raises:
            ContextLengthError: The longest prompt and ``max_tokens`` exceed the model's context.
            RequestError: It has what can't be decoded there, or a token id that the model lacks.
            QueueFullError: ``max_queue`` requests are under way.
            EngineClosedError: The engine was closed.
        """
        check_type("request", request, Request)
        model = self._model
        for prompt in request.prompts:
            model.info.check_prompt(prompt, request.max_tokens)
        body = completion(model.name, request, model.fingerprint, model.address.api_key)
        if self._calls.under_way >= self._max_queue and not request.waits_for_room:
            raise QueueFullError(
                f"At most {self._max_queue} requests may be under way, and that many are. Try "
                "again later, or raise max_queue."
            )
        return TokenStream(self._calls.begin(request, body), owner=self)

    def score(
        self,
        prompts: Prompts,
        continuation: Sequence[int],
        models: Sequence[str | None] | None = None,
    ) -> Future[Tensor]:
        """Refused: `RequestError`."""
        _refuse("score answers, which fitting and methods that rank by likelihood need")

    def search(
        self, request: Request, beams: int, length_penalty: float = 1.0
    ) -> Future[BeamResult]:
        """Refused: `RequestError`."""
        _refuse("search by beams")

    def attach(self, name: str, other: object) -> NoReturn:
        """Refused: `RequestError`."""
        _refuse(f"have a second model read beside it, as {name!r} would")

    def stats(self) -> Stats:
        """What was asked of the server by this engine, and what came of it."""
        return self._calls.stats()

    def close(self) -> None:
        """Fail what is under way with ``EngineClosedError`` and stop the thread."""
        self._finalizer()


def _refuse(what: str) -> NoReturn:
    raise RequestError(
        f"A model on a vLLM server can't {what}: load it in this process, by another backend."
    )


class _Calls:
    """The calls under way, on an event loop of their own. Never points at its engine."""

    def __init__(self, model: RemoteModel) -> None:
        self._model, self._process = model, os.getpid()
        # Reentrant: a dropped stream may be collected while this very thread holds it.
        self._lock = threading.RLock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._client: httpx.AsyncClient | None = None
        self._running: dict[Future[None], Channel] = {}
        self._rows = 0
        self._totals: Counter[str] = Counter()
        self._closed = False

    @property
    def under_way(self) -> int:
        return len(self._running)

    def stats(self) -> Stats:
        with self._lock:
            return Stats(active_requests=self.under_way, rows=self._rows, **self._totals)

    def begin(self, request: Request, body: dict[str, Any]) -> Channel:
        """Send a request, and say where its tokens go."""
        if self._process != os.getpid():  # a fork has neither the thread nor its connections
            raise EngineClosedError(
                "An engine answers only in the process that made it, and this is a fork of that "
                "process. Make the model after the fork, in each worker."
            )

        def leave() -> None:
            call.cancel()  # by which its connection is closed

        channel = Channel(leave)
        with self._lock:
            if self._closed:
                raise EngineClosedError("The engine was closed. Make a new one to go on.")
            call = asyncio.run_coroutine_threadsafe(
                self._answer(request, body, channel), self._started()
            )
            self._running[call] = channel
            self._rows += len(request.prompts)
            self._totals["admitted"] += 1
        call.add_done_callback(lambda done: self._forget(done, request))
        return channel

    def close(self) -> None:
        with self._lock:
            self._closed, loop = True, self._loop
            running = dict(self._running)
        closed = EngineClosedError("The engine was closed before this request ended.")
        for call, channel in running.items():
            channel.put(closed)
            call.cancel()
        if loop is not None and self._process == os.getpid():
            loop.call_soon_threadsafe(lambda: loop.create_task(self._stop(loop)))
            if self._thread and self._thread is not threading.current_thread():
                self._thread.join(LONGEST_END)  # a program may end next, and connections with it

    async def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        await _others()
        if self._client is not None:
            await self._client.aclose()
        await loop.shutdown_asyncgens()
        await _others()  # those by which Python closes generators that were left half-way
        loop.stop()

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=_serve, args=[self._loop], name="amulet-remote", daemon=True
            )
            self._thread.start()
        return self._loop

    def _forget(self, call: Future[None], request: Request) -> None:
        with self._lock:
            self._running.pop(call, None)
            self._rows -= len(request.prompts)
            self._totals["cancelled"] += call.cancelled()

    async def _answer(self, request: Request, body: dict[str, Any], channel: Channel) -> None:
        """One request, from its call to the event that ends it."""
        try:
            async with asyncio.timeout(request.timeout):
                await self._stream(request, body, channel)
            self._totals["finished"] += 1
            return
        except TimeoutError:
            error: AmuletError = DeadlineError(
                f"The answer wasn't whole within its timeout of {request.timeout} s. Raise "
                "timeout, or ask for fewer tokens."
            )
        except AmuletError as own:
            error = own
        except httpx.HTTPError as broken:
            error = unreachable(self._model.address, broken)
        except Exception as other:  # whatever a server may send that can't be read
            error = GenerationError(
                f"A server's answer must be readable, but there was {type(other).__name__}: "
                f"{message_of(other)}. Use the same release at both ends."
            )
            error.__cause__ = other
        self._totals["failed"] += 1
        channel.put(error)

    async def _stream(self, request: Request, body: dict[str, Any], channel: Channel) -> None:
        if self._client is None:
            limits = httpx.Limits(max_connections=None)
            self._client = httpx.AsyncClient(
                headers=self._model.address.headers, timeout=timeouts(), limits=limits
            )
        address = self._model.address
        async with self._client.stream("POST", address.of("completions"), json=body) as response:
            if response.status_code != httpx.codes.OK:
                said = (await response.aread()).decode("utf-8", "replace")
                raise refusal(address, response.status_code, said)
            answer = Answer(request)
            async with aclosing(events(response.aiter_lines())) as parts:
                async for part in parts:
                    for event in answer.feed(part):
                        if isinstance(event, Finish):
                            channel.cached_tokens = tuple(answer.cached)
                            channel.put(event)
                            return
                        channel.put(event)
        raise answer.broken()


async def _others() -> None:
    """Wait for whatever else is under way on this event loop; calls were cancelled before."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    await asyncio.gather(*tasks, return_exceptions=True)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run an event loop until it is stopped; what runs in a thread must hold no engine."""
    try:
        loop.run_forever()
    finally:
        loop.close()
