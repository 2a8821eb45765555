"""What a request's streams have of the KV cache, and what is still to be computed of their prompts.

Knows one request's prompts and rows, and which chunks make a cheap pass. Doesn't know the model, or
who computes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from langchain_amulet.engine.backends.base import Prompts, common_prefix
from langchain_amulet.engine.backends.huggingface.kv_cache import BLOCK, CacheBlock, CacheRow
from langchain_amulet.engine.backends.huggingface.prefix_cache import Path

CHEAP_PASS = 32
"""Below this many tokens a pass costs about the same, so padding it is free."""

MIN_COPIED = 4
"""Fewer tokens of a block than this are sooner computed than waited for and copied."""


@dataclass(eq=False)
class StreamRow:
    """One stream of a request, and its row of the cache.

    Attributes:
        prompt: Its prompt.
        path: What the prefix cache has of it: the first blocks of the row, which others may share.
            Those after them are the row's own.
        reserved: How many blocks it may come to have.
        answer: What was fed after the prompt; one list for all streams of a request.
        cached_tokens: How many of the prompt's tokens other requests computed.
    """

    prompt: tuple[int, ...]
    path: Path
    reserved: int
    answer: list[int]
    row: CacheRow = field(default_factory=CacheRow)
    cached_tokens: int = 0

    @property
    def is_prefilled(self) -> bool:
        """Whether its prompt is in, but for the last token."""
        return self.row.length == len(self.prompt) - 1

    @property
    def shared(self) -> int:
        """How many tokens are in blocks of the path."""
        return BLOCK * (len(self.path) - 1)

    @property
    def own_blocks(self) -> list[CacheBlock]:
        """The blocks after those of the path."""
        return self.row.blocks[len(self.path) - 1 :]

    @property
    def whole_blocks(self) -> int:
        """How many of its own blocks are full."""
        return (self.row.length - self.shared) // BLOCK

    @property
    def ahead(self) -> tuple[int, ...]:
        """What the prompt has for the block after the path, but for the last token."""
        return self.prompt[self.shared : min(self.shared + BLOCK, len(self.prompt) - 1)]

    def waits_for(self, other: StreamRow) -> bool:
        """Whether an earlier stream will compute what comes next here, too."""
        if self.path[-1] is not other.path[-1] or self.row.length > self.shared:
            return False
        length = common_prefix(self.ahead, other.ahead)
        return length >= MIN_COPIED and self.shared + length > other.row.length

    def tokens(self, start: int, stop: int) -> tuple[int, ...]:
        """What was fed, or will be of its prompt, from one position to before another."""
        size = len(self.prompt)
        return (
            *self.prompt[start:stop],
            *self.answer[max(0, start - size) : max(0, stop - size)],
        )


@dataclass(eq=False)
class BatchedSlot:
    """A request's rows.

    Attributes:
        number: Which request it is, of all that ever joined.
        prompts: Its prompts.
        streams: Its streams, in their order.
        answer: What was fed to them all.
        pending: What each is fed by the next step.
        draft: What may follow that, and is read with it; once it was read, what is left to be
            confirmed of it.
        first_row: Where the first of them is in the next step's logits, once it decodes.
    """

    number: int
    prompts: Prompts
    streams: list[StreamRow] = field(default_factory=list)
    answer: list[int] = field(default_factory=list)
    pending: list[int] = field(init=False)
    draft: list[int] = field(default_factory=list)
    first_row: int | None = None

    def __post_init__(self) -> None:
        """Each stream's first decode feeds the last token of its prompt."""
        self.pending = [prompt[-1] for prompt in self.prompts]

    @property
    def is_prefilled(self) -> bool:
        """Whether its prompts are in, but for their last tokens."""
        return all(stream.is_prefilled for stream in self.streams)

    @property
    def rows(self) -> list[int]:
        """Where the streams are now."""
        if self.first_row is None:
            return []
        return list(range(self.first_row, self.first_row + self.height))

    @property
    def height(self) -> int:
        """How many rows the next step has for it: each stream's at each place."""
        return len(self.streams) * (1 + len(self.draft))

    def fed(self) -> Iterator[tuple[CacheRow, int]]:
        """What the next step reads: a place of a row after the other, and the token for it.

        A drafted token is a row of its own in the pass, one that has the stream's blocks and is
        longer: it finds there what the pass writes for the tokens before it. So requests with
        drafts share passes with those without, and no token is padding.
        """
        yield from zip((stream.row for stream in self.streams), self.pending, strict=True)
        for place, token in enumerate(self.draft, 1):
            for stream in self.streams:
                yield CacheRow(stream.row.blocks, stream.row.length + place), token

    @property
    def cached_tokens(self) -> list[int]:
        """How many tokens of each prompt came from earlier requests."""
        return [stream.cached_tokens for stream in self.streams]

    def feed(self, token: int) -> None:
        """Feed ``token`` to every stream next, unless it was drafted and is in already."""
        self.answer.append(token)
        if self.draft[:1] == [token]:
            del self.draft[0]
            for stream in self.streams:
                stream.row.length += 1
        else:
            self.draft = []  # what lies behind the row is overwritten
            self.pending = [token] * len(self.streams)


@dataclass(frozen=True)
class PromptChunk:
    """Prompt tokens that one stream is still to take in."""

    slot: BatchedSlot
    stream: StreamRow
    tokens: tuple[int, ...]


def prefill_batch(chunks: Iterator[PromptChunk], budget: int) -> list[PromptChunk]:
    """Pick chunks for one padded pass of at most ``budget`` tokens, the first one always.

    Chunks are cut to the budget. One joins if the padding stays cheap: in a small pass, or where
    at least two thirds of all tokens are real ones.
    """
    picked: list[PromptChunk] = []
    width = real = 0
    for chunk in chunks:
        tokens = chunk.tokens[:budget]
        wider = max(width, len(tokens))
        area = wider * (len(picked) + 1)
        is_cheap = area <= CHEAP_PASS or 2 * area <= 3 * (real + len(tokens))
        if picked and (area > budget or not is_cheap):
            continue
        picked.append(PromptChunk(chunk.slot, chunk.stream, tokens))
        width, real = wider, real + len(tokens)
    return picked
