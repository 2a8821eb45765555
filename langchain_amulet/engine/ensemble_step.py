"""What came of one step of several models: their log-probabilities, and whose rows are where.

Knows rows of logits and the slots they belong to. Doesn't know how a step is done, or how a token
is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from langchain_amulet.engine.backends.base import Backend, ModelInfo, StepLogits
from langchain_amulet.engine.ensemble_slot import EnsembleSlot
from langchain_amulet.engine.token_program import StepLogprobs


@dataclass(frozen=True)
class StreamRows:
    """Where one request's streams are in a step's log-probabilities, see `StepLogprobs`.

    Attributes:
        rows: The rows of its streams, in their order.
        candidates: The rows of the candidates of each part of its plan's reference; none if they
            aren't known.
    """

    rows: tuple[int, ...]
    candidates: tuple[int, ...] = ()


@dataclass(frozen=True)
class EnsembleStep:
    """What came of one step for one token of each request.

    Attributes:
        logprobs: What all tokens are chosen from; None if there is nothing.
        streams: Where in it each request's streams are, or what one of its models raised.
    """

    logprobs: StepLogprobs | None
    streams: Mapping[EnsembleSlot, StreamRows | Exception]


class StepPool:
    """The log-probabilities of one step, those of all models under each other.

    Args:
        info: The main model's, which says how many columns there are.
        steps: What came of each model's step.
    """

    def __init__(self, info: ModelInfo, steps: Mapping[Backend, StepLogits | Exception]) -> None:
        """Start with the rows of all models of the main one's width, as they are."""
        self._width, self._device, self._steps = info.logits_width, info.device, steps
        self._parts: list[Tensor] = []
        self._starts: dict[Backend, int] = {}
        self._height = 0
        for backend, step in steps.items():
            if isinstance(step, StepLogits) and step.logits.shape[-1] == self._width:
                self._starts[backend] = self._add(step.logits)

    def place(
        self, slot: EnsembleSlot, place: int, candidates: tuple[int, ...]
    ) -> StreamRows | Exception:
        """Where the streams of a request are, or what one of its models raised."""
        sources: dict[int, tuple[Backend, int]] = {}
        for part in slot.parts:
            step = self._steps[part.backend]
            if isinstance(step, Exception):
                return step
            if part.slot in step.failures:
                return step.failures[part.slot]
            sources |= {stream: (part.backend, row) for stream, row in part.rows(place).items()}
        ordered = [sources[stream] for stream in sorted(sources)]
        if all(backend in self._starts for backend, _ in ordered):
            rows = tuple(self._starts[backend] + row for backend, row in ordered)
            return StreamRows(rows, candidates)
        # A model with another width changes what the others' rows are, for this request alone.
        own = [self._logits(backend)[row] for backend, row in ordered]
        start = self._add(on_common_tokens(own, self._width))
        return StreamRows(tuple(range(start, start + len(own))), candidates)

    def filled(self, candidates: Tensor | None) -> StepLogprobs | None:
        """All that was placed; None if that is nothing."""
        if not self._parts:
            return None
        # One model's are used as they are, without a copy of the largest tensor of a step.
        pool = self._parts[0] if len(self._parts) == 1 else torch.cat(self._parts)
        return StepLogprobs(pool, candidates)

    def _logits(self, backend: Backend) -> Tensor:
        step = self._steps[backend]
        assert isinstance(step, StepLogits)
        return step.logits

    def _add(self, rows: Tensor) -> int:
        start = self._height
        self._parts.append(rows.to(self._device))
        self._height += len(rows)
        return start


def on_common_tokens(rows: Sequence[Tensor], width: int) -> Tensor:
    """Rows of several models side by side, over the tokens that all of them have.

    The models' vocabularies are the same but for padding at the end, of which each may have its
    own amount. What isn't common to all is impossible in each.

    Args:
        rows: Log-probabilities of each stream, ``[..., its model's vocabulary]``.
        width: How many columns are wanted.

    Returns:
        Log-probabilities ``[streams, ..., width]``, on the first one's device.
    """
    common = min(width, *(row.shape[-1] for row in rows))
    device = rows[0].device
    stacked = torch.stack([row[..., :common].to(device) for row in rows])
    if all(row.shape[-1] == width for row in rows):
        return stacked
    return nn.functional.pad(stacked.log_softmax(-1), (0, width - common), value=-math.inf)
