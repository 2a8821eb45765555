"""Attention over what is kept that is quicker on a CPU than the library's own, by the same formula.

Where a chunk of a prompt attends to what is kept before it, the library's ``sdpa`` copies keys and
values for every query head that shares them, and torch's kernel for bfloat16 is slower than its
matrix products. So bfloat16 is computed by such products, a few queries at a time, which round
scores as the library's ``eager`` does; other dtypes by torch's kernel without the copies. One token
per row is computed likewise where the copies would be large, in bfloat16. Whatever else a model
asks for (no mask or one of truth values, soft caps, sinks, dropout) is left to the library.

It is registered with transformers by a name, which a model's config then says; models that run by
another attention are left as they are. Knows queries, keys, values and masks. Doesn't know the
cache, or which model it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "langchain_amulet_prompts"
"""What a config calls it."""

REPLACED = "sdpa"
"""The one attention of the library's in whose place it may be."""

MOST_SCORES = 2**23
"""How many scores of queries and keys are there at a time: 16 MiB, and few passes over the keys."""

MANY_COLUMNS = 4096
"""From how many columns on, of all rows together, copies of them cost more than products of few
queries, for which torch has no good kernel."""

PLAIN = frozenset({"sliding_window", "position_ids", "use_cache", "is_causal"})
"""What a layer may say besides without changing the result: windows are in the mask."""


def use_prompt_attention(model: Any) -> None:
    """Let a model on a CPU, whose attention is the library's ``sdpa``, compute prompts by this."""
    AttentionInterface.register(NAME, prompt_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)


def use_library_attention(model: Any) -> None:
    """Undo `use_prompt_attention`."""
    model.set_attn_implementation(REPLACED)


def prompt_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention as transformers calls it, see its ``AttentionInterface``.

    Args:
        module: The layer.
        query: ``[rows, heads, tokens, head_dim]``.
        key: ``[rows, key_heads, columns, head_dim]``, of which ``heads`` is a multiple.
        value: Likewise.
        attention_mask: What is added to the scores, ``[rows, 1, tokens, columns]``.
        dropout: How much is left out.
        scaling: By what scores are multiplied; None for the usual.
        kwargs: Whatever the layer says besides.

    Returns:
        ``[rows, tokens, heads, head_dim]``, and no weights.
    """
    if dropout or not _fits(query, key, attention_mask, kwargs):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **kwargs
        )
    assert attention_mask is not None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if query.dtype == torch.bfloat16:
        return _by_products(query * scale, key, value, attention_mask), None
    attended = nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=attention_mask, scale=scale, enable_gqa=True
    )
    return attended.transpose(1, 2).contiguous(), None


def _fits(query: Tensor, key: Tensor, mask: Tensor | None, others: dict[str, Any]) -> bool:
    """Whether a call is one of those that this is for."""
    if mask is None or not mask.is_floating_point() or query.device.type != "cpu":
        return False
    if any(value is not None for name, value in others.items() if name not in PLAIN):
        return False
    whole_heads = query.shape[1] % key.shape[1] == 0
    rows, tokens, columns = query.shape[0], query.shape[2], key.shape[2]
    is_long = query.dtype == torch.bfloat16 and rows * columns >= MANY_COLUMNS
    return whole_heads and (tokens > 1 or is_long) and mask.shape == (rows, 1, tokens, columns)


def _by_products(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """The same for queries that were scaled, by two matrix products for some tokens at a time."""
    rows, heads, tokens, dim = query.shape
    shared, columns = key.shape[1], key.shape[2]
    # Heads first, as the cache gathers them: so flattening copies nothing.
    keys = key.transpose(0, 1).flatten(0, 1).mT
    values = value.transpose(0, 1).flatten(0, 1)
    grouped = query.reshape(rows, shared, -1, tokens, dim).transpose(0, 1)
    attended = query.new_empty(rows, tokens, shared, heads // shared, value.shape[-1])
    for part in _parts(tokens, max(1, MOST_SCORES // (rows * heads * columns))):
        queries = grouped[..., part, :]
        scores = torch.bmm(queries.reshape(rows * shared, -1, dim), keys)
        masked = scores.view(*queries.shape[:-1], columns).add_(mask[None, :, :, part])
        weights = masked.softmax(-1).view_as(scores)
        means = torch.bmm(weights, values).view(*queries.shape[:-1], -1)
        attended[:, part] = means.permute(1, 3, 0, 2, 4)
    return attended.flatten(2, 3)


def _parts(length: int, size: int) -> Iterator[slice]:
    """Slices that cover so many places, each of at most ``size``."""
    return (slice(start, start + size) for start in range(0, length, size))
