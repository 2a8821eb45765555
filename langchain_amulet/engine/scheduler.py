"""The loop that owns the models: one thread, one step after another.

A step lets go of who left, schedules who waits, prefills, and has everybody who is ready decode one
token, or several where tokens were drafted rightly: forward, sample, emit; then one job does a
step. Everything here runs on the engine's thread
except `submit`, `send`, `wake`, `close` and `stats`. The scheduler never points at its engine, but
in a job that waits, so that an engine which nobody uses can be collected and stop the thread.

Knows requests and queues. Doesn't know how a model is run, or how a token is chosen.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from langchain_amulet.engine.backends.base import Backend
from langchain_amulet.engine.backends.halving import is_out_of_memory
from langchain_amulet.engine.ensemble import Ensemble, EnsembleSlot, EnsembleStep
from langchain_amulet.engine.job import Job
from langchain_amulet.engine.next_tokens import next_tokens
from langchain_amulet.engine.request import Finish, Request, Token
from langchain_amulet.engine.request_state import RequestState
from langchain_amulet.engine.sampler import Sampler
from langchain_amulet.engine.token_stream import Channel, Event
from langchain_amulet.errors import (
    AmuletError,
    EngineClosedError,
    GenerationError,
    QueueFullError,
    ReentrantCallError,
)
from langchain_amulet.validation.wording import message_of
from langchain_amulet.waiting.threads import joined

T = TypeVar("T")

logger = logging.getLogger(__name__)

_STEPPING: ContextVar[Scheduler | None] = ContextVar("stepping", default=None)
"""Whose step the running code is part of. A variable of the context and not the thread's name,
because LangChain's and asyncio's executors take their caller's context along: code in a step that
waits for a batch in other threads waits for this thread, too."""


DRAFT_ROWS = {"cpu": 24, "cuda": 128}
"""By kind of device, up to how many rows a pass is filled up with drafts: with more it is bound by
arithmetic, and a drafted token costs what a decoded one does."""

JOBS = 4
"""How many jobs take turns at most."""


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
        drafted_tokens: Tokens that were looked up for requests that speculate.
        accepted_tokens: Those of them that were drawn, each of which saved its request a step.
        prefill_tokens: Prompt tokens computed; a prefix that streams share counts once.
        cache_hits: Requests whose prompts began like what was there of earlier ones.
        cache_read_tokens: Prompt tokens that weren't computed for that reason.
        kv_cache_bytes: Memory that keys and values take now, of requests and kept prefixes.
        kv_cache_limit: The most that they may take, all models that are in use now together; None
            if there is no limit.
        kv_cache_tokens: Tokens whose keys and values these are, each shared one once.
    """

    active_requests: int = 0
    rows: int = 0
    queued: int = 0
    admitted: int = 0
    finished: int = 0
    cancelled: int = 0
    failed: int = 0
    decode_steps: int = 0
    drafted_tokens: int = 0
    accepted_tokens: int = 0
    prefill_tokens: int = 0
    cache_hits: int = 0
    cache_read_tokens: int = 0
    kv_cache_bytes: int = 0
    kv_cache_limit: int | None = None
    kv_cache_tokens: int = 0


class Scheduler:
    """Queue, requests under way and thread of one engine."""

    def __init__(self, ensemble: Ensemble, max_queue: int) -> None:
        """Wait for the first request; the thread starts with it."""
        self._ensemble, self._max_queue = ensemble, max_queue
        kind = ensemble.main.model.info.device.split(":")[0]
        self._draft_rows = DRAFT_ROWS.get(kind, DRAFT_ROWS["cpu"])
        self._sampler = Sampler(ensemble.foresee)
        # Reentrant: a stream may be collected, and so cancelled, while this thread holds it.
        self._changed = threading.Condition(threading.RLock())
        self._waiting: deque[RequestState] = deque()
        self._running: dict[EnsembleSlot, RequestState] = {}
        self._jobs: deque[Job[Any]] = deque()
        self._begun: deque[Job[Any]] = deque()
        self._totals: Counter[str] = Counter()  # the fields of Stats that are never lowered
        self._thread: threading.Thread | None = None
        self._closed = self._was_full = False
        self._asked: set[Scheduler] = set()  # whom the step under way asked, and may wait for
        self._process = os.getpid()

    def submit(self, request: Request, readers: tuple[Backend, ...]) -> Channel:
        """Queue a request, with what reads each of its streams.

        Its events come through the channel.
        """
        state = RequestState(request, readers, Channel(self.wake))
        self._enqueue(state, self._waiting, request.waits_for_room)
        return state.channel

    def send(self, job: Job[Any]) -> None:
        """Queue work with the models beside the requests; its outcome comes by its future."""
        self._enqueue(job, self._jobs, job.waits_for_room)

    def wake(self) -> None:
        """Look again for something to do."""
        if self._process != os.getpid():  # where what held the lock may not have been forked
            return
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
        if thread is not None and thread is not threading.current_thread():
            joined(thread)

    def stats(self) -> Stats:
        """A snapshot of the counters."""
        with self._changed:
            cache = self._ensemble.cache_use
            return Stats(
                active_requests=len(self._running),
                rows=self._ensemble.live_rows,
                queued=len(self._waiting),
                prefill_tokens=self._ensemble.prefill_tokens,
                kv_cache_bytes=cache.nbytes,
                kv_cache_limit=cache.limit,
                kv_cache_tokens=cache.tokens,
                **self._totals,
            )

    def run(self) -> None:
        """Step while there is something to do; sleep while there isn't.

        Whatever goes wrong, no caller is left waiting for ever. After an error that even letting
        go can't survive, such as a lost device, the engine is closed.
        """
        _STEPPING.set(self)  # in this thread's own context, which ends with it
        with torch.inference_mode():
            try:
                while self._wait():
                    self._step_or_fail()
            finally:
                with self._changed:
                    self._closed = True
                self._refuse_jobs(EngineClosedError(_CLOSED))
                self._fail_all(EngineClosedError(_CLOSED))

    def step(self) -> None:
        """One round of the engine."""
        self._let_go()
        self._schedule()
        self._prefill()
        self._draft()
        for step in self._forward():
            self._emit(self._sample(step))
        self._take_turns()

    def _step_or_fail(self) -> None:
        try:
            self.step()
        except BaseException as error:
            logger.error("A step failed with %s, and all requests with it", type(error).__name__)
            self._fail_all(_wrapped(error, len(self._under_way())))
        finally:
            self._asked.clear()

    def _wait(self) -> bool:
        """Sleep until there is something to do; whether the engine is still open then."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._waiting or self._running or self._jobs or self._begun
            )
            return not self._closed

    def _enqueue(self, item: T, queue: deque[T], waits_for_room: bool) -> None:
        if self._process != os.getpid():  # a fork has neither the thread nor its locks' owners
            raise EngineClosedError(_FORKED)
        if (asking := _STEPPING.get()) is not None:
            # First, so that of two engines which ask each other at once one sees it.
            asking._asked.add(self)
            if self._waits_for(asking):
                raise ReentrantCallError(_REENTRANT)
        with self._changed:
            if self._closed:
                raise EngineClosedError(_CLOSED)
            if len(queue) >= self._max_queue and not waits_for_room:
                self._note_full()
                raise QueueFullError(
                    f"At most {self._max_queue} requests may wait for the model, and that many "
                    "do. Try again later, or raise max_queue."
                )
            self._start()
            self._was_full = False
            queue.append(item)
            self._changed.notify_all()

    def _waits_for(self, other: Scheduler) -> bool:
        """Whether this engine's step can't end before the other's: itself, or through others."""
        found, left = set[Scheduler](), [self]
        while left:
            engine = left.pop()
            if engine is other:
                return True
            found.add(engine)
            left.extend(each for each in tuple(engine._asked) if each not in found)
        return False

    def _note_full(self) -> None:
        """Log that calls are refused: once, however many are until one is taken again."""
        if not self._was_full:
            logger.warning(
                "The queue is full: %d requests wait, others are refused", self._max_queue
            )
        self._was_full = True

    def _start(self) -> None:
        if self._thread is not None:
            return
        thread = threading.Thread(target=self.run, name="amulet-engine", daemon=True)
        thread.start()  # may raise, and is tried again by the next request then
        self._thread = thread

    # --- the parts of a step ---

    def _let_go(self) -> None:
        """End the requests whose callers left, or whose time is over, wherever they are."""
        for state in self._under_way():
            if state.channel.cancelled:
                self._end(state, None, "cancelled")
            elif state.is_late:
                self._fail(state, state.lateness())
        with self._changed:
            for jobs in (self._jobs, self._begun):
                for job in jobs:
                    job.end_if_late()
                left = [job for job in jobs if not job.is_over]
                jobs.clear()
                jobs.extend(left)

    def _schedule(self) -> None:
        """Give waiting requests rows in order of arrival, all streams of a request at once."""
        with self._changed:
            while self._waiting and self._has_room(self._waiting[0]):
                state = self._waiting[0]
                request = state.request
                try:
                    slot = self._ensemble.join(
                        request.prompts, request.max_tokens, state.readers, request.cache_scope
                    )
                except Exception as error:  # whatever a backend can raise, out of memory too
                    self._fail(state, _wrapped(error))  # which takes it out of the queue
                    continue
                self._waiting.popleft()
                self._running[slot], state.slot = state, slot
                self._totals["admitted"] += 1

    def _prefill(self) -> None:
        """Take in one more chunk of the prompts that wait for it."""
        waiting = [slot for slot in self._running if not slot.is_started]
        failed = self._ensemble.prefill()
        for slot in waiting:
            if slot.is_started:
                self._count_cached(slot)
        for slot, error in failed.items():
            self._fail(self._running[slot], _wrapped(error, _sharers(error, failed.values())))

    def _count_cached(self, slot: EnsembleSlot) -> None:
        """Tell what a request that is ready to decode found in the cache."""
        cached = self._running[slot].channel.cached_tokens = slot.cached_tokens
        self._totals["cache_hits"] += any(cached)
        self._totals["cache_read_tokens"] += sum(cached)

    def _draft(self) -> None:
        """Guess what comes next where that is asked for, as far as a pass has rows to spare."""
        ready = self._ready
        spare = self._draft_rows - sum(len(state.readers) for state in ready.values())
        for state in ready.values():
            streams = len(state.readers)
            drafted = state.make_draft(max(0, spare // streams))
            spare -= drafted * streams
            self._totals["drafted_tokens"] += drafted
        self._ensemble.draft({slot: state.draft for slot, state in ready.items() if state.draft})

    def _forward(self) -> list[EnsembleStep]:
        """One forward pass of each model for all requests that are ready.

        Returns:
            What their tokens are chosen from: the next one of each, then those after it of requests
            for which it may turn out to be the one that was drafted, and so on.
        """
        ready = self._ready
        steps = self._ensemble.decode({slot: state.plans for slot, state in ready.items()})
        self._totals["decode_steps"] += bool(ready)
        return steps

    def _sample(self, step: EnsembleStep) -> dict[EnsembleSlot, Token | AmuletError]:
        """Choose each request's token; what goes wrong with one stays its own.

        Whose draft turned out wrong has its tokens of this step. Each is drawn when those before
        it are known, by grammars and penalties, too: as it would be without drafts.
        """
        running = ((slot, self._running.get(slot)) for slot in step.streams)
        states = {slot: state for slot, state in running if state and state.is_as_drafted}
        drawn = next_tokens(states, step, self._sampler)
        return {
            slot: found
            if isinstance(found, Token)
            else _wrapped(found, _sharers(found, drawn.values()))
            for slot, found in drawn.items()
        }

    def _emit(self, drawn: Mapping[EnsembleSlot, Token | AmuletError]) -> None:
        """Hand the tokens to who waits for them, feed them back, and end who is done."""
        for slot, token in drawn.items():
            state = self._running[slot]
            if isinstance(token, AmuletError):
                self._fail(state, token)
            elif token.id in state.request.stop_ids:
                self._end(state, Finish("stop", token), "finished")
            else:
                self._totals["accepted_tokens"] += state.add(token.id)
                state.channel.put(token)
                if state.is_whole:
                    self._end(state, Finish("length"), "finished")
                else:
                    slot.feed(token.id)

    def _take_turns(self) -> None:
        """One step of one of the jobs under way, which take turns with all others."""
        self._begin_jobs()
        if not self._begun:
            return
        job = self._begun.popleft()
        try:
            job.advance()
        except Exception as error:
            job.refuse(_wrapped(error))
        except BaseException as error:  # such as SystemExit: meant for who brought the job
            job.refuse(error)
        if not job.is_over:
            self._begun.append(job)

    def _begin_jobs(self) -> None:
        """Let waiting jobs begin in order of arrival: few, as each has memory of its own."""
        with self._changed:
            while self._jobs and len(self._begun) < JOBS:
                rows = sum(job.rows for job in self._begun) + self._jobs[0].rows
                if self._begun and rows > self._ensemble.max_rows:
                    return
                self._begun.append(self._jobs.popleft())

    # --- what becomes of requests ---

    @property
    def _ready(self) -> dict[EnsembleSlot, RequestState]:
        """The requests that decode."""
        return {slot: state for slot, state in self._running.items() if slot.is_started}

    def _under_way(self) -> list[RequestState]:
        with self._changed:
            return [*self._running.values(), *self._waiting]

    def _has_room(self, state: RequestState) -> bool:
        request = state.request
        return self._ensemble.has_room(
            request.prompts, request.max_tokens, state.readers, request.cache_scope
        )

    def _fail(self, state: RequestState, error: AmuletError) -> None:
        self._end(state, error, "failed")

    def _end(self, state: RequestState, event: Event | None, total: str) -> None:
        """Free the request's rows, then tell its caller, even if freeing them fails."""
        try:
            with self._changed:
                self._totals[total] += 1
                if state.slot is None:
                    self._waiting.remove(state)
                else:
                    del self._running[state.slot]
                    self._ensemble.leave(state.slot)
        finally:
            if event is not None:
                state.channel.put(event)

    def _fail_all(self, error: AmuletError) -> None:
        with ExitStack() as everyone:  # told one and all, whichever of them raises
            for state in self._under_way():
                everyone.callback(self._fail, state, error)

    def _refuse_jobs(self, error: AmuletError) -> None:
        with self._changed:
            jobs = [*self._begun, *self._jobs]
            self._begun.clear()
            self._jobs.clear()
        for job in jobs:
            job.refuse(error)


def _sharers(error: BaseException, found: Iterable[object]) -> int:
    """How many requests failed with this error."""
    return sum(each is error for each in found)


_CLOSED = "The engine was closed before this request ended. Make a new one to go on."
_REENTRANT = (
    "Code that a model runs between two tokens, such as a method's utility or a grammar, can't ask "
    "the same model, which waits for that code, nor one that waits for this one: ask a second "
    "model (another name, or other settings of loading), or ask before the call or after it, as a "
    "search's scorer does."
)
_FORKED = (
    "An engine answers only in the process that made it, and this is a fork of that process. "
    "Make the model after the fork, in each worker, or start workers by spawning."
)


def _wrapped(error: BaseException, sharers: int = 1) -> AmuletError:
    """The error itself if it is ours, else ours with the other as its cause.

    Args:
        error: What was raised.
        sharers: How many requests fail with it.
    """
    if isinstance(error, AmuletError):
        return error
    others = "The other requests go on" if sharers < 2 else f"So did {sharers - 1} beside it"
    remedy = (
        "ask for a shorter one, let fewer run at a time (max_rows), or give the model more memory"
        if is_out_of_memory(error)
        else "submit this one again once the cause is gone"
    )
    wrapped = GenerationError(
        f"The request failed while it was decoded: {type(error).__name__}: {message_of(error)}. "
        f"{others}; {remedy}."
    )
    wrapped.__cause__ = error
    return wrapped
