"""Logits at float32 precision where the choice can fall, whatever the model's dtype.

A bf16 head rounds a logit of 10 to steps of 1/16, and steering multiplies that rounding by its
strength: at the paper's setting one greedy choice in four flips. So the engine says, by a
``CandidateQuery`` each, which combinations of rows it will choose from; the best tokens of each are
found on the rounded logits and their columns are computed again in float32. What a model does
after its head (soft caps, scales) is order-preserving and then runs in float32 by itself. Scoring
needs every logit, and takes the time to have all of them in float32.

Knows rows of hidden states and logits only, nothing of requests or methods.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

CandidateQuery = tuple[tuple[int, float], ...]
"""A combination to choose from: (row, weight) pairs. One row alone is ``((row, 1.0),)``."""

CANDIDATES = 64
SMALL_VOCABULARY = 8192


class LMHead:
    """Watches a model's output embedding while the engine runs it.

    Attributes:
        candidates: After a forward pass inside ``watch``, the best token ids of each scout,
            ``[scouts, k]``, k being ``CANDIDATES`` or the vocabulary size if that is smaller.
    """

    def __init__(self, module: nn.Module) -> None:
        """Attach to ``module``; other threads that run the model don't notice."""
        self.candidates: Tensor | None = None
        self._scouts: Sequence[CandidateQuery] | None = None
        self._others: Tensor | None = None
        self._thread: int | None = None
        self._is_exact = False
        self._wide: Tensor | None = None
        self._hook = module.register_forward_hook(self._after)

    def detach(self) -> None:
        """Leave the model as it was found."""
        self._hook.remove()
        self._wide = None

    @contextmanager
    def watch(
        self, scouts: Sequence[CandidateQuery] | None, others: Tensor | None = None
    ) -> Iterator[None]:
        """Work on the forward passes that this thread does inside the block.

        Args:
            scouts: What will be chosen from; ``None`` for each row of each pass by itself.
            others: Token ids that matter besides, ``[ids]``, such as another model's candidates.
        """
        self._scouts, self._thread = scouts, threading.get_ident()
        self._others, self.candidates = others, None
        try:
            yield
        finally:
            self._thread = None

    @contextmanager
    def exact(self) -> Iterator[None]:
        """Have all logits in float32 in the forward passes that this thread does in the block."""
        self._is_exact, self._thread = True, threading.get_ident()
        try:
            yield
        finally:
            self._is_exact, self._thread = False, None

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if self._thread != threading.get_ident() or not args:
            return output
        hidden, shape = args[0].flatten(0, -2), output.shape
        if self._is_exact:
            return self._exact(module, hidden, output.flatten(0, -2)).view(shape)
        logits = self._logits(module, hidden, output.flatten(0, -2))
        scouts = _each(logits) if self._scouts is None else self._scouts
        if scouts:
            self.candidates = _best(logits, scouts)
        sought = [ids.flatten() for ids in (self.candidates, self._others) if ids is not None]
        if sought and output.dtype != torch.float32 and shape[-1] > SMALL_VOCABULARY:
            ids = torch.cat(sought)
            _refine(logits, hidden, module, ids[ids < shape[-1]])
        return logits.view(shape)

    def _logits(self, module: nn.Module, hidden: Tensor, rounded: Tensor) -> Tensor:
        weight = _dense_weight(module)
        if rounded.dtype == torch.float32 or weight is None:
            return rounded.float()
        if len(weight) > SMALL_VOCABULARY:
            return rounded.float()
        if self._wide is None:
            self._wide = weight.float()
        return nn.functional.linear(hidden.float(), self._wide, _bias(module))

    def _exact(self, module: nn.Module, hidden: Tensor, rounded: Tensor) -> Tensor:
        logits = self._logits(module, hidden, rounded)
        vocabulary = logits.shape[-1]
        if rounded.dtype != torch.float32 and vocabulary > SMALL_VOCABULARY:
            # A part at a time, as a float32 copy of the whole weight may not fit.
            every = torch.arange(vocabulary, device=logits.device)
            for ids in torch.split(every, SMALL_VOCABULARY):
                _refine(logits, hidden, module, ids)
        return logits


def _each(logits: Tensor) -> Sequence[CandidateQuery]:
    return [((row, 1.0),) for row in range(len(logits))]


def _best(logits: Tensor, scouts: Sequence[CandidateQuery]) -> Tensor:
    finite = logits.nan_to_num(nan=-torch.inf) if torch.isnan(logits.sum()) else logits
    views = [_combined(finite, scout) for scout in scouts]
    k = min(CANDIDATES, logits.shape[-1])
    return torch.stack(views).topk(k).indices


def _combined(logits: Tensor, scout: CandidateQuery) -> Tensor:
    if len(scout) == 1:
        return logits[scout[0][0]]
    rows = torch.tensor([row for row, _ in scout], device=logits.device)
    weights = torch.tensor([weight for _, weight in scout], device=logits.device)
    return weights @ logits[rows]


def _refine(logits: Tensor, hidden: Tensor, module: nn.Module, candidates: Tensor) -> None:
    weight = _dense_weight(module)
    if weight is None:
        return
    ids = torch.unique(candidates)
    bias = _bias(module)
    exact = nn.functional.linear(
        hidden.float(), weight[ids].float(), None if bias is None else bias[ids]
    )
    logits.index_copy_(1, ids, exact)


def _dense_weight(module: nn.Module) -> Tensor | None:
    """The head's weight, ``[vocabulary, hidden]``, unless it is quantised or elsewhere."""
    weight = getattr(module, "weight", None)
    if not isinstance(weight, Tensor) or weight.is_meta or not weight.is_floating_point():
        return None
    return weight


def _bias(module: nn.Module) -> Tensor | None:
    bias = getattr(module, "bias", None)
    return bias.float() if isinstance(bias, Tensor) else None
