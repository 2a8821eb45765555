"""The loop that owns the model: one thread, one step after another.

A step reads: let go, admit, prefill, decode, and one errand. Everything here runs on the engine's
thread except ``submit``, ``send``, ``wake``, ``close`` and ``stats``. The core never points at its
engine, but in an errand that waits, so that an engine which nobody uses can be collected and stop
the thread.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch

from langchain_amulet.engine.ensemble import DecodeRequest, Ensemble, StreamLogprobs
from langchain_amulet.engine.job import Job
from langchain_amulet.engine.model_runner import ModelRunner
from langchain_amulet.engine.request import Finish, Request, Token
from langchain_amulet.engine.sequence import RequestState
from langchain_amulet.engine.token_stream import Channel, Event
from langchain_amulet.errors import (
    AmuletError,
    EngineClosedError,
    GenerationError,
    QueueFullError,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Stats:
    """What an engine is doing and has done; the totals count since its start.

    Attributes:
        active_requests: Requests that hold rows now.
        rows: Prompt streams that hold memory now.
        queued: Requests that wait for rows now.
        admitted: Requests that ever got rows.
        finished: Requests that ended by a stop token or by length.
        cancelled: Requests that their caller left.
        failed: Requests that ended in an error, deadlines included.
        decode_steps: Steps that made tokens, each a forward pass of every model in use.
        prefill_tokens: Prompt tokens computed; a prefix that streams share counts once.
    """

    active_requests: int = 0
    rows: int = 0
    queued: int = 0
    admitted: int = 0
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    decode_steps: int = 0
    prefill_tokens: int = 0


class Scheduler:
    """Queue, seats and thread of one engine."""

    def __init__(self, ensemble: Ensemble, max_queue: int) -> None:
        """Wait for the first request; the thread starts with it."""
        self._ensemble, self._max_queue = ensemble, max_queue
        # Reentrant: a generation may be collected, and so cancelled, while this thread holds it.
        self._changed = threading.Condition(threading.RLock())
        self._queue: deque[RequestState] = deque()
        self._errands: deque[Job[Any]] = deque()
        self._flights: list[RequestState] = []
        self._totals = Stats()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._process = os.getpid()

    def submit(self, request: Request, readers: tuple[ModelRunner, ...]) -> Channel:
        """Queue a request, with the model that reads each of its streams.

        Its events come through the channel.
        """
        deadline = None if request.timeout is None else time.monotonic() + request.timeout
        flight = RequestState(request, readers, Channel(self.wake), deadline)
        self._enqueue(flight, self._queue)
        return flight.channel

    def send(self, errand: Job[Any]) -> None:
        """Queue work that needs the model to itself; its outcome comes through its future."""
        self._enqueue(errand, self._errands)

    def wake(self) -> None:
        """Look again for something to do."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Fail what is under way, stop the thread and wait for its last step."""
        if self._process != os.getpid():
            return
        with self._changed:
            self._closed = True
            self._changed.notify_all()
            thread = self._thread
        if thread is None:
            self._ensemble.main.head.detach()
        elif thread is not threading.current_thread():
            thread.join(timeout=30)

    def stats(self) -> Stats:
        """A snapshot of the counters."""
        with self._changed:
            return replace(
                self._totals,
                active_requests=len(self._flights),
                rows=self._ensemble.live_rows,
                queued=len(self._queue),
                prefill_tokens=self._ensemble.prefill_tokens,
            )

    def run(self) -> None:
        """Step while there is something to do; sleep while there isn't.

        Whatever goes wrong, no caller is left waiting for ever. After an error that even letting
        go can't survive, such as a lost device, the engine is closed.
        """
        with torch.inference_mode():
            try:
                while self._wait():
                    self._step_or_fail()
            finally:
                with self._changed:
                    self._closed = True
                self._ensemble.main.head.detach()
                self._refuse_errands(EngineClosedError(_CLOSED))
                self._fail_all(EngineClosedError(_CLOSED))

    def step(self) -> None:
        """One round of the engine."""
        self._let_go()
        self._admit()
        self._prefill()
        self._decode()
        self._run_errand()

    def _step_or_fail(self) -> None:
        try:
            self.step()
        except BaseException as error:
            self._fail_all(_wrapped(error))

    def _wait(self) -> bool:
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._queue or self._flights or self._errands
            )
            return not self._closed

    def _enqueue(self, waiting: T, queue: deque[T]) -> None:
        if self._process != os.getpid():  # a fork has neither the thread nor its locks' owners
            raise EngineClosedError(_FORKED)
        with self._changed:
            if self._closed:
                raise EngineClosedError(_CLOSED)
            if len(queue) >= self._max_queue:
                raise QueueFullError(
                    f"At most {self._max_queue} requests may wait for the model, and that many "
                    "do. Try again later, or raise max_queue."
                )
            self._start()
            queue.append(waiting)
            self._changed.notify_all()

    def _start(self) -> None:
        if self._thread is not None:
            return
        thread = threading.Thread(target=self.run, name="amulet-engine", daemon=True)
        thread.start()  # may raise, and is tried again by the next request then
        self._thread = thread

    def _let_go(self) -> None:
        """End the requests whose callers left, or whose time is over, wherever they are."""
        with self._changed:
            under_way = [*self._flights, *self._queue]
        for flight in under_way:
            if flight.channel.cancelled:
                self._end(flight, None, "cancelled")
            elif flight.is_late:
                self._fail(flight, flight.lateness())

    def _admit(self) -> None:
        """Seat waiting requests in order of arrival, all streams of a request at once."""
        with self._changed:
            while self._queue and self._ensemble.has_room(self._queue[0].readers):
                flight = self._queue.popleft()
                flight.seat = self._ensemble.join(flight.request.prompts, flight.readers)
                self._flights.append(flight)
                self._count("admitted")

    def _prefill(self) -> None:
        failures = self._ensemble.prefill()
        for flight in [flight for flight in self._flights if flight.seat in failures]:
            self._fail(flight, _wrapped(failures[flight.seat]))

    def _decode(self) -> None:
        """Forward all ready rows, then steer, sample and emit request by request."""
        ready = [flight for flight in self._flights if flight.seat.is_ready]
        if not ready:
            return
        outlooks = self._ensemble.decode([DecodeRequest(f.seat, f.current.plan) for f in ready])
        self._count("decode_steps")
        for flight, outlook in zip(ready, outlooks, strict=True):
            if isinstance(outlook, Exception):
                self._fail(flight, _wrapped(outlook))
            else:
                self._advance(flight, outlook)

    def _run_errand(self) -> None:
        """The oldest errand: one per step, so that neither side waits for all of the other."""
        with self._changed:
            errand = self._errands.popleft() if self._errands else None
        if errand is not None:
            errand.run()

    def _advance(self, flight: RequestState, outlook: StreamLogprobs) -> None:
        """Choose one request's token and act on it; its errors stay its own."""
        try:
            token = flight.next_token(outlook.logprobs, outlook.shortlist)
        except BaseException as error:  # grammars in Rust panic past Exception
            self._fail(flight, _wrapped(error))
            return
        if token.id in flight.request.stop_ids:
            self._end(flight, Finish("stop", token), "finished")
        else:
            self._emit(flight, token)

    def _emit(self, flight: RequestState, token: Token) -> None:
        flight.tokens.append(token.id)
        flight.channel.put(token)
        if len(flight.tokens) >= flight.request.max_tokens:
            self._end(flight, Finish("length"), "finished")
        else:
            flight.seat.push(token.id)

    def _fail(self, flight: RequestState, error: AmuletError) -> None:
        self._end(flight, error, "failed")

    def _end(self, flight: RequestState, event: Event | None, counter: str) -> None:
        """Free the request's rows, then tell its caller, even if freeing them fails."""
        try:
            with self._changed:
                self._count(counter)
                if flight.seat is None:
                    self._queue.remove(flight)
                else:
                    self._flights.remove(flight)
                    self._ensemble.leave(flight.seat)
        finally:
            if event is not None:
                flight.channel.put(event)

    def _fail_all(self, error: AmuletError) -> None:
        with self._changed:
            under_way = [*self._flights, *self._queue]
        with ExitStack() as everyone:  # told one and all, whichever of them raises
            for flight in under_way:
                everyone.callback(self._fail, flight, error)

    def _refuse_errands(self, error: AmuletError) -> None:
        with self._changed:
            errands = list(self._errands)
            self._errands.clear()
        for errand in errands:
            errand.refuse(error)

    def _count(self, name: str) -> None:
        self._totals = replace(self._totals, **{name: getattr(self._totals, name) + 1})


_CLOSED = "The engine was closed before this request ended. Make a new one to go on."
_FORKED = (
    "An engine answers only in the process that made it, and this is a fork of that process. "
    "Make the model after the fork, in each worker, or start workers by spawning."
)


def _wrapped(error: BaseException) -> AmuletError:
    """The error itself if it is ours, else ours with the other as its cause."""
    if isinstance(error, AmuletError):
        return error
    wrapped = GenerationError(
        f"The request failed while it was decoded: {type(error).__name__}: {error}. The other "
        "requests go on; submit this one again once the cause is gone."
    )
    wrapped.__cause__ = error
    return wrapped
