"""The slow backend: one request at a time, each stream with the library's own cache.

For models whose state isn't a row of keys and values: recurrent and hybrid ones, and attention
whose bias depends on how the cache is laid out (ALiBi). Prompts are prefilled whole, since not
every recurrent model can continue one with more than a single token. For the same reason nothing is
kept for the next request: a recurrent state can't be cut back to the beginning that two prompts
have in common.

Knows token ids and a model. Doesn't know plans, sampling or callers.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from langchain_amulet.engine.backends.base import (
    PROCESS,
    CacheScope,
    CandidateQuery,
    LoadedModel,
    Prompts,
    StepLogits,
)
from langchain_amulet.engine.backends.huggingface.backend import HuggingFaceBackend
from langchain_amulet.engine.backends.huggingface.causal_lm import CausalLM


@dataclass(eq=False)
class SequentialSlot:
    """A request's streams, each with its own cache."""

    prompts: Prompts
    caches: list[Any] = field(init=False)
    lengths: list[int] = field(init=False)
    pending: list[int] = field(init=False)
    is_prefilled: bool = False

    def __post_init__(self) -> None:
        """Start with no caches; the last token of each prompt is fed by the first decode."""
        self.caches = [None] * len(self.prompts)
        self.lengths = [0] * len(self.prompts)
        self.pending = [prompt[-1] for prompt in self.prompts]

    @property
    def rows(self) -> list[int]:
        """The streams in order: nobody else is there."""
        return list(range(len(self.prompts)))

    @property
    def cached_tokens(self) -> list[int]:
        """Nothing is kept."""
        return [0] * len(self.prompts)

    def feed(self, token: int) -> None:
        """Feed ``token`` to every stream next."""
        self.pending = [token] * len(self.prompts)


class SequentialBackend(HuggingFaceBackend):
    """One request at a time through the model's own generation cache."""

    name = "sequential"
    shares_pass = False

    def __init__(
        self,
        model: LoadedModel,
        lm: CausalLM,
        max_rows: int,
        prefill_chunk: int,
        kv_cache_memory: int | None = None,
    ) -> None:
        """Start without a request."""
        super().__init__(model, lm, max_rows, prefill_chunk, kv_cache_memory)
        self._slot: SequentialSlot | None = None

    @property
    def live_rows(self) -> int:
        """Streams of the request that is being served."""
        return len(self._slot.prompts) if self._slot else 0

    def has_room(self, prompts: Prompts, max_tokens: int, scope: CacheScope = PROCESS) -> bool:
        """Whether no request is being served."""
        return self._slot is None

    def join(
        self, prompts: Prompts, max_tokens: int, scope: CacheScope = PROCESS
    ) -> SequentialSlot:
        """Serve this request until it leaves."""
        self._slot = SequentialSlot(prompts)
        return self._slot

    def leave(self, slot: SequentialSlot) -> None:
        """Drop the caches."""
        self._slot = None

    def prefill(self) -> dict[SequentialSlot, Exception]:
        """Put every prompt but its last token into its cache; equal prompts once."""
        slot = self._slot
        if slot is None or slot.is_prefilled:
            return {}
        try:
            self._fill(slot)
        except Exception as error:  # whatever a forward pass can raise
            return {slot: error}
        slot.is_prefilled = True
        return {}

    def start(self, slot: SequentialSlot) -> None:
        """Nothing to do: whoever is here decodes whenever it is asked to."""

    def decode(
        self, queries: Sequence[CandidateQuery] = (), exact_ids: Sequence[Tensor] = ()
    ) -> StepLogits:
        """Feed each stream its pending token.

        A stream's pass knows no other's logits, so sums over rows can't be sought: each row's own
        best tokens are made precise instead, and the whole vocabulary is looked through.
        """
        slot = self._slot
        if slot is None:
            raise RuntimeError("A request must join before it can decode.")
        steps = [
            self._feed(slot, stream, (token,), exact_ids)
            for stream, token in enumerate(slot.pending)
        ]
        return StepLogits(torch.cat([step.logits for step in steps]))

    def _fill(self, slot: SequentialSlot) -> None:
        first: dict[tuple[int, ...], int] = {}
        for stream, prompt in enumerate(slot.prompts):
            body = prompt[:-1]
            # The first decode step feeds a prompt of one token whole.
            if not body:
                continue
            # Copied whole, as the library's caches are written in place.
            if body in first:
                slot.caches[stream] = copy.deepcopy(slot.caches[first[body]])
                slot.lengths[stream] = len(body)
            else:
                first[body] = stream
                self._feed(slot, stream, body)
                self.prefill_tokens += len(body)

    def _feed(
        self,
        slot: SequentialSlot,
        stream: int,
        tokens: tuple[int, ...],
        exact_ids: Sequence[Tensor] = (),
    ) -> StepLogits:
        """Run a stream's next tokens through the model: logits ``[1, logits_width]``."""
        device, start = self._lm.device, slot.lengths[stream]
        logits, slot.caches[stream] = self._lm.next_logits(
            torch.tensor([tokens], device=device),
            torch.arange(start, start + len(tokens), device=device)[None],
            slot.caches[stream],
            queries=[((0, 1.0),)],
            exact_ids=exact_ids,
        )
        slot.lengths[stream] += len(tokens)
        return logits
