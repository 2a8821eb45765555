"""Logits at float32 precision where the choice can fall, whatever the model's dtype.

A bf16 head rounds a logit of 10 to steps of 1/16, and steering multiplies that rounding by its
strength: at the paper's setting one greedy choice in four flips. So a step says, by a
`CandidateQuery` each, which combinations of rows will be chosen from; the best tokens of each are
found on the rounded logits and their columns are computed again in float32. What a model does
after its head (soft caps, scales) is order-preserving and then runs in float32 by itself. Scoring
needs every logit, and takes the time to have all of them in float32.

Knows rows of hidden states and logits only, nothing of requests or methods.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from langchain_amulet.engine.backends.base import CandidateQuery
from langchain_amulet.engine.backends.candidates import best

SMALL_VOCABULARY = 8192
"""Up to this many logits, all are computed in float32, from a copy of the weight that is kept."""


@dataclass
class RefinedPass:
    """What came of a forward pass whose logits were refined.

    Attributes:
        candidates: The best token ids of each query, ``[queries, k]``, k being `CANDIDATES` or
            the vocabulary size if that is smaller; None without queries.
    """

    candidates: Tensor | None = None


class LMHead:
    """A model's output embedding, whose logits can be refined during a forward pass.

    The model is changed only while such a pass runs, and other threads that run it meanwhile
    don't notice.
    """

    def __init__(self, module: nn.Module) -> None:
        """Do nothing to ``module`` yet."""
        self._module = module

    @contextmanager
    def refined(
        self, queries: Sequence[CandidateQuery] = (), exact_ids: Sequence[Tensor] = ()
    ) -> Iterator[RefinedPass]:
        """Refine the logits of the forward pass that this thread does inside the block.

        Args:
            queries: What will be chosen from.
            exact_ids: Token ids that matter besides, ``[ids]`` each, such as the candidates of
                another model. Those that this one lacks don't matter.
        """
        found = RefinedPass()

        def refine(hidden: Tensor, rounded: Tensor) -> Tensor:
            logits = self._float32(hidden, rounded)
            if queries:
                found.candidates = best(logits, queries)
            sought = [*exact_ids, *([] if found.candidates is None else [found.candidates])]
            if sought and self._is_rounded(rounded):
                ids = torch.cat([each.flatten().to(logits.device) for each in sought])
                # To drop what is too many or there twice, one would have to wait for the device.
                self._compute_exactly(logits, hidden, ids.clamp(max=logits.shape[-1] - 1))
            return logits

        with self._hooked(refine):
            yield found

    @contextmanager
    def exact(self) -> Iterator[None]:
        """Have all logits in float32 in the forward pass that this thread does in the block."""

        def refine(hidden: Tensor, rounded: Tensor) -> Tensor:
            logits = self._float32(hidden, rounded)
            if self._is_rounded(rounded):
                # A part at a time, as a float32 copy of the whole weight may not fit.
                every = torch.arange(logits.shape[-1], device=logits.device)
                for ids in torch.split(every, SMALL_VOCABULARY):
                    self._compute_exactly(logits, hidden, ids)
            return logits

        with self._hooked(refine):
            yield

    @contextmanager
    def _hooked(self, refine: Callable[[Tensor, Tensor], Tensor]) -> Iterator[None]:
        """Let ``refine`` make logits of the head's input and output, ``[rows, ...]`` each."""
        thread = threading.get_ident()

        def after_head(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> Any:
            # Another engine may run the same model in its own thread at the same time.
            if threading.get_ident() != thread or not inputs:
                return output
            logits = refine(inputs[0].flatten(0, -2), output.flatten(0, -2))
            return logits.view(output.shape)

        handle = self._module.register_forward_hook(after_head)
        try:
            yield
        finally:
            handle.remove()

    def _float32(self, hidden: Tensor, rounded: Tensor) -> Tensor:
        """The logits in float32: precise where the vocabulary is small, else as they are."""
        small = rounded.shape[-1] <= SMALL_VOCABULARY
        if rounded.dtype == torch.float32 or not small or self._float32_weight is None:
            return rounded.float()
        return nn.functional.linear(hidden.float(), self._float32_weight, self._bias)

    def _is_rounded(self, rounded: Tensor) -> bool:
        """Whether `_float32` leaves the rounding of the model's dtype in the logits."""
        return rounded.dtype != torch.float32 and rounded.shape[-1] > SMALL_VOCABULARY

    def _compute_exactly(self, logits: Tensor, hidden: Tensor, ids: Tensor) -> None:
        """Overwrite the logits of some tokens by precise ones."""
        weight, bias = self._weight, self._bias
        if weight is not None:
            part = None if bias is None else bias[ids]
            exact = nn.functional.linear(hidden.float(), weight[ids].float(), part)
            logits.index_copy_(1, ids, exact)

    @property
    def _weight(self) -> Tensor | None:
        """The head's weight, ``[vocabulary, hidden]``, unless it is quantised or elsewhere."""
        weight = getattr(self._module, "weight", None)
        if not isinstance(weight, Tensor) or weight.is_meta or not weight.is_floating_point():
            return None
        return weight

    @property
    def _bias(self) -> Tensor | None:
        bias = getattr(self._module, "bias", None)
        return bias.float() if isinstance(bias, Tensor) else None

    @cached_property
    def _float32_weight(self) -> Tensor | None:
        """A copy of a small head's weight, kept: converting it would take longer than a step."""
        return None if self._weight is None else self._weight.float()
