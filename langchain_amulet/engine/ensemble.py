"""Several models in lockstep: each reads its own streams of a request, and all go on together.

The main model is the one that answers; its vocabulary is the request's. A request has a seat with
each model that reads for it, which are filled on their own and start together. One forward pass
per model and step serves all requests.

Knows streams, rows and models. Doesn't know queues, callers or sampling.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from langchain_amulet.engine.backends.base import Prompts
from langchain_amulet.engine.backends.lm_head import CandidateQuery
from langchain_amulet.engine.model_runner import ModelRunner, StepLogprobs
from langchain_amulet.engine.sampler import candidate_queries
from langchain_amulet.steering import Plan


@dataclass(frozen=True)
class RunnerSlot:
    """A request's place with one model.

    Attributes:
        member: The model.
        seat: Its backend's seat.
        streams: Indices of the request's streams that it reads, in the order of the seat's rows.
    """

    member: ModelRunner
    seat: Any
    streams: tuple[int, ...]

    @property
    def rows(self) -> dict[int, int]:
        """Where its streams are in the model's next pass, by their index."""
        return dict(zip(self.streams, self.seat.rows, strict=True))


@dataclass(eq=False)
class EnsembleSlot:
    """A request's place with all the models that read for it."""

    parts: tuple[RunnerSlot, ...]
    is_ready: bool = False

    def of(self, member: ModelRunner) -> list[RunnerSlot]:
        """Its place with a model, if that reads for it."""
        return [part for part in self.parts if part.member is member]

    def push(self, token: int) -> None:
        """Feed ``token`` to every stream next."""
        for part in self.parts:
            part.seat.push(token)


@dataclass(eq=False)
class DecodeRequest:
    """A ready request that wants its next token.

    Attributes:
        seat: Its place.
        plan: How it will choose.
        shortlist: The best token ids of each reference stream, ``[references, k]``, once the main
            model has found them.
    """

    seat: EnsembleSlot
    plan: Plan
    shortlist: Tensor | None = None

    def candidate_queries(self, part: RunnerSlot) -> list[CandidateQuery]:
        """What is to be sought in a part: nothing if what to choose from is known already."""
        return candidate_queries(self.plan, part.rows) if self.shortlist is None else []

    def has_references_in(self, part: RunnerSlot) -> bool:
        """Whether what was sought in a part are the candidates of every reference stream."""
        references = {stream for stream, _ in self.plan.reference}
        return self.plan.mask is not None and references <= set(part.streams)


@dataclass(frozen=True)
class StreamLogprobs:
    """What one request can choose its next token from.

    Attributes:
        sources: For each stream, its model's log-probabilities ``[rows, vocabulary]``, and its row.
        width: How many columns are wanted.
        shortlist: The best token ids of each reference stream, ``[references, k]``, if known.
    """

    sources: tuple[tuple[Tensor, int], ...]
    width: int
    shortlist: Tensor | None

    @property
    def logprobs(self) -> Tensor:
        """Normalised log-probabilities of the request's streams, ``[streams, width]``.

        A copy, made only when it is asked for, so that it is still in the processor's cache.
        """
        first = self.sources[0][0]
        if all(tensor is first for tensor, _ in self.sources) and first.shape[-1] == self.width:
            return first[[row for _, row in self.sources]]
        return on_common_tokens([tensor[row] for tensor, row in self.sources], self.width)


class Ensemble:
    """The main model of an engine, and those that read beside it as long as a request needs them.

    Args:
        main: The model that answers.
        max_rows: The most streams at a time, over all requests and models.
    """

    def __init__(self, main: ModelRunner, max_rows: int) -> None:
        """Start without requests."""
        self.main = main
        self.prefill_tokens = 0
        self._max_rows = max_rows
        self._seats: list[EnsembleSlot] = []

    @property
    def live_rows(self) -> int:
        """Streams that hold memory now, of all models."""
        return sum(member.backend.live_rows for member in self._members())

    def has_room(self, readers: Sequence[ModelRunner]) -> bool:
        """Whether a request could join now whose streams are read by these models."""
        if self.live_rows + len(readers) > self._max_rows:
            return False
        return all(m.backend.has_room(len(streams)) for m, streams in _by_member(readers).items())

    def join(self, prompts: Prompts, readers: Sequence[ModelRunner]) -> EnsembleSlot:
        """Take a request in, each of its streams with the model that reads it."""
        parts = [
            RunnerSlot(member, member.backend.join(tuple(prompts[k] for k in streams)), streams)
            for member, streams in _by_member(readers).items()
        ]
        seat = EnsembleSlot(tuple(parts))
        self._seats.append(seat)
        return seat

    def leave(self, seat: EnsembleSlot) -> None:
        """Let a request go, at any time; its memory is free at once."""
        self._seats.remove(seat)
        with ExitStack() as everywhere:  # whichever of them raises
            for part in seat.parts:
                everywhere.callback(part.member.backend.leave, part.seat)

    def prefill(self) -> dict[EnsembleSlot, Exception]:
        """Put one more chunk of the waiting prompts into each model's cache, and start who can.

        Returns:
            The seats for which that failed, with what it raised. They are still to ``leave``.
        """
        failures: dict[Any, Exception] = {}
        for member in self._members():
            before = member.backend.prefill_tokens
            failures.update(member.backend.prefill())
            self.prefill_tokens += member.backend.prefill_tokens - before
        failed: dict[EnsembleSlot, Exception] = {}
        for seat in [seat for seat in self._seats if not seat.is_ready]:
            try:
                _start(seat, failures)
            except Exception as error:  # whatever a model can raise, out of memory too
                failed[seat] = error
        return failed

    def decode(self, asks: Sequence[DecodeRequest]) -> list[StreamLogprobs | Exception]:
        """One step of every ready seat.

        Returns:
            What each may choose from, or what one of its models raised.
        """
        heard: dict[ModelRunner, StepLogprobs | Exception] = {}
        for member in self._members():
            places = [(ask, part) for ask in asks for part in ask.seat.of(member)]
            if places:
                heard[member] = self._hear(member, places)
        return [self._outlook(ask, heard) for ask in asks]

    def _hear(
        self, member: ModelRunner, places: Sequence[tuple[DecodeRequest, RunnerSlot]]
    ) -> StepLogprobs | Exception:
        """One pass of a model, or what it raised; the main model's finds the shortlists."""
        groups = [ask.candidate_queries(part) for ask, part in places]
        known = [ask.shortlist.flatten() for ask, _ in places if ask.shortlist is not None]
        try:
            found = member.decode([scout for group in groups for scout in group], known)
        except Exception as error:  # whatever a forward pass can raise, out of memory too
            return error
        if member is self.main and found.candidates is not None:
            split = torch.split(found.candidates, [len(group) for group in groups])
            for (ask, part), candidates in zip(places, split, strict=True):
                ask.shortlist = candidates if ask.has_references_in(part) else None
        return found

    def _members(self) -> list[ModelRunner]:
        """The main model first, then those that read for somebody."""
        parts = (part for seat in self._seats for part in seat.parts)
        return list(dict.fromkeys([self.main, *(part.member for part in parts)]))

    def _outlook(
        self, ask: DecodeRequest, heard: Mapping[ModelRunner, StepLogprobs | Exception]
    ) -> StreamLogprobs | Exception:
        sources: dict[int, tuple[Tensor, int]] = {}
        for part in ask.seat.parts:
            found = heard[part.member]
            if isinstance(found, Exception):
                return found
            sources |= {stream: (found.logprobs, row) for stream, row in part.rows.items()}
        main = heard.get(self.main)
        width = main.logprobs.shape[-1] if isinstance(main, StepLogprobs) else self.main.width
        return StreamLogprobs(tuple(sources[k] for k in sorted(sources)), width, ask.shortlist)


def on_common_tokens(rows: Sequence[Tensor], width: int) -> Tensor:
    """Rows of several models side by side, over the tokens that all of them have.

    The models' vocabularies are the same but for padding at the end, of which each may have its
    own amount. What isn't common to all is impossible in each.

    Args:
        rows: Log-probabilities of each stream, ``[..., its model's vocabulary]``.
        width: How many columns are wanted.

    Returns:
        Log-probabilities ``[streams, ..., width]``, on the first one's device.
    """
    common = min(width, *(row.shape[-1] for row in rows))
    device = rows[0].device
    stacked = torch.stack([row[..., :common].to(device) for row in rows])
    if all(row.shape[-1] == width for row in rows):
        return stacked
    return nn.functional.pad(stacked.log_softmax(-1), (0, width - common), value=-math.inf)


def _by_member(readers: Sequence[ModelRunner]) -> dict[ModelRunner, tuple[int, ...]]:
    """Which streams each model reads."""
    streams: dict[ModelRunner, tuple[int, ...]] = {}
    for index, member in enumerate(readers):
        streams[member] = (*streams.get(member, ()), index)
    return streams


def _start(seat: EnsembleSlot, failures: Mapping[Any, Exception]) -> None:
    """Start a seat with all its models once it is filled, or raise what went wrong with one."""
    for part in seat.parts:
        if part.seat in failures:
            raise failures[part.seat]
    if all(part.seat.is_filled for part in seat.parts):
        for part in seat.parts:
            part.member.backend.start(part.seat)
        seat.is_ready = True
