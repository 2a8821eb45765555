"""The backend of GGUF files: every stream of every request is a sequence of one llama.cpp context.

A step is one batch with a token for each stream. What streams have in common they share by copying
sequences, which moves nothing: positions belong to several of them then. The streams of a request
share what comes before their preferences; other requests of an equal scope share what is there of
those that are under way, and of those that left, which stay until their room is needed.

The context has all its memory from the start, and a request is let in where there is room for all
that it may ever hold.

Knows token ids, sequences and a context. Doesn't know plans, sampling or callers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from langchain_amulet.engine.backends.base import (
    PROCESS,
    Backend,
    CacheScope,
    CacheUse,
    CandidateQuery,
    LoadedModel,
    Prompts,
    StepLogits,
    Steps,
    common_prefix,
)
from langchain_amulet.engine.backends.free_memory import kv_cache_budget
from langchain_amulet.engine.backends.halving import decode_in_halves, in_halves
from langchain_amulet.engine.backends.llama_cpp.context import Fed, LlamaContext, LlamaModel
from langchain_amulet.engine.backends.llama_cpp.library import MAX_SEQUENCES
from langchain_amulet.engine.backends.llama_cpp.sequences import (
    LlamaSequence,
    LlamaSlot,
    leads,
    positions,
)
from langchain_amulet.errors import ContextLengthError

POSITIONS_PER_ROW = 256
"""For how many tokens of each row there is room where a program doesn't say how much memory."""

MIN_SHARED = 8
"""Fewer tokens than this are sooner computed than waited for, and not worth to be kept."""


class LlamaCppBackend(Backend):
    """Sequences of one context, one batch per step for all of them."""

    name = "llama_cpp"

    def __init__(
        self,
        model: LoadedModel,
        weights: LlamaModel,
        dtype: str,
        max_rows: int,
        prefill_chunk: int,
        kv_cache_memory: int | None = None,
    ) -> None:
        """Allocate the context, without requests."""
        super().__init__(model)
        self._weights, self._dtype = weights, dtype
        self._max_rows, self._chunk = min(max_rows, MAX_SEQUENCES), prefill_chunk
        self._bytes = weights.bytes_per_token(dtype)
        self._limit = self._affordable(kv_cache_memory)
        numbers = min(2 * self._max_rows, MAX_SEQUENCES)
        batch = max(self._max_rows, prefill_chunk)
        # The library ends the process over a context of fewer positions than sequences.
        size = max(self._limit, numbers)
        self._context = LlamaContext(weights, size, numbers, batch, dtype)
        self._free = list(range(numbers))
        self._kept: list[LlamaSequence] = []  # in the order in which they may go
        self._waiting: list[LlamaSlot] = []
        self._decoding: list[LlamaSlot] = []

    @property
    def live_rows(self) -> int:
        """Sequences of all requests that are here."""
        return sum(len(slot.streams) for slot in self._slots)

    @property
    def cache_use(self) -> CacheUse:
        """The context's memory, which is there from the start, and the tokens in it."""
        own = sum(max(0, each.length - each.led) for slot in self._slots for each in slot.streams)
        nbytes = self._context.positions * self._bytes
        return CacheUse(nbytes, nbytes, own + sum(each.length for each in [*self._kept]))

    def check_memory(self, prompts: Prompts, max_tokens: int) -> None:
        """Refuse a request that exceeds the context, were it alone there."""
        needed = positions(prompts, max_tokens, self._weights.keeps_positions)
        if needed > self._limit:
            raise ContextLengthError(
                f"The keys and values of a request must fit kv_cache_memory, here "
                f"{self._limit * self._bytes} bytes for {self._limit} tokens of {self._bytes} "
                f"bytes, but prompts of {[len(prompt) for prompt in prompts]} tokens with "
                f"max_tokens={max_tokens} each take {needed} tokens. Raise kv_cache_memory to at "
                f"least {needed * self._bytes}, lower max_tokens or shorten the conversation."
            )

    def has_room(self, prompts: Prompts, max_tokens: int, scope: CacheScope = PROCESS) -> bool:
        """Whether there are rows for its streams, and positions for all that they may hold."""
        needed = positions(prompts, max_tokens, self._weights.keeps_positions)
        is_row_free = self.live_rows + len(prompts) <= self._max_rows
        return is_row_free and self._promised + needed <= self._limit

    def join(self, prompts: Prompts, max_tokens: int, scope: CacheScope = PROCESS) -> LlamaSlot:
        """Give each stream a sequence, which kept ones make room for."""
        needed = positions(prompts, max_tokens, self._weights.keeps_positions)
        self._make_room(prompts, needed, scope)
        streams: list[LlamaSequence] = []
        for place, prompt in enumerate(prompts):
            stream = LlamaSequence(self._free.pop(), [*prompt], scope)
            if self._weights.keeps_positions:
                leader, stream.led = leads([p[:-1] for p in prompts], place)
                stream.leader = streams[leader] if stream.led else None
            streams.append(stream)
        slot = LlamaSlot(streams, needed)
        self._waiting.append(slot)
        return slot

    def leave(self, slot: LlamaSlot) -> None:
        """Free the slot's sequences, but for those that stay for others."""
        (self._waiting if slot.first_row is None else self._decoding).remove(slot)
        slot.first_row = None
        self._place_rows()
        for stream in slot.streams:
            del stream.tokens[stream.length :]
            stream.leader = None
            if self._is_worth_keeping(stream):
                self._kept.append(stream)
            else:
                self._drop(stream)

    def prefill(self) -> dict[LlamaSlot, Exception]:
        """One batch of prompt tokens, oldest request first."""
        batch = list(self._chunks())
        failed: dict[LlamaSlot, Exception] = {}
        for parts, error in in_halves(batch, self._compute) if batch else ():
            if error is not None:
                failed |= {slot: error for slot, _, _ in parts}
        return failed

    def start(self, slot: LlamaSlot) -> None:
        """Let the slot's sequences take part in the steps."""
        self._waiting.remove(slot)
        self._decoding.append(slot)
        self._place_rows()

    def decode(
        self, queries: Sequence[CandidateQuery] = (), exact_ids: Sequence[Tensor] = ()
    ) -> StepLogits:
        """Feed every decoding stream its pending token; the library's head isn't rounded."""

        def compute(slots: Sequence[LlamaSlot], _: Sequence[CandidateQuery]) -> StepLogits:
            streams = [stream for slot in slots for stream in slot.streams]
            fed = [Fed(each.number, each.tokens[each.length :], each.length, 1) for each in streams]
            logits = self._context.decode(fed)
            for stream in streams:
                stream.length += 1
            return StepLogits(logits)

        return decode_in_halves(self._decoding, queries, compute)

    def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Steps[Tensor]:
        """The logits at every place of a continuation, in a context of its own."""
        tokens = (*prompt, *continuation[:-1])
        context = LlamaContext(self._weights, len(tokens), 1, self._chunk, self._dtype)
        first, found = len(prompt) - 1, list[Tensor]()
        for start in range(0, len(tokens), self._chunk):
            part = tokens[start : start + self._chunk]
            outputs = min(len(part), max(0, start + len(part) - first))
            found.append(context.decode([Fed(0, part, start, outputs)]))
            yield
        return torch.cat(found)

    # --- Room ---

    @property
    def _slots(self) -> list[LlamaSlot]:
        return [*self._decoding, *self._waiting]

    @property
    def _promised(self) -> int:
        return sum(slot.reserved for slot in self._slots)

    def _affordable(self, memory: int | None) -> int:
        """For how many tokens there is room: as many as fit ``memory``, or else a few for each row.

        All of it is taken at once, so that what could be isn't what is by default.
        """
        if memory is not None:
            return memory // self._bytes
        wanted = max(self.model.info.context_length or 0, POSITIONS_PER_ROW * self._max_rows)
        return min(wanted, kv_cache_budget(torch.device("cpu")) // self._bytes)

    def _make_room(self, prompts: Prompts, needed: int, scope: CacheScope) -> None:
        """Let kept sequences go, least recently used first, those that help the prompts last."""
        for prompt in prompts:
            of_use = max(
                (each for each in self._kept if each.scope == scope),
                key=lambda each: common_prefix(each.tokens, prompt),
                default=None,
            )
            if of_use is not None:
                self._kept.remove(of_use)
                self._kept.append(of_use)
        held = sum(each.length for each in self._kept)
        while self._kept and (
            len(self._free) < len(prompts) or self._promised + needed + held > self._limit
        ):
            held -= self._kept[0].length
            self._drop(self._kept.pop(0))

    def _is_worth_keeping(self, stream: LlamaSequence) -> bool:
        """Whether others may take over what it has; where one begins another, the longer stays."""
        if not (stream.scope.keeps and self._weights.keeps_positions):
            return False
        for other in [each for each in self._kept if each.scope == stream.scope]:
            common = common_prefix(other.tokens, stream.tokens)
            if common == stream.length:
                return False
            if common == other.length:
                self._kept.remove(other)
                self._drop(other)
        return stream.length >= MIN_SHARED

    def _drop(self, stream: LlamaSequence) -> None:
        self._context.cut(stream.number)
        self._free.append(stream.number)

    def _place_rows(self) -> None:
        place = 0
        for slot in self._decoding:
            slot.first_row = place
            place += len(slot.streams)

    # --- Prompts ---

    def _chunks(self) -> Iterator[tuple[LlamaSlot, LlamaSequence, list[int]]]:
        """What the next batch computes of prompts, once what is there was taken over."""
        budget = self._chunk
        earlier: list[LlamaSequence] = []
        for slot in self._waiting:
            for stream in slot.streams:
                if self._is_ready(stream, earlier) and not stream.is_prefilled and budget:
                    end = min(stream.length + budget, stream.size - 1)
                    budget -= end - stream.length
                    stream.has_begun = True
                    yield slot, stream, stream.tokens[stream.length : end]
                earlier.append(stream)

    def _compute(self, batch: Sequence[tuple[LlamaSlot, LlamaSequence, list[int]]]) -> None:
        self._context.decode([Fed(each.number, part, each.length) for _, each, part in batch])
        for _, stream, part in batch:
            stream.length += len(part)
            self.prefill_tokens += len(part)

    def _is_ready(self, stream: LlamaSequence, earlier: Sequence[LlamaSequence]) -> bool:
        """Take over what is there; whether what comes next must be computed here.

        Where an earlier stream is about to compute the same, this one waits for it.
        """
        if stream.has_begun or not self._weights.keeps_positions:
            return True
        if stream.leader is not None and stream.length < stream.led:
            if stream.leader.length < stream.led:
                return False
            self._take(stream, stream.leader, stream.led)
            stream.cached = min(stream.led, stream.leader.cached)
        body = stream.body
        others = [*self._kept, *(each for slot in self._slots for each in slot.streams)]
        for other in others:
            if other is stream or other.scope != stream.scope:
                continue
            common = common_prefix(other.computed, body)
            if common >= stream.length + MIN_SHARED:
                stream.cached += common - stream.length if stream.cached == stream.length else 0
                self._take(stream, other, common)
        return not any(
            other.scope == stream.scope
            and common_prefix(other.body, body) >= max(stream.length, other.length) + MIN_SHARED
            for other in earlier
        )

    def _take(self, stream: LlamaSequence, source: LlamaSequence, length: int) -> None:
        self._context.copy(source.number, stream.number, stream.length, length)
        stream.length = length
