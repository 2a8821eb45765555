"""The simplest backend: a function from tokens to logits, without anything kept between steps.

For models that have no cache, or are so fast that they need none, for experiments, and for tests.
Each step reads every stream from its beginning, all streams in one call.

Knows token ids and a function. Doesn't know plans, sampling or callers.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from langchain_amulet.engine.backends.base import (
    PROCESS,
    Backend,
    CacheScope,
    CandidateQuery,
    LoadedModel,
    ModelInfo,
    Prompts,
    StepLogits,
    Steps,
)
from langchain_amulet.engine.backends.halving import decode_in_halves
from langchain_amulet.errors import GenerationError


class UncachedModel(LoadedModel):
    """A model that is nothing but a function: override `next_logits`, and that is all.

    Args:
        tokenizer: See `LoadedModel`.
        info: What may be known of the model.
    """

    def __init__(self, tokenizer: Any, info: ModelInfo) -> None:
        """Keep both."""
        self.tokenizer, self._info = tokenizer, info

    @property
    def info(self) -> ModelInfo:
        """What may be known of the model."""
        return self._info

    @abstractmethod
    def next_logits(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """What follows each of some sequences of tokens.

        Args:
            sequences: Token ids, at least one in each.

        Returns:
            ``[sequences, info.logits_width]``, normalised or not.
        """

    def new_backend(
        self, max_rows: int, prefill_chunk: int, kv_cache_memory: int | None = None
    ) -> Backend:
        """What keeps the requests' tokens for one engine."""
        return UncachedBackend(self, max_rows)


@dataclass(eq=False)
class UncachedSlot:
    """A request's tokens, the prompt's and those that followed.

    Attributes:
        sequences: One list of token ids per stream.
        draft: What may follow in all of them.
        rows: Where they are in the next step's logits.
    """

    sequences: list[list[int]]
    draft: Sequence[int] = ()
    rows: list[int] = field(default_factory=list)
    is_prefilled: bool = True  # there is nothing to prefill

    @property
    def read(self) -> list[list[int]]:
        """What the next step reads: the sequences, and again with each beginning of the draft."""
        begun = [self.draft[:length] for length in range(len(self.draft) + 1)]
        return [[*sequence, *draft] for draft in begun for sequence in self.sequences]

    @property
    def cached_tokens(self) -> list[int]:
        """Nothing is kept."""
        return [0] * len(self.sequences)

    def feed(self, token: int) -> None:
        """Let ``token`` follow in every stream."""
        for sequence in self.sequences:
            sequence.append(token)


class UncachedBackend(Backend):
    """Lists of tokens, which the model reads anew at each step."""

    name = "uncached"
    takes_drafts = True

    def __init__(self, model: UncachedModel, max_rows: int) -> None:
        """Start without requests."""
        super().__init__(model)
        self._uncached, self._max_rows = model, max_rows
        self._joined: list[UncachedSlot] = []
        self._decoding: list[UncachedSlot] = []

    @property
    def live_rows(self) -> int:
        """Streams of the requests that are here."""
        return sum(len(slot.sequences) for slot in self._joined)

    def has_room(self, prompts: Prompts, max_tokens: int, scope: CacheScope = PROCESS) -> bool:
        """Whether there is a free row for each of the streams."""
        return self.live_rows + len(prompts) <= self._max_rows

    def join(self, prompts: Prompts, max_tokens: int, scope: CacheScope = PROCESS) -> UncachedSlot:
        """Keep the prompts."""
        slot = UncachedSlot([list(prompt) for prompt in prompts])
        self._joined.append(slot)
        return slot

    def leave(self, slot: UncachedSlot) -> None:
        """Forget a request's tokens."""
        self._joined.remove(slot)
        self._decoding = [other for other in self._decoding if other is not slot]
        self._place_rows()

    def prefill(self) -> dict[UncachedSlot, Exception]:
        """Nothing to do: prompts are read at each step."""
        return {}

    def start(self, slot: UncachedSlot) -> None:
        """Let a request take part in the steps."""
        self._decoding.append(slot)
        self._place_rows()

    def draft(self, drafts: Mapping[Any, Sequence[int]]) -> None:
        """Read drafts behind the sequences, in the next step only."""
        for slot in self._decoding:
            slot.draft = drafts.get(slot, ())
        self._place_rows()

    def decode(
        self, queries: Sequence[CandidateQuery] = (), exact_ids: Sequence[Tensor] = ()
    ) -> StepLogits:
        """Read all sequences; the logits are as precise as the model gives them."""

        def compute(slots: Sequence[UncachedSlot], _: Sequence[CandidateQuery]) -> StepLogits:
            return StepLogits(self.read([each for slot in slots for each in slot.read]))

        return decode_in_halves(self._decoding, (), compute)

    def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Steps[Tensor]:
        """Read the prompt with each beginning of the continuation, as many in a step as rows."""
        begun = [[*prompt, *continuation[:length]] for length in range(len(continuation))]
        found: list[Tensor] = []
        for start in range(0, len(begun), self._max_rows):
            found.append(self.read(begun[start : start + self._max_rows]))
            yield
        return torch.cat(found)

    def beams(self, prompt: Sequence[int]) -> UncachedBeams:
        """Lists of tokens, too."""
        return UncachedBeams(self, prompt)

    def read(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        """What follows each of some sequences, ``[sequences, logits_width]``, for one's own use.

        Raises:
            GenerationError: The model gives something else.
        """
        logits = self._uncached.next_logits(sequences)
        shape = (len(sequences), self._uncached.info.logits_width)
        if logits.shape != shape:
            raise GenerationError(
                f"{type(self._uncached).__name__}.next_logits must give a row of {shape[1]} logits "
                f"for each of {shape[0]} sequences, but gave {list(logits.shape)}. Mend it, or the "
                "model's info."
            )
        # A copy, as the caller may overwrite it, and the model may have given a part of itself.
        return logits.to(torch.float32, copy=True)

    def _place_rows(self) -> None:
        place = 0
        for slot in self._decoding:
            height = len(slot.sequences) * (1 + len(slot.draft))
            slot.rows = list(range(place, place + height))
            place += height


class UncachedBeams:
    """`Beams` whose tokens are all that is kept of them.

    Args:
        backend: Who reads them.
        prompt: What all begin with.
    """

    def __init__(self, backend: UncachedBackend, prompt: Sequence[int]) -> None:
        """Read nothing yet."""
        self._backend, self._sequences = backend, [[*prompt]]

    def begin(self) -> Steps[Tensor]:
        """Read the prompt."""
        yield
        return self._backend.read(self._sequences)

    def extend(self, parents: Sequence[int], tokens: Sequence[int]) -> Steps[Tensor]:
        """Read all sequences from their beginning."""
        pairs = zip(parents, tokens, strict=True)
        self._sequences = [[*self._sequences[parent], token] for parent, token in pairs]
        yield
        return self._backend.read(self._sequences)
