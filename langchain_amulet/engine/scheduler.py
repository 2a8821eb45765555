"""The loop that owns the models: one thread, one step after another.

A step lets go of who left, schedules who waits, prefills, and has everybody who is ready decode one
token, or several where tokens were drafted rightly: forward, sample, emit; then one job does a
step. Everything here runs on the engine's thread except `submit`, `send`, `wake`, `close` and
`stats`. The scheduler never points at its engine, but in a job that waits, so that an engine which
nobody uses can be collected and stop the thread.

Knows requests and queues. Doesn't know how a model is run, or how a token is chosen.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import Counter, deque
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, TypeVar

import torch

from langchain_amulet.engine.backends.base import Backend
from langchain_amulet.engine.ensemble import Ensemble
from langchain_amulet.engine.ensemble_slot import EnsembleSlot
from langchain_amulet.engine.ensemble_step import EnsembleStep
from langchain_amulet.engine.failures import as_failure, sharers_of
from langchain_amulet.engine.job import Job, JobTurns
from langchain_amulet.engine.next_tokens import next_tokens
from langchain_amulet.engine.reentrance import STEPPING, AskedEngines
from langchain_amulet.engine.request import Finish, Request, Token
from langchain_amulet.engine.request_state import RequestState
from langchain_amulet.engine.sampler import Sampler
from langchain_amulet.engine.stats import Stats
from langchain_amulet.engine.token_stream import Channel, Event
from langchain_amulet.errors import AmuletError, EngineClosedError, QueueFullError
from langchain_amulet.waiting.threads import joined

T = TypeVar("T")

logger = logging.getLogger(__name__)

DRAFT_ROWS = {"cpu": 24, "cuda": 128}
"""By kind of device, up to how many rows a pass is filled up with drafts: with more it is bound by
arithmetic, and a drafted token costs what a decoded one does."""


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
        self._jobs = JobTurns(ensemble.max_rows)
        self._totals: Counter[str] = Counter()  # the fields of Stats that are never lowered
        self._thread: threading.Thread | None = None
        self._closed = self._was_full = False
        self._asked = AskedEngines()
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
        self._enqueue(job, self._jobs.waiting, job.waits_for_room)

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
        self._asked.enter()
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
            self._fail_all(as_failure(error, len(self._under_way())))
        finally:
            self._asked.end_step()

    def _wait(self) -> bool:
        """Sleep until there is something to do; whether the engine is still open then."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed or self._waiting or self._running or self._jobs
            )
            return not self._closed

    def _enqueue(self, item: T, queue: deque[T], waits_for_room: bool) -> None:
        if self._process != os.getpid():  # a fork has neither the thread nor its locks' owners
            raise EngineClosedError(_FORKED)
        if (asking := STEPPING.get()) is not None:
            self._asked.refuse_to_wait(asking)
        with self._changed:
            if self._closed:
                raise EngineClosedError(_CLOSED)
            if len(queue) >= self._max_queue and not waits_for_room:
                self._note_full()
                raise QueueFullError(
                    f"At most {self._max_queue} requests may wait for the model, and that many "
                    "do. Try again later, or raise max_queue."
                )
            if self._thread is None:
                self._start()
            self._was_full = False
            queue.append(item)
            self._changed.notify_all()

    def _note_full(self) -> None:
        """Log that calls are refused: once, however many are until one is taken again."""
        if not self._was_full:
            logger.warning(
                "The queue is full: %d requests wait, others are refused", self._max_queue
            )
        self._was_full = True

    def _start(self) -> None:
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
            self._jobs.let_go()

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
                    self._fail(state, as_failure(error))  # which takes it out of the queue
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
            self._fail(self._running[slot], as_failure(error, sharers_of(error, failed.values())))

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
            else as_failure(found, sharers_of(found, drawn.values()))
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
        with self._changed:
            self._jobs.begin()
        self._jobs.advance()

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
            jobs = self._jobs.take_all()
        for job in jobs:
            job.refuse(error)


_CLOSED = "The engine was closed before this request ended. Make a new one to go on."
_FORKED = (
    "An engine answers only in the process that made it, and this is a fork of that process. "
    "Make the model after the fork, in each worker, or start workers by spawning."
)
