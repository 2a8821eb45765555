"""An engine whose requests a vLLM server decodes: the same to callers as `Engine`.

Each request is one HTTP call with all its prompts, so that all reach one server; the tokens come
back as they are made. One thread with an event loop serves all calls. Leaving a request closes its
connection, by which the server ends its rows.

Knows requests and the two wires. Doesn't know how a server schedules or decodes.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import threading
import weakref
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any, NoReturn

import httpx
from torch import Tensor

from langchain_amulet.engine.backends.base import CacheScope, Prompts
from langchain_amulet.engine.beam_search import BeamResult
from langchain_amulet.engine.remote.http import refusal, timeouts, unreachable
from langchain_amulet.engine.remote.model import RemoteModel
from langchain_amulet.engine.remote.request_wire import ARGUMENT, write
from langchain_amulet.engine.remote.sse import Answer, events
from langchain_amulet.engine.request import Finish, Request
from langchain_amulet.engine.scheduler import Stats
from langchain_amulet.engine.token_stream import Channel, TokenStream
from langchain_amulet.errors import (
    AmuletError,
    DeadlineError,
    EngineClosedError,
    GenerationError,
    QueueFullError,
    RequestError,
)
from langchain_amulet.validation import check_count, check_type, message_of


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
        for prompt in request.prompts:
            self._model.info.check_prompt(prompt, request.max_tokens)
        body = _body(self._model.name, request)
        if self._calls.under_way >= self._max_queue:
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

    async def _stop(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._client is not None:
            await self._client.aclose()
        loop.stop()

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(
                target=_serve, args=[self._loop], name="amulet-remote", daemon=True
            ).start()
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
            async for part in events(response.aiter_lines()):
                for event in answer.feed(part):
                    channel.put(event)
                    if isinstance(event, Finish):
                        return
        raise answer.broken()


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    """Run an event loop until it is stopped; what runs in a thread must hold no engine."""
    try:
        loop.run_forever()
    finally:
        loop.close()


def _body(model: str, request: Request) -> dict[str, Any]:
    """What vLLM is asked: all prompts in one call, greedy, as the token is chosen by steering."""
    salt = _salt(request.cache_scope)
    wanted = request.sampling.top_logprobs
    return {
        "model": model,
        "prompt": [list(prompt) for prompt in request.prompts],
        "max_tokens": request.max_tokens,
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "ignore_eos": True,
        "stop_token_ids": sorted(request.stop_ids),
        "logprobs": 0 if not wanted else wanted + 1,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
        "stream": True,
        "vllm_xargs": {ARGUMENT: write(request)},
        **({} if salt is None else {"cache_salt": salt}),
    }


def _salt(scope: CacheScope) -> str | None:
    """What keeps vLLM from sharing computed prompts with other scopes; None for all that share."""
    if not scope.keeps:
        return secrets.token_hex(16)
    if scope.name is None:
        return None
    return hashlib.sha256(repr(scope.name).encode("utf-8", "replace")).hexdigest()
