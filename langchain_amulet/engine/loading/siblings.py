"""Which linear layers a model calls, and which of them it gives the same input.

Such as those of queries, keys and values. That is found by watching one short pass, whatever the
layers are named. Knows linear layers and the forward pass of a causal language model. Doesn't know
what is made of them.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)

ROWS, TOKENS = 2, 3
"""How much is fed: of a single row or token there may be views that more don't have."""


@dataclass(frozen=True)
class LayerPlace:
    """Where a layer is: a name of its parent's. What is there may be replaced."""

    parent: nn.Module
    name: str

    @property
    def layer(self) -> Any:
        """What is there now."""
        return getattr(self.parent, self.name)


def siblings(model: Any, places: Sequence[LayerPlace]) -> list[list[LayerPlace]]:
    """The linear layers that a pass calls, together those whose outputs can be parts of a product.

    These have the same parent and are called once each, with the very same tensor, and all of them
    have a bias or none has. What isn't called is left out: some models only read a layer's weight.
    Of a model whose pass fails when outputs are parts of wider tensors each layer is by itself,
    called or not.

    Args:
        model: A causal language model in evaluation mode.
        places: Where the layers are that it is about.
    """
    by_layer = {place.layer: place for place in places}
    try:
        given = _given(model, list(by_layer))
    except Exception as error:  # anybody's code, which may want outputs side by side in memory
        logger.info("%s has each layer packed by itself: %s", type(model).__name__, error)
        return [[place] for place in places]
    groups: dict[Any, list[LayerPlace]] = {}
    for layer, numbers in given.items():
        place = by_layer[layer]
        key = (place.parent, *numbers, layer.bias is None) if len(numbers) == 1 else place
        groups.setdefault(key, []).append(place)
    return list(groups.values())


def _given(model: Any, layers: Sequence[nn.Linear]) -> dict[nn.Linear, list[int]]:
    """The numbers of the tensors that layers are given in a pass, in the order of first calls.

    A tensor that was written to has another number from then on.
    """
    numbers: dict[nn.Linear, list[int]] = {}
    seen: dict[int, tuple[Tensor, Tensor, int]] = {}  # holds the tensors, so that ids are theirs
    numbering = count()

    def after(layer: nn.Linear, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        given = inputs[0]
        if id(given) not in seen or not seen[id(given)][1].equal(given):
            seen[id(given)] = given, given.clone(), next(numbering)
        numbers.setdefault(layer, []).append(seen[id(given)][2])
        return torch.cat([output, output], -1)[..., : output.shape[-1]]

    handles = [layer.register_forward_hook(after) for layer in layers]
    try:
        with torch.inference_mode():
            ids = torch.arange(ROWS * TOKENS, device=model.device).view(ROWS, TOKENS)
            model(input_ids=ids, use_cache=False)
    finally:
        for handle in handles:
            handle.remove()
    return numbers
