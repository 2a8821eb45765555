"""A request's streams as sequences of a context, and what one may take over from another.

Knows tokens and lengths. Doesn't know llama.cpp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from langchain_amulet.engine.backends.base import CacheScope, Prompts, common_prefix


@dataclass(eq=False)
class LlamaSequence:
    """A prompt, and what followed it, in a sequence of the context.

    Attributes:
        number: The sequence.
        tokens: The prompt, and what was fed after it.
        scope: Who may take over what was computed.
        size: How long the prompt is.
        length: How many of the tokens are computed.
        leader: The earlier stream of the same request that begins most like it; None if none does.
        led: How many tokens the two have in common. They are the leader's, in any scope.
        cached: How many of the first tokens other requests computed.
        has_begun: Whether it computes by itself what isn't there yet.
    """

    number: int
    tokens: list[int]
    scope: CacheScope
    size: int = field(init=False)
    length: int = 0
    leader: LlamaSequence | None = None
    led: int = 0
    cached: int = 0
    has_begun: bool = False

    def __post_init__(self) -> None:
        """Until something is fed the prompt is all that there is."""
        self.size = len(self.tokens)

    @property
    def body(self) -> Sequence[int]:
        """The prompt but for its last token, which the first decode step feeds."""
        return self.tokens[: self.size - 1]

    @property
    def is_prefilled(self) -> bool:
        """Whether that much is computed."""
        return self.length >= self.size - 1

    @property
    def computed(self) -> Sequence[int]:
        """The tokens that are."""
        return self.tokens[: self.length]


@dataclass(eq=False)
class LlamaSlot:
    """A request's sequences.

    Attributes:
        streams: One per prompt.
        reserved: How many positions they may come to hold, those that a leader has aside.
        first_row: Where the first of them is in the next step's logits, once it decodes.
    """

    streams: list[LlamaSequence]
    reserved: int
    first_row: int | None = None

    @property
    def is_prefilled(self) -> bool:
        """Whether its prompts are in, but for their last tokens."""
        return all(stream.is_prefilled for stream in self.streams)

    @property
    def rows(self) -> list[int]:
        """Where the streams are now."""
        if self.first_row is None:
            return []
        return list(range(self.first_row, self.first_row + len(self.streams)))

    @property
    def cached_tokens(self) -> list[int]:
        """How many tokens of each prompt came from earlier requests."""
        return [stream.cached for stream in self.streams]

    def feed(self, token: int) -> None:
        """Feed ``token`` to every stream next."""
        for stream in self.streams:
            stream.tokens.append(token)


def leads(bodies: Sequence[Sequence[int]], stream: int) -> tuple[int, int]:
    """Which of the earlier prompts of a request begins most like one of them, and how long.

    Returns:
        The earlier one's place and the number of tokens; 0 tokens if none begins like it.
    """
    found = [(common_prefix(bodies[i], bodies[stream]), -i) for i in range(stream)]
    length, place = max(found, default=(0, 0))
    return -place, length


def positions(prompts: Prompts, max_tokens: int, shares: bool = True) -> int:
    """How many positions a request may come to hold, what its streams share counted once.

    Args:
        prompts: Its prompts.
        max_tokens: How many tokens may follow each.
        shares: Whether streams can have positions in common at all.
    """
    bodies = [prompt[:-1] for prompt in prompts]
    shared = sum(leads(bodies, stream)[1] for stream in range(len(bodies))) if shares else 0
    return sum(len(prompt) + max_tokens for prompt in prompts) - shared
