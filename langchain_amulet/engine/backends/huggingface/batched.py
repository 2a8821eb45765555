"""The fast backend: every stream of every request is a row of one KV cache.

Prompts are prefilled in a cache of their own, so that the decoding cache holds nothing but rows
that decode and each step reads it as a view. A prompt that begins like that of a row which is
already there isn't computed twice: it waits for that row and copies what they have in common. So
the streams of a request share what comes before their preferences, samples of one prompt share all
of it, and users of one program share its instructions. The last token of a prompt isn't prefilled:
the request's first decode step feeds it, which makes prefill a pass without a head.

Knows token ids, rows and a model. Doesn't know plans, sampling or callers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import torch
from torch import Tensor

from langchain_amulet.engine.backends.base import CandidateQuery, LoadedModel, Prompts, StepLogits
from langchain_amulet.engine.backends.halving import decode_in_halves, in_halves
from langchain_amulet.engine.backends.huggingface.attention_masks import attention_masks
from langchain_amulet.engine.backends.huggingface.backend import HuggingFaceBackend
from langchain_amulet.engine.backends.huggingface.causal_lm import CausalLM
from langchain_amulet.engine.backends.huggingface.kv_cache import CacheRow, CacheWindow, KVCache

CHEAP_PASS = 32
"""Below this many tokens a pass costs about the same, so padding it is free."""

MIN_SHARED_PREFIX = 8
"""Fewer tokens in common than this aren't worth waiting for."""


@dataclass(eq=False)
class BatchedSlot:
    """A request's rows, in the prefill cache first and in the decoding cache once started."""

    prompts: Prompts
    cache_rows: list[CacheRow]
    prefix_copies: list[PrefixCopy | None] = field(init=False)
    pending: list[int] = field(init=False)
    is_decoding: bool = False

    def __post_init__(self) -> None:
        """Each stream's first decode feeds the last token of its prompt."""
        self.pending = [prompt[-1] for prompt in self.prompts]
        self.prefix_copies = [None] * len(self.prompts)

    @property
    def is_prefilled(self) -> bool:
        """Whether its prompts are in, but for their last tokens."""
        pairs = zip(self.cache_rows, self.prompts, strict=True)
        return all(row.length == len(prompt) - 1 for row, prompt in pairs)

    @property
    def rows(self) -> list[int]:
        """Where the streams are now."""
        return [row.index for row in self.cache_rows]

    def feed(self, token: int) -> None:
        """Feed ``token`` to every stream next."""
        self.pending = [token] * len(self.cache_rows)


@dataclass(frozen=True)
class PrefixCopy:
    """The beginning of a prompt that isn't computed, but copied from the row of another.

    Attributes:
        source: The slot that has it, or will have it.
        stream: Which of its streams.
        length: How many tokens.
    """

    source: BatchedSlot
    stream: int
    length: int

    @property
    def row(self) -> CacheRow:
        """Where the source's stream is now."""
        return self.source.cache_rows[self.stream]


@dataclass(frozen=True)
class PromptChunk:
    """Prompt tokens that one row is still to take in."""

    slot: BatchedSlot
    row: CacheRow
    tokens: tuple[int, ...]


class BatchedBackend(HuggingFaceBackend):
    """Rows of one cache, one forward pass per step for all of them."""

    name = "batched"
    shares_pass = True

    def __init__(self, model: LoadedModel, lm: CausalLM, max_rows: int, prefill_chunk: int) -> None:
        """Start without rows."""
        super().__init__(model, lm, max_rows, prefill_chunk)
        self._prefill_cache, self._decode_cache = KVCache(lm.device), KVCache(lm.device)
        self._waiting: list[BatchedSlot] = []
        self._decoding: list[BatchedSlot] = []

    @property
    def live_rows(self) -> int:
        """Rows of both caches."""
        return len(self._prefill_cache.rows) + len(self._decode_cache.rows)

    def has_room(self, prompts: Prompts, max_tokens: int) -> bool:
        """Whether there is a free row for each of the streams."""
        return self.live_rows + len(prompts) <= self._max_rows

    def join(self, prompts: Prompts, max_tokens: int) -> BatchedSlot:
        """Give each stream a row in the prefill cache."""
        slot = BatchedSlot(prompts, [self._prefill_cache.add() for _ in prompts])
        self._waiting.append(slot)
        slot.prefix_copies = [self._longest_prefix(slot, stream) for stream in range(len(prompts))]
        return slot

    def leave(self, slot: BatchedSlot) -> None:
        """Free the slot's rows, wherever they are."""
        slots, cache = (
            (self._decoding, self._decode_cache)
            if slot.is_decoding
            else (self._waiting, self._prefill_cache)
        )
        slots.remove(slot)
        for row in slot.cache_rows:
            cache.remove(row)

    def prefill(self) -> dict[BatchedSlot, Exception]:
        """One batch of prompt tokens, oldest request first."""
        batch = prefill_batch(self._chunks(), self._prefill_chunk)
        failed: dict[BatchedSlot, Exception] = {}
        for chunks, error in in_halves(batch, self._compute) if batch else ():
            if error is not None:
                failed |= {chunk.slot: error for chunk in chunks}
        for slot in [slot for slot in self._waiting if slot not in failed]:
            try:
                for stream in range(len(slot.prompts)):
                    self._copy_prefix(slot, stream)
            except Exception as error:  # no memory for its rows
                failed[slot] = error
        return failed

    def start(self, slot: BatchedSlot) -> None:
        """Move the slot's rows to the decoding cache, or leave all as it was."""
        moved = self._decode_cache.add_copies(self._prefill_cache, slot.cache_rows)
        self.leave(slot)
        slot.cache_rows, slot.is_decoding = moved, True
        self._decoding.append(slot)

    def decode(
        self, queries: Sequence[CandidateQuery] = (), exact_ids: Sequence[Tensor] = ()
    ) -> StepLogits:
        """Feed every decoding stream its pending token."""

        def compute(slots: Sequence[BatchedSlot], queries: Sequence[CandidateQuery]) -> StepLogits:
            return self._decode(slots, queries, exact_ids)

        return decode_in_halves(self._decoding, queries, compute)

    def _decode(
        self,
        slots: Sequence[BatchedSlot],
        queries: Sequence[CandidateQuery],
        exact_ids: Sequence[Tensor],
    ) -> StepLogits:
        """One pass for some of the slots, their rows in the order of the cache."""
        cache = self._decode_cache
        pending = {
            row.index: (row, token)
            for slot in slots
            for row, token in zip(slot.cache_rows, slot.pending, strict=True)
        }
        rows, tokens = zip(*(pending[index] for index in sorted(pending)), strict=True)
        window = cache.prepare(rows, 1)
        logits, _ = self._lm.next_logits(
            torch.tensor(tokens, device=cache.device)[:, None],
            window.positions,
            cache.cache,
            self._masks(window),
            queries,
            exact_ids,
        )
        for row in rows:  # not before, so that a pass which failed can be tried again
            row.length += 1
        return logits

    def _chunks(self) -> Iterator[PromptChunk]:
        """What can be computed of the prompts that wait."""
        for slot in self._waiting:
            streams = zip(slot.cache_rows, slot.prompts, slot.prefix_copies, strict=True)
            for row, prompt, copy in streams:
                if copy is None and row.length < len(prompt) - 1:
                    yield PromptChunk(slot, row, prompt[row.length : -1])

    def _compute(self, batch: Sequence[PromptChunk]) -> None:
        cache, width = self._prefill_cache, max(len(chunk.tokens) for chunk in batch)
        padded = [chunk.tokens + (0,) * (width - len(chunk.tokens)) for chunk in batch]
        window = cache.prepare([chunk.row for chunk in batch], width)
        tokens = torch.tensor(padded, device=cache.device)
        self._lm.fill(tokens, window.positions, cache.cache, self._masks(window))
        for chunk in batch:
            chunk.row.length += len(chunk.tokens)
            self.prefill_tokens += len(chunk.tokens)

    def _masks(self, window: CacheWindow) -> Tensor | dict[str, Tensor]:
        return attention_masks(self._lm.config, window.positions, window.columns, self._lm.dtype)

    def _longest_prefix(self, slot: BatchedSlot, stream: int) -> PrefixCopy | None:
        """The longest beginning of a stream's prompt that an older row has; None if it is short.

        Only older ones, so that no two wait for each other.
        """
        older = [*self._decoding, *takewhile(lambda other: other is not slot, self._waiting)]
        sources = [(other, index) for other in older for index in range(len(other.prompts))]
        sources += [(slot, index) for index in range(stream)]
        body = slot.prompts[stream][:-1]
        copies = (
            PrefixCopy(source, index, common_prefix(source.prompts[index][:-1], body))
            for source, index in sources
        )
        longest = max(copies, key=lambda copy: copy.length, default=None)
        return longest if longest and longest.length >= MIN_SHARED_PREFIX else None

    def _copy_prefix(self, slot: BatchedSlot, stream: int) -> None:
        """Copy the beginning of a stream's prompt from where it is, once it is there."""
        copy = slot.prefix_copies[stream]
        if copy and copy.source not in (*self._decoding, *self._waiting):  # it left meanwhile
            copy = slot.prefix_copies[stream] = self._longest_prefix(slot, stream)
        if copy and copy.row.length >= copy.length:
            slot.prefix_copies[stream] = None
            cache = self._decode_cache if copy.source.is_decoding else self._prefill_cache
            # One NaN in a pass spreads to the tokens before it: zero times NaN is NaN.
            if cache.is_finite(copy.row, copy.length):
                row = slot.cache_rows[stream]
                self._prefill_cache.copy_prefix(row, cache, copy.row, copy.length)


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
        picked.append(PromptChunk(chunk.slot, chunk.row, tokens))
        width, real = wider, real + len(tokens)
    return picked


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens, from the start, two prompts have in common."""
    pairs = enumerate(zip(first, second, strict=False))
    unlike = (place for place, (one, other) in pairs if one != other)
    return next(unlike, min(len(first), len(second)))
