"""The fast backend: every stream of every request is a row of one KV slab.

Prompts are prefilled in a slab of their own, so that the decoding slab holds nothing but rows
that decode and each step reads it as a view. A prompt that begins like that of a row which is
already there borrows: it waits for that row and copies what they have in common. So the streams
of a request share what comes before their preferences, samples of one prompt share all of it, and
users of one program share its instructions. The last token of a prompt isn't prefilled: the
request's first decode step feeds it, which makes prefill a pass without a head.

Knows token ids, rows and a model. Doesn't know plans, sampling or callers.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor

from langchain_amulet.engine.backends.attention_masks import attention_masks
from langchain_amulet.engine.backends.base import Prompts, common_prefix
from langchain_amulet.engine.backends.kv_cache import CacheRow, KVCache
from langchain_amulet.engine.loading.model_info import context_length

SMALL_PASS = 32
"""Below this many tokens a pass costs about the same, so padding it is free."""

SMALL_LOAN = 8
"""Fewer tokens than this aren't worth waiting for."""


@dataclass(eq=False)
class BatchedSlot:
    """A request's rows, in the prefill slab first and in the decoding slab once started."""

    prompts: Prompts
    slots: list[CacheRow]
    loans: list[PrefixCopy | None] = field(init=False)
    pending: list[int] = field(init=False)
    is_running: bool = False

    def __post_init__(self) -> None:
        """Each stream's first decode feeds the last token of its prompt."""
        self.pending = [prompt[-1] for prompt in self.prompts]
        self.loans = [None] * len(self.prompts)

    @property
    def is_filled(self) -> bool:
        """Whether its prompts are in, but for their last tokens."""
        sizes = zip(self.slots, self.prompts, strict=True)
        return all(slot.length == len(prompt) - 1 for slot, prompt in sizes)

    @property
    def rows(self) -> list[int]:
        """Where the streams are now."""
        return [slot.index for slot in self.slots]

    def push(self, token: int) -> None:
        """Feed ``token`` to every stream next."""
        self.pending = [token] * len(self.slots)


@dataclass(frozen=True)
class PrefixCopy:
    """The beginning of a prompt that isn't computed, but copied from the row of a lender.

    Attributes:
        lender: The seat that has it, or will have it.
        stream: Which of its streams.
        length: How many tokens.
    """

    lender: BatchedSlot
    stream: int
    length: int

    @property
    def row(self) -> CacheRow:
        """Where the lender's stream is now."""
        return self.lender.slots[self.stream]


@dataclass(frozen=True)
class PrefillJob:
    """Prompt tokens that one row still has to take in."""

    seat: BatchedSlot
    row: CacheRow
    tokens: tuple[int, ...]


class BatchedBackend:
    """Rows of one slab, one forward pass per step for all of them.

    Args:
        model: A causal language model with a key-value cache, in evaluation mode.
        max_rows: The most streams at a time, over all requests.
        prefill_chunk: The most prompt tokens per pass, padding included.
    """

    in_one_pass = True

    def __init__(self, model: Any, max_rows: int, prefill_chunk: int) -> None:
        """Start without rows."""
        self.max_streams = max_rows
        self.prefill_tokens = 0
        self._chunk = prefill_chunk
        self._pass = ForwardPass(model)
        self._prefilling, self._decoding = KVCache(model.device), KVCache(model.device)
        self._waiting: list[BatchedSlot] = []
        self._running: list[BatchedSlot] = []

    @property
    def live_rows(self) -> int:
        """Rows of both slabs."""
        return len(self._prefilling.rows) + len(self._decoding.rows)

    def has_room(self, streams: int) -> bool:
        """Whether that many rows are free."""
        return self.live_rows + streams <= self.max_streams

    def join(self, prompts: Prompts) -> BatchedSlot:
        """Give each stream a row in the prefill slab."""
        seat = BatchedSlot(prompts, [self._prefilling.add() for _ in prompts])
        self._waiting.append(seat)
        seat.loans = [self._loan(seat, stream) for stream in range(len(prompts))]
        return seat

    def leave(self, seat: BatchedSlot) -> None:
        """Free the seat's rows, wherever they are."""
        queue, slab = (
            (self._running, self._decoding)
            if seat.is_running
            else (self._waiting, self._prefilling)
        )
        queue.remove(seat)
        for slot in seat.slots:
            slab.remove(slot)

    def prefill(self) -> dict[BatchedSlot, Exception]:
        """One rectangle of prompt tokens, oldest request first."""
        batch = rectangle(self._jobs(), self._chunk)
        failed: dict[BatchedSlot, Exception] = {}
        if batch:
            try:
                self._compute(batch)
            except Exception as error:  # whatever a forward pass can raise, out of memory too
                failed = {job.seat: error for job in batch}
        for seat in [seat for seat in self._waiting if seat not in failed]:
            try:
                for stream in range(len(seat.loans)):
                    self._borrow(seat, stream)
            except Exception as error:  # no memory for its rows
                failed[seat] = error
        return failed

    def start(self, seat: BatchedSlot) -> None:
        """Move the seat's rows to the decoding slab, or leave all as it was."""
        moved = self._decoding.adopt(self._prefilling, seat.slots)
        self.leave(seat)
        seat.slots, seat.is_running = moved, True
        self._running.append(seat)

    def decode(self, forward: Callable[[Callable[[], Tensor]], Tensor]) -> Tensor:
        """Feed every running stream its pending token."""
        slab = self._decoding
        tokens = torch.zeros(len(slab.rows), 1, dtype=torch.long)
        for seat in self._running:
            for slot, token in zip(seat.slots, seat.pending, strict=True):
                tokens[slot.index] = token
        logits = forward(lambda: self._pass.logits(slab, slab.rows, tokens.to(slab.device)))
        for row in slab.rows:
            row.length += 1
        return logits

    def _jobs(self) -> Iterator[PrefillJob]:
        for seat in self._waiting:
            for slot, prompt, loan in zip(seat.slots, seat.prompts, seat.loans, strict=True):
                if loan is None and slot.length < len(prompt) - 1:
                    yield PrefillJob(seat, slot, prompt[slot.length : -1])

    def _loan(self, seat: BatchedSlot, stream: int) -> PrefixCopy | None:
        """The longest beginning that an older row can lend.

        Older ones only, so that no two wait for each other.
        """
        older = [*self._running, *takewhile(lambda other: other is not seat, self._waiting)]
        lenders = [(other, index) for other in older for index in range(len(other.prompts))]
        lenders += [(seat, index) for index in range(stream)]
        body = seat.prompts[stream][:-1]
        loans = (
            PrefixCopy(lender, index, common_prefix(lender.prompts[index][:-1], body))
            for lender, index in lenders
        )
        longest = max(loans, key=lambda loan: loan.length, default=None)
        return longest if longest and longest.length >= SMALL_LOAN else None

    def _compute(self, batch: list[PrefillJob]) -> None:
        width = max(len(job.tokens) for job in batch)
        padded = [job.tokens + (0,) * (width - len(job.tokens)) for job in batch]
        tokens = torch.tensor(padded, device=self._prefilling.device)
        self._pass.fill(self._prefilling, [job.row for job in batch], tokens)
        for job in batch:
            job.row.length += len(job.tokens)
            self.prefill_tokens += len(job.tokens)

    def _borrow(self, seat: BatchedSlot, stream: int) -> None:
        """Copy what a stream borrows, once it is there."""
        loan = seat.loans[stream]
        if loan and loan.lender not in (*self._running, *self._waiting):  # who left meanwhile
            loan = seat.loans[stream] = self._loan(seat, stream)
        if loan and loan.row.length >= loan.length:
            seat.loans[stream] = None
            slab = self._decoding if loan.lender.is_running else self._prefilling
            # One NaN in a pass spreads to the tokens before it: zero times NaN is NaN.
            if slab.is_finite(loan.row, loan.length):
                self._prefilling.take(seat.slots[stream], slab, loan.row, loan.length)


def rectangle(jobs: Iterator[PrefillJob], budget: int) -> list[PrefillJob]:
    """Pick jobs for one padded pass of at most ``budget`` tokens, the first one always.

    Jobs are cut to the budget. One joins if the padding stays cheap: in a small pass, or where
    at least two thirds of the rectangle are real tokens.
    """
    picked: list[PrefillJob] = []
    width = real = 0
    for job in jobs:
        tokens = job.tokens[:budget]
        wider = max(width, len(tokens))
        area = wider * (len(picked) + 1)
        cheap = area <= SMALL_PASS or 2 * area <= 3 * (real + len(tokens))
        if picked and (area > budget or not cheap):
            continue
        picked.append(PrefillJob(job.seat, job.row, tokens))
        width, real = wider, real + len(tokens)
    return picked


class ForwardPass:
    """Calls a Hugging Face causal language model on rows of a slab."""

    def __init__(self, model: Any) -> None:
        """Read off what the model's ``forward`` can be told."""
        self._model = model
        self._config = model.config.get_text_config(decoder=True)
        self._last_position = (context_length(model.config) or 2**62) - 1

    def logits(self, slab: KVCache, rows: list[CacheRow], tokens: Tensor) -> Tensor:
        """Feed one token to each row: logits ``[rows, vocabulary]``, float32."""
        output = self._run(self._model, slab, rows, tokens)
        logits: Tensor = output.logits
        return logits[:, -1].float()

    def fill(self, slab: KVCache, rows: list[CacheRow], tokens: Tensor) -> None:
        """Put tokens ``[rows, tokens]`` into the cache; no logits are computed."""
        self._run(self._model.base_model, slab, rows, tokens)

    def _run(self, module: Any, slab: KVCache, rows: list[CacheRow], tokens: Tensor) -> Any:
        window = slab.aim(rows, tokens.shape[1])
        masks = attention_masks(self._config, window.positions, window.columns, self._model.dtype)
        optional = {}
        if "position_ids" in inspect.signature(module.forward).parameters:
            # Padding may run past the last position the model has an embedding for.
            optional["position_ids"] = window.positions.clamp(max=self._last_position)
        return module(
            input_ids=tokens,
            attention_mask=masks,
            past_key_values=slab.cache,
            use_cache=True,
            **optional,
        )
