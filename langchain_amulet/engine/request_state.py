"""A request on its way through the engine: its reader, its slot, its tokens so far.

Knows one request. Doesn't know the queue, models or the other requests.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from langchain_amulet.engine.backends.base import Backend
from langchain_amulet.engine.ensemble import EnsembleSlot
from langchain_amulet.engine.request import Request, Token
from langchain_amulet.engine.sampler import next_token, next_token_at_pause
from langchain_amulet.engine.token_stream import Channel
from langchain_amulet.errors import DeadlineError
from langchain_amulet.steering import levelled


@dataclass(eq=False)
class RequestState:
    """What becomes of a request.

    Attributes:
        request: What was asked.
        readers: What reads each of its streams.
        channel: Where its tokens go.
        deadline: When it fails if it isn't done, by the monotonic clock; None for never.
        slot: Its place, once it has one.
        tokens: What was drawn for it so far.
        generator: Where its uniform numbers come from: its own, so that a batch can't change it.
    """

    request: Request
    readers: tuple[Backend, ...]
    channel: Channel
    deadline: float | None = field(init=False)
    slot: EnsembleSlot | None = None
    tokens: list[int] = field(default_factory=list)
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        """Start the clock, and seed the numbers."""
        timeout, seed = self.request.timeout, self.request.sampling.seed
        self.deadline = None if timeout is None else time.monotonic() + timeout
        self.generator = torch.Generator().manual_seed(
            random.SystemRandom().getrandbits(63) if seed is None else seed % 2**63
        )

    @property
    def is_late(self) -> bool:
        """Whether its timeout has passed."""
        return self.deadline is not None and time.monotonic() > self.deadline

    @property
    def is_whole(self) -> bool:
        """Whether it has all the tokens that it may have."""
        return len(self.tokens) >= self.request.max_tokens

    @property
    def current(self) -> Request:
        """The request as it stands: within a pause its plan doesn't steer."""
        if not any(pause.covers(self.tokens) for pause in self.request.pauses):
            return self.request
        return replace(self.request, plan=self.request.plan.unsteered)

    @property
    def openings(self) -> frozenset[int]:
        """The tokens that would begin a pause now."""
        return frozenset().union(*(pause.begins(self.tokens) for pause in self.request.pauses))

    def next_token(self, logprobs: Tensor, candidates: Tensor | None) -> Token:
        """Draw until the request's constraint takes the token; for the arguments see `sampler`."""
        request = self.current
        if request.plan.steers and (held := self._held(logprobs)) is not None:
            # The candidates were found among the streams as they were.
            logprobs, candidates = levelled(logprobs, held), None
        while True:
            token = self._draw_token(request, logprobs, candidates)
            if request.constraint is None or token.id in request.stop_ids:
                return token
            if request.constraint.accept(token.id):
                return token

    def lateness(self) -> DeadlineError:
        """What to tell the caller of a request that is late."""
        return DeadlineError(
            f"The answer wasn't whole within its timeout of {self.request.timeout} s: "
            f"{len(self.tokens)} of at most {self.request.max_tokens} tokens were made. Raise "
            "timeout, or ask for fewer tokens."
        )

    def _draw_token(self, request: Request, logprobs: Tensor, candidates: Tensor | None) -> Token:
        seen, draw = self.tokens, self._uniform
        if request.plan.is_plain or not (openings := self.openings):
            return next_token(request, logprobs, candidates, seen, draw())
        return next_token_at_pause(request, openings, logprobs, candidates, seen, draw)

    def _held(self, logprobs: Tensor) -> Tensor | None:
        """Which tokens the request isn't steered by now, bool ``[V]``; None for none of them."""
        guard = self.request.guard
        if guard is None or not (found := guard.held(self.tokens)):
            return None
        held = torch.zeros_like(logprobs[0], dtype=torch.bool)
        held[list(found)] = True
        return held

    def _uniform(self) -> float:
        """The next uniform number in [0, 1)."""
        return float(torch.rand((), generator=self.generator, dtype=torch.float64))
