"""Attention masks for rows of unequal length: which columns each new token may see.

A model that mixes full and windowed layers takes a mask per kind of layer, one that doesn't takes
a single mask; which kinds there are is read from its config. Masks are additive, in the model's
dtype, because both ``sdpa`` and ``eager`` attention understand those.
Knows configs and positions. Doesn't know the cache or the model's weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

FULL, SLIDING, CHUNKED = "full_attention", "sliding_attention", "chunked_attention"


def attention_masks(
    config: Any, positions: Tensor, columns: int, dtype: torch.dtype
) -> Tensor | dict[str, Tensor]:
    """The masks of one forward pass, each ``[rows, 1, tokens, columns]``.

    Args:
        config: The text model's config.
        positions: Positions of the new tokens, ``[rows, tokens]``.
        columns: How many columns the cache shows.
        dtype: The model's dtype.
    """
    kinds = layer_kinds(config)
    masks = {kind: _additive(_visible(kind, config, positions, columns), dtype) for kind in kinds}
    return masks if len(masks) > 1 else masks[kinds[0]]


def layer_kinds(config: Any) -> tuple[str, ...]:
    """The kinds of attention layer in a model; older configs only have a window, or none."""
    listed = getattr(config, "layer_types", None)
    if listed:
        return tuple(dict.fromkeys(listed))
    return (SLIDING if getattr(config, "sliding_window", None) else FULL,)


@contextmanager
def narrow_windows(config: Any, width: int) -> Iterator[None]:
    """Shrink a model's attention windows for a while, so a short probe reaches past them."""
    names = ("sliding_window", "attention_chunk_size")
    before = {name: getattr(config, name) for name in names if getattr(config, name, None)}
    try:
        for name, value in before.items():
            setattr(config, name, min(width, value))
        yield
    finally:
        for name, value in before.items():
            setattr(config, name, value)


def _visible(kind: str, config: Any, positions: Tensor, columns: int) -> Tensor:
    query, key = positions[:, None, :, None], torch.arange(columns, device=positions.device)
    visible = key <= query
    if kind == SLIDING:
        window: int = config.sliding_window
        return visible & (key > query - window)
    if kind == CHUNKED:
        size: int = config.attention_chunk_size
        return visible & (key // size == query // size)
    return visible


def _additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    blocked = torch.finfo(dtype).min
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(
        ~visible, blocked
    )
