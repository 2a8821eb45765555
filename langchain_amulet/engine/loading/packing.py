"""Linear layers packed for the CPU: the same numbers, laid out for few rows at a time.

A decode step on a CPU is a race through the weights. oneDNN reads a blocked layout at the
memory's own speed where the plain layout gets about two thirds of it (bfloat16) or a quarter
(float32). The packed layer replaces the plain one, so nothing is stored twice, except for a head
that is tied to the embedding. Layers that are given the same input are packed as one: of each
product the beginning and the end take time, too. Every product is the one that
``torch.nn.Linear`` gives.

The two operators are torch's own, used by its compiler, but not part of its public interface:
each layer is therefore compared with the one it replaces, and left alone where they differ.

Knows linear layers. Doesn't know how a model is loaded, or what runs it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from langchain_amulet.engine.loading.siblings import LayerPlace, siblings

ROWS = 8
"""How many rows the layout is chosen for. One that is chosen for a single row serves no more:
in float32 two rows take twice as long then, where with this one eight take as long as one."""


class PackedProduct:
    """What linear layers make of one input that all of them are given, computed at once.

    Args:
        linears: The layers, which all have a bias or none.
    """

    def __init__(self, linears: Sequence[nn.Linear]) -> None:
        """Pack their weights as those of a single layer."""
        weights = [linear.weight.detach() for linear in linears]
        self._weight = _reorder(torch.cat(weights) if len(weights) > 1 else weights[0])
        biases = [linear.bias.detach() for linear in linears if linear.bias is not None]
        self._bias = torch.cat(biases) if biases else None
        self._widths = [linear.out_features for linear in linears]
        # By thread, as several may run the model: what was given last, and the parts not yet taken.
        self._left: dict[int, tuple[Tensor, dict[int, Tensor]]] = {}

    def part(self, place: int, hidden: Tensor) -> Tensor:
        """What the layer at ``place`` makes of ``hidden``: [..., in] to [..., out].

        The first layer that is given a tensor has it computed for all; each takes its part once.
        """
        if len(self._widths) == 1:
            return _product(hidden, self._weight, self._bias)
        thread = threading.get_ident()
        given, left = self._left.pop(thread, (None, {}))
        if given is not hidden or place not in left:
            product = _product(hidden, self._weight, self._bias)
            left = dict(enumerate(torch.split(product, self._widths, -1)))
        part = left.pop(place)
        if left:
            self._left[thread] = hidden, left
        return part


class PackedLinear(nn.Module):
    """A ``torch.nn.Linear`` for inference on the CPU; ``weight`` is kept only for a head.

    Args:
        linear: The layer it stands in for.
        product: What computes it.
        place: Which of the product's layers it is.
        keep_weight: Whether to keep the plain weight.
    """

    def __init__(
        self, linear: nn.Linear, product: PackedProduct, place: int, keep_weight: bool
    ) -> None:
        """Compute nothing yet."""
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight = linear.weight if keep_weight else None
        self.bias = linear.bias
        self._product, self._place = product, place

    def forward(self, hidden: Tensor) -> Tensor:
        """``hidden`` [..., in] to [..., out], in the weight's dtype."""
        return self._product.part(self._place, hidden)


def pack(model: nn.Module, head: nn.Module | None) -> int:
    """Replace the linear layers of a CPU model in place; say how many were replaced.

    Args:
        model: A model that nobody else uses yet.
        head: Its output embedding, whose plain weight stays.
    """
    if not is_available():
        return 0
    # By their places, as layers that are held on to here would be in memory until all are packed.
    places = [
        LayerPlace(parent, name)
        for parent in model.modules()
        for name, child in parent.named_children()
        if _can_pack(child)
    ]
    return sum(_replace(group, head) for group in siblings(model, places))


def is_available() -> bool:
    """Whether this torch can pack."""
    names = ("_linear_pointwise", "_reorder_linear_weight")
    return all(hasattr(torch.ops.mkldnn, name) for name in names)


def _can_pack(child: nn.Module) -> bool:
    # A subclass may compute something else, so only the plain class itself is replaced.
    if type(child) is not nn.Linear or child.weight.device.type != "cpu":
        return False
    return child.weight.dtype in (torch.bfloat16, torch.float32)


def _replace(places: Sequence[LayerPlace], head: nn.Module | None) -> int:
    """Have the layers at these places computed as one, or else each by itself; say how many."""
    layers: list[nn.Linear] = [place.layer for place in places]
    with torch.inference_mode():
        product = PackedProduct(layers)
        packed = [
            PackedLinear(layer, product, number, keep_weight=layer is head)
            for number, layer in enumerate(layers)
        ]
        probe = torch.linspace(-1, 1, layers[0].in_features).to(layers[0].weight.dtype)[None]
        results = [(new(probe), layer(probe)) for new, layer in zip(packed, layers, strict=True)]
    are_same = all(
        torch.allclose(new.float(), plain.float(), rtol=1e-2, atol=1e-3) for new, plain in results
    )
    if not are_same:
        return sum(_replace([place], head) for place in places) if len(places) > 1 else 0
    for place, replacement in zip(places, packed, strict=True):
        setattr(place.parent, place.name, replacement)
    return len(places)


def _reorder(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
    return packed


def _product(hidden: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(hidden, packed, bias, "none", [], "")
    return product
