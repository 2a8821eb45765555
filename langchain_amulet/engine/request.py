"""What a caller asks of the engine and what comes back: plain frozen data.

Knows token ids and plans. Doesn't know text, tokenizers, the model or how a request is run.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

from langchain_amulet.engine.backends.base import PROCESS, CacheScope
from langchain_amulet.errors import EmptyInputError, RequestError
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Plan
from langchain_amulet.validation.checks import check_count, check_timeout, check_type
from langchain_amulet.validation.wording import quoted


class Constraint(Protocol):
    """A grammar over one answer, asked before each token and offered each token.

    It acts on the combined scores, never on a stream. Whatever it raises fails its own request
    and no other. One instance serves one request.
    """

    def allowed(self) -> Tensor:
        """Which tokens may come next: bool, shape ``[vocabulary]``, on the host."""
        ...

    def accept(self, token: int) -> bool:
        """Move on by one token, which is emitted then. Stop tokens aren't, so they aren't offered.

        Returns:
            Whether it is taken. If it isn't, it is allowed no longer, and another one is drawn.
        """
        ...


class Guard(Protocol):
    """Names tokens for which a request isn't steered, asked before each of its tokens."""

    def held(self, tokens: Sequence[int]) -> Collection[int]:
        """The tokens which, behind those of the answer so far, are held back: see `levelled`."""
        ...


@dataclass(frozen=True)
class Pause:
    """A part of an answer that isn't steered, such as a thought or a tool call.

    Attributes:
        openings: The tokens that begin it. Whether one of them comes isn't steered either.
        closing: The token after which it is over; None if nothing comes after it.
        from_start: Whether the answer begins within it.
        first_only: Whether only the answer's first token can begin it.
    """

    openings: frozenset[int] = frozenset()
    closing: int | None = None
    from_start: bool = False
    first_only: bool = False

    def covers(self, tokens: Sequence[int]) -> bool:
        """Whether the token after these is within it."""
        looked_at = tokens[:1] if self.first_only else tokens
        marks = (t for t in reversed(looked_at) if t in self.openings or t == self.closing)
        last = next(marks, None)
        return self.from_start if last is None else last != self.closing

    def begins(self, tokens: Sequence[int]) -> frozenset[int]:
        """The tokens that would begin it after these."""
        return frozenset() if self.first_only and tokens else self.openings


def as_tokens(prompt: object) -> tuple[int, ...]:
    """Token ids of one prompt.

    Raises:
        RequestError: It isn't a sequence of whole numbers.
    """
    if not isinstance(prompt, (tuple, list)) or not {*map(type, prompt)} <= {int}:
        raise RequestError(
            f"A prompt must be a tuple of token ids, not {quoted(prompt)}: use what the model's "
            "tokenizer gives."
        )
    return tuple(prompt)


@dataclass(frozen=True)
class Request:
    """One answer to decode.

    Attributes:
        prompts: Token ids, one tuple per stream, in the order of ``plan.streams``.
        plan: How the streams are combined.
        sampling: How a token is drawn from the combined distribution.
        max_tokens: The most tokens to emit, at least 1.
        stop_ids: Tokens that end the answer; they aren't emitted.
        timeout: Seconds from submission until the request fails with ``DeadlineError``.
        trace: Whether tokens carry a ``Trace``.
        constraint: A grammar on the combined scores.
        pauses: Where the answer isn't steered.
        guard: For which tokens it isn't steered; None where it is for all.
        cache_scope: Whose computed prompts it may make use of, and who of its own.
        speculates: Whether tokens are drafted by looking them up in the prompts and the answer, see
            ``prompt_lookup``.
        waits_for_room: Whether it is queued however many wait, as those are whose caller has more
            of them and waits for all.

    Raises:
        ConfigurationError: A number is out of its range.
        RequestError: The parts don't fit each other.
        EmptyInputError: A stream has no token to start from.
    """

    prompts: tuple[tuple[int, ...], ...]
    plan: Plan
    sampling: SamplingParams
    max_tokens: int
    stop_ids: frozenset[int] = frozenset()
    timeout: float | None = None
    trace: bool = False
    constraint: Constraint | None = None
    pauses: tuple[Pause, ...] = ()
    guard: Guard | None = None
    cache_scope: CacheScope = PROCESS
    speculates: bool = False
    waits_for_room: bool = False

    def __post_init__(self) -> None:
        """Refuse what can never be decoded."""
        check_type("plan", self.plan, Plan)
        check_type("sampling", self.sampling, SamplingParams)
        check_type("prompts", self.prompts, tuple, list)
        check_type("stop_ids", self.stop_ids, Set)
        check_type("trace", self.trace, bool)
        check_type("pauses", self.pauses, tuple)
        check_type("speculates", self.speculates, bool)
        check_type("waits_for_room", self.waits_for_room, bool)
        if len(self.prompts) != len(self.plan.streams):
            raise RequestError(
                f"A request needs one prompt per stream of its plan: got {len(self.prompts)} "
                f"prompts for {len(self.plan.streams)} streams. Pass them in the plan's order."
            )
        lengths = [len(as_tokens(prompt)) for prompt in self.prompts]
        if not all(lengths):
            raise EmptyInputError(
                f"Every stream needs at least one token: stream {lengths.index(0)} has "
                "none. Put a message, or the model's begin-of-text token, in each prompt."
            )
        check_count("max_tokens", self.max_tokens, 1)
        check_timeout(self.timeout)


@dataclass(frozen=True)
class Trace:
    """Probabilities of the chosen token, in ``[0, 1]``, each over the whole vocabulary.

    Attributes:
        base: Under the stream without preferences; ``None`` if the plan has no such stream.
        pref: Under the plan's reference, the prompt with the preferences in it.
        steered: Under the distribution after steering, masking and penalties.
    """

    base: float | None
    pref: float
    steered: float


@dataclass(frozen=True)
class Token:
    """One emitted token.

    Attributes:
        id: Its id.
        logprob: Its log-probability, in nats, under the final distribution before temperature
            and truncation.
        top_logprobs: The most likely ``(id, logprob)`` under the same distribution, best first;
            as many as the request asked for.
        kl: KL divergence of the steered distribution from the prompted one, in nats, both among
            the tokens that the plan's mask keeps.
        trace: Where the probability came from, if the request asked.
        agreement: How far the plan's contrasts wanted the same here, from -1 to 1; ``None`` if
            there are fewer than two, or one of them was indifferent.
    """

    id: int
    logprob: float
    top_logprobs: tuple[tuple[int, float], ...] = ()
    kl: float = 0.0
    trace: Trace | None = None
    agreement: float | None = None


@dataclass(frozen=True)
class Finish:
    """How an answer ended: at a stop token, or at ``max_tokens``.

    Attributes:
        reason: Which of the two.
        token: The stop token, which isn't part of the answer; ``None`` if there was none.
    """

    reason: Literal["stop", "length"]
    token: Token | None = None
