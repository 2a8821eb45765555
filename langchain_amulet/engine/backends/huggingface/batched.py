"""The fast backend: every stream of every request is a row of one KV cache.

What is computed of a prompt or an answer goes to the prefix cache, for all that begin alike: the
streams of a request share what comes before their preferences, samples of one prompt share all of
it, and a chat's next turn finds the turns before. Of two prompts that begin alike and wait together
the later one waits for the earlier. The last token of a prompt isn't prefilled: the request's first
decode step feeds it, which makes prefill a pass without a head.

A request is let in when there is memory for all that it may ever hold, kept prefixes aside, so that
none can want for memory under way; and these are let go of as the memory is needed.

Knows token ids, rows and a model. Doesn't know plans, sampling or callers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count, islice
from typing import Any

import torch
from torch import Tensor

from langchain_amulet.engine.backends.base import (
    PROCESS,
    CacheScope,
    CacheUse,
    CandidateQuery,
    LoadedModel,
    Prompts,
    StepLogits,
    common_prefix,
)
from langchain_amulet.engine.backends.free_memory import kv_cache_budget
from langchain_amulet.engine.backends.halving import decode_in_halves, in_halves, is_out_of_memory
from langchain_amulet.engine.backends.huggingface.attention_masks import attention_masks
from langchain_amulet.engine.backends.huggingface.backend import HuggingFaceBackend
from langchain_amulet.engine.backends.huggingface.causal_lm import CausalLM
from langchain_amulet.engine.backends.huggingface.compilation import hide_cache
from langchain_amulet.engine.backends.huggingface.kv_cache import (
    BLOCK,
    RESERVED,
    CacheBlock,
    CacheRow,
    CacheWindow,
    KVCache,
    blocks_for,
)
from langchain_amulet.engine.backends.huggingface.prefix_cache import PrefixCache
from langchain_amulet.engine.backends.huggingface.static_pass import Recorder, StaticPasses
from langchain_amulet.engine.backends.huggingface.stream_rows import (
    MIN_COPIED,
    BatchedSlot,
    PromptChunk,
    StreamRow,
    prefill_batch,
)
from langchain_amulet.engine.transfers import rectangle, to_device
from langchain_amulet.errors import ContextLengthError

SLACK, SLACK_SHARE = 2048, 1 / 8
"""By how many blocks memory grows at least where passes are recorded, which are lost when it moves;
and the most of the limit that these may be."""


class BatchedBackend(HuggingFaceBackend):
    """Rows of one cache, one forward pass per step for all of them."""

    name = "batched"
    shares_pass = True
    takes_drafts = True

    def __init__(
        self,
        model: LoadedModel,
        lm: CausalLM,
        max_rows: int,
        prefill_chunk: int,
        kv_cache_memory: int | None = None,
    ) -> None:
        """Start without rows, and without memory for any."""
        super().__init__(model, lm, max_rows, prefill_chunk)
        self._memory = kv_cache_budget(lm.device) if kv_cache_memory is None else kv_cache_memory
        limit = self._memory // (BLOCK * max(1, lm.bytes_per_token)) - RESERVED
        self._cache, self._prefixes = KVCache(lm.device, max(0, limit)), PrefixCache()
        if lm.is_compiled:
            hide_cache(self._cache.cache)
        self._waiting: list[BatchedSlot] = []
        self._decoding: list[BatchedSlot] = []
        self._numbers = count()
        self._has_drafts = False
        self._static: StaticPasses | None = None

    def play_back(self, record: Recorder) -> StaticPasses:
        """Compute short passes by fixed shapes from now on.

        Args:
            record: How a pass is recorded.
        """
        self._cache.slack = min(SLACK, int(SLACK_SHARE * self._cache.limit))
        self._static = StaticPasses(self._lm, self._cache, record)
        return self._static

    @property
    def live_rows(self) -> int:
        """Rows of all requests."""
        return sum(len(slot.streams) for slot in (*self._waiting, *self._decoding))

    @property
    def cache_use(self) -> CacheUse:
        """What rows and kept prefixes take."""
        streams = [stream for slot in self._slots for stream in slot.streams]
        own = sum(stream.row.length - stream.shared for stream in streams)
        return CacheUse(self._cache.nbytes, self._memory, self._prefixes.tokens + own)

    def check_memory(self, prompts: Prompts, max_tokens: int) -> None:
        """Refuse a request whose streams, if nothing of them is shared, exceed the budget."""
        needed = sum(blocks_for(len(prompt) + max_tokens) for prompt in prompts)
        if needed > self._cache.limit:
            each = self._lm.bytes_per_token
            enough = (needed + RESERVED) * BLOCK * each
            raise ContextLengthError(
                f"The keys and values of a request must fit kv_cache_memory, here {self._memory} "
                f"bytes for {self._cache.limit * BLOCK} tokens of {each} bytes, but prompts of "
                f"{[len(prompt) for prompt in prompts]} tokens with max_tokens={max_tokens} each "
                f"take {needed * BLOCK} tokens. Raise kv_cache_memory to at least {enough}, "
                "lower max_tokens or shorten the conversation."
            )

    def has_room(self, prompts: Prompts, max_tokens: int, scope: CacheScope = PROCESS) -> bool:
        """Whether there are rows for its streams, and memory for all that they may come to hold."""
        if self.live_rows + len(prompts) > self._max_rows:
            return False
        wanted = sum(blocks_for(len(prompt) + max_tokens) for prompt in prompts)
        there = sum(
            node.holders > 0
            for prompt in prompts
            for node in self._prefixes.find(scope, prompt[:-1])[1:]
        )
        return self._promised + wanted - there <= self._cache.limit

    def join(self, prompts: Prompts, max_tokens: int, scope: CacheScope = PROCESS) -> BatchedSlot:
        """Give each stream a row that begins with what is there of its prompt."""
        slot = BatchedSlot(next(self._numbers), prompts)
        for prompt in prompts:
            path = self._prefixes.find(scope, ())
            self._prefixes.open(path)
            reserved = blocks_for(len(prompt) + max_tokens)
            stream = StreamRow(prompt, path, reserved, slot.answer)
            self._follow(slot, stream)
            slot.streams.append(stream)
        self._waiting.append(slot)
        return slot

    def leave(self, slot: BatchedSlot) -> None:
        """Free the slot's rows, but for what stays in the prefix cache."""
        (self._waiting if slot.first_row is None else self._decoding).remove(slot)
        self._place_rows()
        for stream in slot.streams:
            self._keep(slot, stream)
            self._cache.free([*stream.own_blocks, *self._prefixes.close(stream.path)])

    def prefill(self) -> dict[BatchedSlot, Exception]:
        """One batch of prompt tokens, oldest request first."""
        batch = prefill_batch(self._chunks(), self._prefill_chunk)
        failed: dict[BatchedSlot, Exception] = {}
        for chunks, error in in_halves(batch, self._compute) if batch else ():
            if error is not None:
                failed |= {chunk.slot: error for chunk in chunks}
        for _ in self._chunks():  # has who waited take over what is there now
            pass
        return failed

    def start(self, slot: BatchedSlot) -> None:
        """Let the slot's rows take part in the steps."""
        self._waiting.remove(slot)
        self._decoding.append(slot)
        self._place_rows()

    def draft(self, drafts: Mapping[Any, Sequence[int]]) -> None:
        """Read drafts with the pending tokens, in the next step only."""
        if not (drafts or self._has_drafts):
            return
        self._has_drafts = bool(drafts)
        for slot in self._decoding:
            slot.draft = list(drafts.get(slot, ()))
        self._place_rows()

    def decode(
        self, queries: Sequence[CandidateQuery] = (), exact_ids: Sequence[Tensor] = ()
    ) -> StepLogits:
        """Feed every decoding stream its pending token."""

        def compute(slots: Sequence[BatchedSlot], queries: Sequence[CandidateQuery]) -> StepLogits:
            return self._decode(slots, queries, exact_ids)

        return decode_in_halves(self._decoding, queries, compute)

    # --- Passes ---

    def _decode(
        self,
        slots: Sequence[BatchedSlot],
        queries: Sequence[CandidateQuery],
        exact_ids: Sequence[Tensor],
    ) -> StepLogits:
        """One pass for some of the slots, their rows one after the other."""
        for slot in slots:
            for stream in slot.streams:
                self._extend(stream, stream.row.length + 1 + len(slot.draft))
        rows, pending = zip(*(each for slot in slots for each in slot.fed()), strict=True)
        step = [[token, row.length] for row, token in zip(rows, pending, strict=True)]
        fed, positions = to_device(step, torch.int64, self._cache.device).hsplit(2)
        output = self._played(rows, [[token] for token in pending])
        if output is None:
            masks = self._masks(self._cache.prepare(rows, [1] * len(rows)))
            cache = self._cache.cache
            logits, _ = self._lm.next_logits(fed, positions, cache, masks, queries, exact_ids)
        else:
            logits = self._lm.logits_of(output, fed, positions, queries, exact_ids)
        for slot in slots:  # not before, so that a pass which failed can be tried again
            for stream in slot.streams:
                stream.row.length += 1
        return logits

    def foresee(self, drawn: Sequence[tuple[Tensor, Tensor]]) -> None:
        """Begin the next step, unless it will have requests that are new, or others have drafts.

        Nor is it begun anew for those of whom a token was drawn once more.
        """
        if self._static is None or self._waiting or not self._decoding or self._has_drafts:
            return
        if sum(len(ids) for _, ids in drawn) < len(self._decoding):
            return
        streams = [stream for slot in self._decoding for stream in slot.streams]
        try:
            for stream in streams:
                self._extend(stream, stream.row.length + 1)
        except Exception as error:  # some of them may be about to leave
            if not is_out_of_memory(error):
                raise
            return
        tokens = torch.zeros(len(streams), dtype=torch.int64, device=self._cache.device)
        for rows, ids in drawn:
            tokens[rows] = ids.long()[:, None].expand_as(rows)
        self._static.begin([stream.row for stream in streams], tokens)

    def _compute(self, batch: Sequence[PromptChunk]) -> None:
        """One pass over chunks of prompts."""
        counts = [len(chunk.tokens) for chunk in batch]
        for chunk, size in zip(batch, counts, strict=True):
            self._extend(chunk.stream, chunk.stream.row.length + size)
        rows = [chunk.stream.row for chunk in batch]
        if self._played(rows, [chunk.tokens for chunk in batch]) is None:
            # One whole beginning needs no other mask than the model's own, which is quicker.
            is_masked = len(rows) > 1 or rows[0].length > 0
            window = self._cache.prepare(rows, counts, is_masked)
            tokens = rectangle([chunk.tokens for chunk in batch], self._cache.device)
            masks = self._masks(window) if is_masked else None
            self._lm.fill(tokens, window.positions, self._cache.cache, masks)
        for chunk, size in zip(batch, counts, strict=True):
            chunk.stream.row.length += size
            self.prefill_tokens += size
        self._share([(chunk.slot, chunk.stream) for chunk in batch])

    def _played(self, rows: Sequence[CacheRow], tokens: Sequence[Sequence[int]]) -> Any:
        return None if self._static is None else self._static.output(rows, tokens)

    def _masks(self, window: CacheWindow) -> Tensor | dict[str, Tensor]:
        return attention_masks(self._lm.config, window.positions, window.columns, self._lm.dtype)

    def _place_rows(self) -> None:
        place = 0
        for slot in self._decoding:
            slot.first_row = place
            place += slot.height

    # --- Memory ---

    @property
    def _slots(self) -> list[BatchedSlot]:
        return [*self._decoding, *self._waiting]

    @property
    def _promised(self) -> int:
        """Blocks that the rows hold and may yet come to hold, those that they share once."""
        streams = (stream for slot in self._slots for stream in slot.streams)
        return self._prefixes.held + sum(each.reserved - len(each.path) + 1 for each in streams)

    def _extend(self, stream: StreamRow, length: int) -> None:
        """Have blocks for so many positions, for which kept prefixes go if they must."""
        missing = blocks_for(length) - len(stream.row.blocks)
        if missing <= 0:
            return
        if (short := self._cache.taken + missing - self._cache.limit) > 0:
            self._cache.free(self._prefixes.evict(short))
        try:
            self._cache.extend(stream.row, length)
        except Exception as error:  # no memory though there should be some: others took it
            if not is_out_of_memory(error) or not (freed := self._prefixes.evict(missing)):
                raise
            self._cache.free(freed)
            self._cache.extend(stream.row, length)

    # --- Prefixes ---

    def _chunks(self) -> Iterator[PromptChunk]:
        """What is to be computed of the prompts that wait, once all of it that is there was taken.

        Where two would compute the same next tokens, the later one waits for the earlier.
        """
        earlier: list[StreamRow] = []
        for slot in self._waiting:
            for stream in slot.streams:
                self._follow(slot, stream)
                if not any(stream.waits_for(other) for other in earlier):
                    self._copy_tail(slot, stream)
                    if not stream.is_prefilled:
                        yield PromptChunk(slot, stream, stream.prompt[stream.row.length : -1])
                earlier.append(stream)

    def _follow(self, slot: BatchedSlot, stream: StreamRow) -> None:
        """Take whole blocks of a stream's prompt that are there."""
        row = stream.row
        while row.length == stream.shared:  # else it has begun to compute the next one by itself
            node = self._prefixes.next(stream.path[-1], stream.ahead)
            if node is None or node.block is None:
                return
            # A pass that failed may have left blocks to fill.
            self._cache.free(stream.own_blocks)
            row.blocks = [*row.blocks[: len(stream.path) - 1], node.block]
            self._prefixes.hold(node)
            stream.path.append(node)
            row.length = stream.shared
            stream.cached_tokens += BLOCK if node.writer != slot.number else 0

    def _copy_tail(self, slot: BatchedSlot, stream: StreamRow) -> None:
        """Copy what is there of a stream's next block, from where most of it is."""
        if stream.row.length > stream.shared or len(stream.ahead) < MIN_COPIED:
            return
        try:
            self._extend(stream, stream.shared + len(stream.ahead))
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            return  # computing it will fail likewise, and be told
        block, length, writer = self._nearest(stream)
        if block is not None and length >= MIN_COPIED and self._cache.are_finite([block])[0]:
            self._cache.copy(block, stream.own_blocks[0], length)
            stream.row.length += length
            stream.cached_tokens += length if writer != slot.number else 0

    def _nearest(self, stream: StreamRow) -> tuple[CacheBlock | None, int, int]:
        """The block with most first tokens of a stream's next one; how many; and whose it is."""
        node, length = self._prefixes.nearest(stream.path[-1], stream.ahead)
        best = (node.block, length, node.writer) if node else (None, 0, -1)
        for slot in self._slots:
            for other in slot.streams:
                if other is stream or other.path[-1] is not stream.path[-1]:
                    continue
                known = other.tokens(other.shared, min(other.row.length, other.shared + BLOCK))
                if (length := common_prefix(known, stream.ahead)) > best[1]:
                    best = other.own_blocks[0], length, slot.number
        return best

    def _share(self, computed: Sequence[tuple[BatchedSlot, StreamRow]]) -> None:
        """Give streams' whole blocks to the prefix cache, as far as they hold numbers.

        One NaN in a pass spreads to the tokens before it: zero times NaN is NaN.
        """
        whole = [stream.own_blocks[: stream.whole_blocks] for _, stream in computed]
        is_finite = iter(self._cache.are_finite([block for blocks in whole for block in blocks]))
        for (slot, stream), blocks in zip(computed, whole, strict=True):
            sound = list(islice(is_finite, len(blocks)))
            for block in blocks[: sound.index(False) if False in sound else len(sound)]:
                self._share_block(slot, stream, block)

    def _share_block(self, slot: BatchedSlot, stream: StreamRow, block: CacheBlock) -> None:
        """Give a stream's next whole block to the prefix cache, or take what is there instead."""
        start = stream.shared
        tokens = stream.tokens(start, start + BLOCK)
        if not self._prefixes.add(stream.path, tokens, block, slot.number):
            node = stream.path[-1]
            assert node.block is not None
            stream.row.blocks[start // BLOCK] = node.block
            self._cache.free([block])

    def _keep(self, slot: BatchedSlot, stream: StreamRow) -> None:
        """Give all of a stream that leaves to the prefix cache, if its scope keeps anything."""
        scope = stream.path[0].scope
        if scope is None or not scope.keeps:
            return
        try:
            self._share([(slot, stream)])
            rest = stream.tokens(stream.shared, stream.row.length)
            if MIN_COPIED <= len(rest) < BLOCK and self._cache.are_finite(stream.own_blocks[:1])[0]:
                block = stream.own_blocks[0]
                if self._prefixes.keep(stream.path, rest, block, slot.number):
                    stream.row.blocks.remove(block)
        except Exception as error:  # it can only be kept where there is memory
            if not is_out_of_memory(error):
                raise
