"""Several models that decode together: each reads its own streams of a request, step by step.

The main model is the one that answers; its vocabulary is the request's. A request has a slot with
each model that reads for it; these are prefilled on their own and start together. One forward pass
per model and step serves all requests.

Knows streams, rows and backends. Doesn't know queues, callers or sampling.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice

import torch
from torch import Tensor

from langchain_amulet.engine.backends.base import (
    PROCESS,
    Backend,
    CacheScope,
    CacheUse,
    CandidateQuery,
    Prompts,
    Slot,
    StepLogits,
)
from langchain_amulet.engine.backends.candidates import best
from langchain_amulet.engine.ensemble_slot import BackendSlot, EnsembleSlot
from langchain_amulet.engine.ensemble_step import EnsembleStep, StepPool, StreamRows
from langchain_amulet.engine.sampler import candidate_queries
from langchain_amulet.steering import Plan

Place = tuple[EnsembleSlot, int]
"""A request, and behind how many tokens that were drafted for it."""


class Ensemble:
    """The main model of an engine, and those that read beside it as long as a request needs them.

    Args:
        main: What runs the model that answers.
        max_rows: The most streams at a time, over all requests and models.

    Attributes:
        main: As given.
        max_rows: As given.
        prefill_tokens: Prompt tokens computed so far, by all models.
    """

    def __init__(self, main: Backend, max_rows: int) -> None:
        """Start without requests."""
        self.main = main
        self.prefill_tokens = 0
        self.max_rows = max_rows
        self._slots: list[EnsembleSlot] = []

    @property
    def live_rows(self) -> int:
        """Streams that hold memory now, of all models."""
        return sum(backend.live_rows for backend in self._backends())

    @property
    def cache_use(self) -> CacheUse:
        """How much memory the models that are in use take for keys and values."""
        uses = [backend.cache_use for backend in self._backends()]
        limits = [use.limit for use in uses if use.limit is not None]
        return CacheUse(
            nbytes=sum(use.nbytes for use in uses),
            limit=sum(limits) if limits else None,
            tokens=sum(use.tokens for use in uses),
        )

    def has_room(
        self,
        prompts: Prompts,
        max_tokens: int,
        readers: Sequence[Backend],
        scope: CacheScope = PROCESS,
    ) -> bool:
        """Whether a request could join now whose streams are read by these backends."""
        if self.live_rows + len(prompts) > self.max_rows:
            return False
        return all(
            backend.has_room(tuple(prompts[k] for k in streams), max_tokens, scope)
            for backend, streams in by_backend(readers).items()
        )

    def join(
        self,
        prompts: Prompts,
        max_tokens: int,
        readers: Sequence[Backend],
        scope: CacheScope = PROCESS,
    ) -> EnsembleSlot:
        """Take a request in, each of its streams with the backend that reads it; all or none."""
        parts: list[BackendSlot] = []
        with ExitStack() as undoing:
            for backend, streams in by_backend(readers).items():
                slot = backend.join(tuple(prompts[k] for k in streams), max_tokens, scope)
                undoing.callback(backend.leave, slot)
                parts.append(BackendSlot(backend, slot, streams))
            undoing.pop_all()
        joined = EnsembleSlot(tuple(parts))
        self._slots.append(joined)
        return joined

    def leave(self, slot: EnsembleSlot) -> None:
        """Let a request go, at any time; its memory is free at once."""
        self._slots.remove(slot)
        with ExitStack() as everywhere:  # whichever of them raises
            for part in slot.parts:
                everywhere.callback(part.backend.leave, part.slot)

    def prefill(self) -> dict[EnsembleSlot, Exception]:
        """Put one more chunk of the waiting prompts into each model's cache, and start who can.

        Returns:
            The slots for which that failed, with what it raised. They are still to ``leave``.
        """
        failures: dict[Slot, Exception] = {}
        for backend in self._backends():
            before = backend.prefill_tokens
            failures.update(backend.prefill())
            self.prefill_tokens += backend.prefill_tokens - before
        failed: dict[EnsembleSlot, Exception] = {}
        for slot in [slot for slot in self._slots if not slot.is_started]:
            try:
                _start(slot, failures)
            except Exception as error:  # whatever a model can raise, out of memory too
                failed[slot] = error
        return failed

    def draft(self, drafts: Mapping[EnsembleSlot, Sequence[int]]) -> None:
        """Have the next step read what may follow what some slots were fed, see `Backend.draft`.

        Args:
            drafts: At least one token each, for slots whose models all take drafts.
        """
        for backend in self._backends():
            if backend.takes_drafts:
                parts = ((slot.part_in(backend), tokens) for slot, tokens in drafts.items())
                backend.draft({part.slot: tokens for part, tokens in parts if part})

    def decode(self, wanted: Mapping[EnsembleSlot, Sequence[Plan]]) -> list[EnsembleStep]:
        """One step of every started slot.

        Args:
            wanted: The started slots, and how each will choose its token: the one that follows
                what it was fed, and the one that follows each token drafted for it.

        Returns:
            What the tokens are chosen from that follow what was fed, those that follow the first
            drafted token, and so on.
        """
        plans = {(slot, k): plan for slot, own in wanted.items() for k, plan in enumerate(own)}
        steps: dict[Backend, StepLogits | Exception] = {}
        found: Tensor | None = None
        candidates: dict[Place, tuple[int, ...]] = {}
        for backend in self._backends():  # the main model's first: it finds the candidates
            queries = {
                place: [] if place in candidates else candidate_queries(plan, part.rows(place[1]))
                for place, plan in plans.items()
                if (part := place[0].part_in(backend))
            }
            if queries:
                listed = [row for place in queries for row in candidates.get(place, ())]
                known = [] if found is None else [found[listed].flatten()]
                step = steps[backend] = _decode(backend, queries, known)
                if backend is self.main and isinstance(step, StepLogits):
                    found, candidates = self._candidates(step, queries, plans)
        pool = StepPool(self.main.model.info, steps)
        streams = {place: pool.place(*place, candidates.get(place, ())) for place in plans}
        logprobs = pool.filled(found)
        deepest = max(map(len, wanted.values()), default=0)
        by_depth: list[dict[EnsembleSlot, StreamRows | Exception]] = [{} for _ in range(deepest)]
        for (slot, depth), each in streams.items():
            by_depth[depth][slot] = each
        return [EnsembleStep(logprobs, each) for each in by_depth]

    def foresee(self, drawn: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Let the main model begin the next step, where no other one takes part in it.

        Args:
            drawn: See ``Backend.foresee``.
        """
        if self._backends() == [self.main]:
            self.main.foresee(drawn)

    def _candidates(
        self,
        step: StepLogits,
        queries: Mapping[Place, Sequence[CandidateQuery]],
        plans: Mapping[Place, Plan],
    ) -> tuple[Tensor | None, dict[Place, tuple[int, ...]]]:
        """The main model's best tokens, and the rows of them that each token is chosen among."""
        choosing = [
            place
            for place, plan in plans.items()
            if plan.mask is not None
            and (part := place[0].part_in(self.main))
            and {stream for stream, _ in plan.reference} <= set(part.streams)
        ]
        found = step.candidates
        if found is None and choosing:
            queries = {place: queries[place] for place in choosing}
            found = best(step.logits, [query for group in queries.values() for query in group])
        rows = iter(range(sum(map(len, queries.values()))))
        listed = {place: tuple(islice(rows, len(group))) for place, group in queries.items()}
        return found, {place: listed[place] for place in choosing}

    def _backends(self) -> list[Backend]:
        """The main model's first, then those that read for somebody."""
        parts = (part for slot in self._slots for part in slot.parts)
        return list(dict.fromkeys([self.main, *(part.backend for part in parts)]))


def by_backend(readers: Sequence[Backend]) -> dict[Backend, tuple[int, ...]]:
    """Which streams each backend reads."""
    streams: dict[Backend, tuple[int, ...]] = {}
    for index, backend in enumerate(readers):
        streams[backend] = (*streams.get(backend, ()), index)
    return streams


def _start(slot: EnsembleSlot, failures: Mapping[Slot, Exception]) -> None:
    """Start a slot with all its models once it is prefilled, or raise what went wrong with one."""
    for part in slot.parts:
        if part.slot in failures:
            raise failures[part.slot]
    if all(part.slot.is_prefilled for part in slot.parts):
        for part in slot.parts:
            part.backend.start(part.slot)
        slot.is_started = True


def _decode(
    backend: Backend,
    queries: Mapping[Place, Sequence[CandidateQuery]],
    known: Sequence[Tensor],
) -> StepLogits | Exception:
    """One step of a backend, its logits normalised, or what it raised."""
    sought = [query for group in queries.values() for query in group]
    try:
        step = backend.decode(sought, known)
    except Exception as error:  # whatever a forward pass can raise, out of memory too
        return error
    # In place, as this is the largest tensor of a step, and new memory is slow to come by.
    return replace(step, logits=torch.log_softmax(step.logits, -1, out=step.logits))
