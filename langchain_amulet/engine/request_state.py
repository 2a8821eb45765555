"""A request on its way through the engine: its reader, its slot, its tokens so far.

Knows one request. Doesn't know the queue, models or the other requests.
"""

from __future__ import annotations

import random
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch

from langchain_amulet.engine.backends.base import Backend
from langchain_amulet.engine.choices import Choice, TokenDraw
from langchain_amulet.engine.ensemble_slot import EnsembleSlot
from langchain_amulet.engine.ensemble_step import StreamRows
from langchain_amulet.engine.prompt_lookup import PromptLookup
from langchain_amulet.engine.request import Request, Token
from langchain_amulet.engine.token_stream import Channel, DraftCounts
from langchain_amulet.errors import DeadlineError
from langchain_amulet.steering import Plan


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
        lookup: What drafts its next tokens; None where nobody is to.
        draft: What was drafted last.
        generator: Where its uniform numbers come from: its own, so that a batch can't change it.
    """

    request: Request
    readers: tuple[Backend, ...]
    channel: Channel
    deadline: float | None = field(init=False)
    slot: EnsembleSlot | None = None
    tokens: list[int] = field(default_factory=list)
    lookup: PromptLookup | None = field(init=False)
    draft: list[int] = field(default_factory=list)
    _drafted_at: int = 0
    generator: torch.Generator = field(init=False)

    def __post_init__(self) -> None:
        """Start the clock, and seed the numbers."""
        timeout, seed = self.request.timeout, self.request.sampling.seed
        longest = max(self.request.prompts, key=len)
        self.lookup = PromptLookup(longest) if self.request.speculates else None
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
    def plan(self) -> Plan:
        """How the next token is steered: within a pause it isn't."""
        return self._plan_after(self.tokens)

    @property
    def plans(self) -> list[Plan]:
        """The same, and how the token after each drafted one is steered if all these are right."""
        places = range(len(self.draft) + 1)
        return [self._plan_after([*self.tokens, *self.draft[:place]]) for place in places]

    @property
    def is_as_drafted(self) -> bool:
        """Whether all that was drawn since the last draft is what that said."""
        written = self.tokens[self._drafted_at :]
        return written == self.draft[: len(written)]

    def make_draft(self, most: int) -> int:
        """Guess what comes next.

        Args:
            most: The most tokens to guess.

        Returns:
            How many it guessed.
        """
        self.draft, self._drafted_at = [], len(self.tokens)
        if self.lookup is not None:
            # The last token that it may have is fed to nobody.
            left = self.request.max_tokens - len(self.tokens) - 1
            found = self.lookup.draft(self.tokens, min(most, left))
            self.draft = found
            self._tell()
        return len(self.draft)

    def add(self, token: int) -> bool:
        """Have a token that was drawn in the answer; whether it had been drafted."""
        self.tokens.append(token)
        was_drafted = len(self.tokens) <= self._drafted_at + len(self.draft) and self.is_as_drafted
        if was_drafted and self.lookup is not None:
            self.lookup.accept()
            self._tell()
        return was_drafted

    @property
    def held(self) -> Collection[int]:
        """The tokens that it isn't steered by now."""
        guard = self.request.guard
        return guard.held(self.tokens) if guard is not None and self.plan.steers else ()

    def draws(self, streams: StreamRows) -> tuple[TokenDraw, ...]:
        """How to draw the next token.

        Where it may be one that begins a pause, that is by two draws: whether one of these comes is
        decided by the prompted distribution under the same mask. If none does, the token is drawn
        from the others, with steering; its log-probability is among those.

        Args:
            streams: What it is drawn from.
        """
        constraint, plan = self.request.constraint, self.plan
        openings = frozenset[int]() if plan.is_plain else self._openings
        draw = TokenDraw(
            choice=self._choice(plan, streams),
            uniform=self._uniform(),
            seen=self.tokens,
            allowed=None if constraint is None else constraint.allowed(),
        )
        if not openings:
            return (draw,)
        gate = replace(draw, choice=self._choice(plan.masked, streams))
        return gate, replace(draw, uniform=self._uniform(), barred=openings)

    def taken(self, drawn: Sequence[Token | BaseException]) -> Token | BaseException | None:
        """What came of `draws`: a token, an error, or None if the constraint wants another one."""
        found = drawn[0]
        if len(drawn) == 2 and isinstance(found, Token) and found.id not in self._openings:
            found = drawn[1]
        constraint = self.request.constraint
        if not isinstance(found, Token) or constraint is None or found.id in self.request.stop_ids:
            return found
        return found if constraint.accept(found.id) else None

    def lateness(self) -> DeadlineError:
        """What to tell the caller of a request that is late."""
        return DeadlineError(
            f"The answer wasn't whole within its timeout of {self.request.timeout} s: "
            f"{len(self.tokens)} of at most {self.request.max_tokens} tokens were made. Raise "
            "timeout, or ask for fewer tokens."
        )

    @property
    def _openings(self) -> frozenset[int]:
        """The tokens that would begin a pause now."""
        return frozenset().union(*(pause.begins(self.tokens) for pause in self.request.pauses))

    def _tell(self) -> None:
        assert self.lookup is not None
        self.channel.drafts = DraftCounts(self.lookup.drafted, self.lookup.accepted)

    def _plan_after(self, tokens: Sequence[int]) -> Plan:
        is_paused = any(pause.covers(tokens) for pause in self.request.pauses)
        return self._unsteered if is_paused else self.request.plan

    @cached_property
    def _unsteered(self) -> Plan:
        return self.request.plan.unsteered

    def _choice(self, plan: Plan, streams: StreamRows) -> Choice:
        request, candidates = self.request, () if plan.mask is None else streams.candidates
        return Choice(plan, request.sampling, request.trace, streams.rows, candidates)

    def _uniform(self) -> float:
        """The next uniform number in [0, 1)."""
        return float(torch.rand((), generator=self.generator, dtype=torch.float64))
