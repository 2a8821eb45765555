"""A request on its way through the engine: its caller, its seat, its tokens so far.

Knows one request. Doesn't know the queue, the model or the other requests.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from langchain_amulet.engine.model_runner import ModelRunner
from langchain_amulet.engine.request import Request, Token
from langchain_amulet.engine.sampler import next_token, next_token_at_pause
from langchain_amulet.engine.token_stream import Channel
from langchain_amulet.errors import DeadlineError


@dataclass(eq=False)
class RequestState:
    """A request on its way: who reads its streams, who waits for it, what it has drawn."""

    request: Request
    readers: tuple[ModelRunner, ...]
    channel: Channel
    deadline: float | None
    uniforms: torch.Generator = field(init=False)
    tokens: list[int] = field(default_factory=list)
    seat: Any = None

    def __post_init__(self) -> None:
        """Give the request random numbers of its own, so a batch can't change its answer."""
        seed = self.request.sampling.seed
        self.uniforms = torch.Generator().manual_seed(
            random.SystemRandom().getrandbits(63) if seed is None else seed % 2**63
        )

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

    @property
    def is_late(self) -> bool:
        """Whether its timeout has passed."""
        return self.deadline is not None and time.monotonic() > self.deadline

    def next_token(self, logprobs: Tensor, shortlist: Tensor | None) -> Token:
        """Draw until the request's constraint takes the token; for the arguments see `sampler`."""
        request = self.current
        while True:
            token = self._choose(request, logprobs, shortlist)
            if request.constraint is None or token.id in request.stop_ids:
                return token
            if request.constraint.accept(token.id):
                return token

    def _choose(self, request: Request, logprobs: Tensor, shortlist: Tensor | None) -> Token:
        if request.plan.is_plain or not self.openings:
            return next_token(request, logprobs, shortlist, self.tokens, self._draw())
        seen, draw = self.tokens, self._draw
        return next_token_at_pause(request, self.openings, logprobs, shortlist, seen, draw)

    def _draw(self) -> float:
        """The next uniform number in [0, 1)."""
        return float(torch.rand((), generator=self.uniforms, dtype=torch.float64))

    def lateness(self) -> DeadlineError:
        """What to tell the caller of a request that is late."""
        return DeadlineError(
            f"The answer wasn't whole within its timeout of {self.request.timeout} s: "
            f"{len(self.tokens)} of at most {self.request.max_tokens} tokens were made. Raise "
            "timeout, or ask for fewer tokens."
        )
