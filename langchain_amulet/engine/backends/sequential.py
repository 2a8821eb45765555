"""The slow backend: one request at a time, each stream with the library's own cache.

For models whose state isn't a row of keys and values: recurrent and hybrid ones, and attention
whose bias depends on how the cache is laid out (ALiBi). Prompts are prefilled whole, since not
every recurrent model can continue one with more than a single token.
Knows token ids and a model. Doesn't know plans, sampling or callers.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from langchain_amulet.engine.backends.base import Prompts

MAX_STREAMS = 64


@dataclass(eq=False)
class SequentialSlot:
    """A request's streams, each with its own cache."""

    prompts: Prompts
    caches: list[Any] = field(init=False)
    lengths: list[int] = field(init=False)
    pending: list[int] = field(init=False)
    is_filled: bool = False

    def __post_init__(self) -> None:
        """Start with no caches; the last token of each prompt is fed by the first decode."""
        self.caches = [None] * len(self.prompts)
        self.lengths = [0] * len(self.prompts)
        self.pending = [prompt[-1] for prompt in self.prompts]

    @property
    def rows(self) -> list[int]:
        """The streams in order: nobody else is there."""
        return list(range(len(self.prompts)))

    def push(self, token: int) -> None:
        """Feed ``token`` to every stream next."""
        self.pending = [token] * len(self.prompts)


class SequentialBackend:
    """One request at a time through the model's own generation cache."""

    in_one_pass = False
    max_streams = MAX_STREAMS

    def __init__(self, model: Any) -> None:
        """Start without a request."""
        self._model = model
        self._seat: SequentialSlot | None = None
        parameters = inspect.signature(model.forward).parameters
        self._cache_name = "cache_params" if "cache_params" in parameters else "past_key_values"
        self._takes_positions = "position_ids" in parameters
        self.prefill_tokens = 0

    @property
    def live_rows(self) -> int:
        """Streams of the request that is being served."""
        return len(self._seat.prompts) if self._seat else 0

    def has_room(self, streams: int) -> bool:
        """Whether no request is being served."""
        return self._seat is None

    def join(self, prompts: Prompts) -> SequentialSlot:
        """Serve this request until it leaves."""
        self._seat = SequentialSlot(prompts)
        return self._seat

    def leave(self, seat: SequentialSlot) -> None:
        """Drop the caches."""
        self._seat = None

    def prefill(self) -> dict[SequentialSlot, Exception]:
        """Put every prompt but its last token into its cache; equal prompts once."""
        seat = self._seat
        if seat is None or seat.is_filled:
            return {}
        try:
            self._fill(seat)
        except Exception as error:  # whatever a forward pass can raise
            return {seat: error}
        seat.is_filled = True
        return {}

    def start(self, seat: SequentialSlot) -> None:
        """Nothing to do: whoever is here decodes whenever it is asked to."""

    def decode(self, forward: Callable[[Callable[[], Tensor]], Tensor]) -> Tensor:
        """Feed each stream its pending token."""
        seat = self._seat
        if seat is None:
            raise RuntimeError("A request must join before it can decode.")
        return forward(lambda: torch.cat([self._step(seat, i) for i in seat.rows]))

    def _fill(self, seat: SequentialSlot) -> None:
        computed: dict[tuple[int, ...], Any] = {}
        for index, prompt in enumerate(seat.prompts):
            body = prompt[:-1]
            if body and body not in computed:
                computed[body] = self._run(None, body, 0)[1]
                self.prefill_tokens += len(body)
                seat.caches[index] = computed[body]
            elif body:
                seat.caches[index] = copy.deepcopy(computed[body])
            seat.lengths[index] = len(body)

    def _step(self, seat: SequentialSlot, stream: int) -> Tensor:
        logits, seat.caches[stream] = self._run(
            seat.caches[stream], (seat.pending[stream],), seat.lengths[stream]
        )
        seat.lengths[stream] += 1
        return logits

    def _run(self, cache: Any, tokens: tuple[int, ...], start: int) -> tuple[Tensor, Any]:
        device = self._model.device
        inputs: dict[str, Any] = {
            "input_ids": torch.tensor([tokens], device=device),
            self._cache_name: cache,
            "use_cache": True,
        }
        if self._takes_positions:
            inputs["position_ids"] = torch.arange(start, start + len(tokens), device=device)[None]
        output = self._model(**inputs)
        return output.logits[:, -1].float(), getattr(output, self._cache_name)
