"""Linear layers packed for the CPU: the same numbers, laid out for few rows at a time.

A decode step on a CPU is a race through the weights. oneDNN reads a blocked layout at the
memory's own speed where the plain layout gets about two thirds of it (bfloat16) or a quarter
(float32). The packed layer replaces the plain one, so nothing is stored twice, except for a head
that is tied to the embedding. Every product is the one that ``torch.nn.Linear`` gives.

The two operators are torch's own, used by its compiler, but not part of its public interface:
each layer is therefore compared with the one it replaces, and left alone where they differ.

Knows linear layers. Doesn't know how a model is loaded, or what runs it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

ROWS = 8
"""How many rows the layout is chosen for. One that is chosen for a single row serves no more:
in float32 two rows take twice as long then, where with this one eight take as long as one."""


class PackedLinear(nn.Module):
    """A ``torch.nn.Linear`` for inference on the CPU; ``weight`` is kept only for a head."""

    def __init__(self, linear: nn.Linear, keep_weight: bool) -> None:
        """Pack ``linear``'s weight."""
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        self.weight = linear.weight if keep_weight else None
        self.bias = linear.bias
        self.packed = _reorder(linear.weight.detach())

    def forward(self, hidden: Tensor) -> Tensor:
        """``hidden`` [..., in] to [..., out], in the weight's dtype."""
        return _product(hidden, self.packed, self.bias)


def pack(model: nn.Module, head: nn.Module | None) -> int:
    """Replace the linear layers of a CPU model in place; say how many were replaced.

    Args:
        model: A model that nobody else uses yet.
        head: Its output embedding, whose plain weight stays.
    """
    if not is_available():
        return 0
    packed = 0
    # Lists, as the tree changes under the walk.
    for parent in list(model.modules()):
        for name, child in list(parent.named_children()):
            replacement = _packed(child, keep_weight=child is head)
            if replacement is not None:
                setattr(parent, name, replacement)
                packed += 1
    return packed


def is_available() -> bool:
    """Whether this torch can pack."""
    names = ("_linear_pointwise", "_reorder_linear_weight")
    return all(hasattr(torch.ops.mkldnn, name) for name in names)


def _packed(child: nn.Module, keep_weight: bool) -> PackedLinear | None:
    # A subclass may compute something else, so only the plain class itself is replaced.
    if type(child) is not nn.Linear or child.weight.device.type != "cpu":
        return None
    if child.weight.dtype not in (torch.bfloat16, torch.float32):
        return None
    with torch.inference_mode():
        packed = PackedLinear(child, keep_weight)
        probe = torch.linspace(-1, 1, child.in_features).to(child.weight.dtype)[None]
        same = torch.allclose(packed(probe).float(), child(probe).float(), rtol=1e-2, atol=1e-3)
    return packed if same else None


def _reorder(weight: Tensor) -> Tensor:
    packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(weight, ROWS)
    return packed


def _product(hidden: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(hidden, packed, bias, "none", [], "")
    return product
