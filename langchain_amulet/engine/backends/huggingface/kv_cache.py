"""The KV cache of many streams as one block of rows: preallocated, compact, grown in chunks.

Each row holds the keys and values of one prompt stream, left-aligned, column t being position t.
A leaving row is filled by the last one, so the live rows are always the first ones and a decode
step reads them as a view, without a copy. `KVCacheLayer` is what a Hugging Face ``forward`` sees.

Knows nothing of requests, prompts or masks. A row's columns past its length are always finite:
masked attention multiplies them by zero, and zero times NaN would poison the row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

COLUMN_CHUNK = 256
"""Rows grow by so many columns, so that few steps have to copy them."""


@dataclass(eq=False)
class CacheRow:
    """One stream's row: where it lies now and how many positions are filled."""

    index: int
    length: int = 0


@dataclass(frozen=True)
class CacheWindow:
    """The part of a cache that one forward pass reads and writes.

    Attributes:
        rows: The rows, as a slice when they lie side by side, else as indices.
        row_ids: The same rows as indices, ``[rows]``.
        positions: Where the new tokens go, ``[rows, tokens]``.
        columns: How many columns the pass may attend to.
    """

    rows: slice | Tensor
    row_ids: Tensor
    positions: Tensor
    columns: int


class KVCache:
    """Rows of keys and values, with the cache object to give to the model.

    Attributes:
        device: Where the model's inputs belong.
        rows: The live rows, in order.
        columns: How many columns the next write needs. Failing to get them leaves no trace.
        window: What the next forward pass reads and writes, see `prepare`.
        layers: One per attention layer of the model, once that was run.
        cache: What the model is given; it hands the layers out.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        """Start without rows and without memory; both come with use."""
        self.device = torch.device(device)
        self.rows: list[CacheRow] = []
        self.columns = 0
        self.window: CacheWindow | None = None
        self.layers: list[KVCacheLayer] = []
        self.cache = Cache(layer_class_to_replicate=self._new_layer)  # type: ignore[arg-type]

    def add(self) -> CacheRow:
        """A new empty row at the end."""
        row = CacheRow(len(self.rows))
        self.rows.append(row)
        return row

    def remove(self, row: CacheRow) -> None:
        """Drop a row; the last row moves into its place. What it held is zeroed."""
        last = self.rows.pop()
        for layer in self.layers:
            layer.move(last.index, row.index)
        if last is not row:
            self.rows[row.index], last.index = last, row.index
        if not self.rows:
            for layer in self.layers:
                layer.shrink()

    def add_copies(self, other: KVCache, rows: Sequence[CacheRow]) -> list[CacheRow]:
        """New rows here with the contents of ``rows`` of ``other``; all of them, or none."""
        added = [self.add() for _ in rows]
        try:
            self.columns = max(row.length for row in rows)
            for row, new in zip(rows, added, strict=True):
                self._copy(other, row.index, new.index, row.length)
                new.length = row.length
        except Exception:  # out of memory
            for new in added:
                self.remove(new)
            raise
        return added

    def copy_prefix(self, row: CacheRow, other: KVCache, source: CacheRow, length: int) -> None:
        """Begin an empty row with the first columns of a row of ``other``, which may be this."""
        self.columns = length
        self._copy(other, source.index, row.index, length)
        row.length = length

    def is_finite(self, row: CacheRow, length: int) -> bool:
        """Whether the first columns of a row hold nothing but numbers."""
        return all(layer.is_finite(row.index, length) for layer in self.layers)

    def prepare(self, rows: Sequence[CacheRow], tokens: int) -> CacheWindow:
        """Have the next forward pass write ``tokens`` new positions of each of ``rows``."""
        self.columns = max(row.length for row in rows) + tokens
        ids = [row.index for row in rows]
        row_ids = torch.tensor(ids, device=self.device)
        starts = torch.tensor([row.length for row in rows], device=self.device)
        adjacent = ids == list(range(ids[0], ids[0] + len(ids)))
        self.window = CacheWindow(
            rows=slice(ids[0], ids[0] + len(ids)) if adjacent else row_ids,
            row_ids=row_ids,
            positions=starts[:, None] + torch.arange(tokens, device=self.device),
            columns=self.columns,
        )
        return self.window

    def _new_layer(self) -> KVCacheLayer:
        layer = KVCacheLayer(self)
        self.layers.append(layer)
        return layer

    def _copy(self, other: KVCache, source: int, target: int, length: int) -> None:
        for index, theirs in enumerate(other.layers):
            if theirs.is_initialized:
                self._layer(index).copy(theirs, source, target, length)

    def _layer(self, index: int) -> KVCacheLayer:
        while len(self.cache.layers) <= index:
            self.cache.layers.append(self._new_layer())
        return self.layers[index]


class KVCacheLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's keys and values, ``[row capacity, heads, column capacity, head_dim]`` each."""

    is_sliding = False
    is_croppable = False

    def __init__(self, kv_cache: KVCache) -> None:
        """Belong to ``kv_cache``, which says where to read and write; memory comes with use."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.kv_cache = kv_cache

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate or grow to what the next write needs, keeping what is there."""
        self.keys = self._fitted(self.keys, key_states)
        self.values = self._fitted(self.values, value_states)
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the new positions; return keys and values ``[rows, heads, columns, dim]``."""
        self.lazy_initialization(key_states, value_states)
        window = self.kv_cache.window
        if window is None or self.keys is None or self.values is None:
            raise RuntimeError("A KV cache must be prepared before each forward pass.")
        return _put(self.keys, window, key_states), _put(self.values, window, value_states)

    def copy(self, other: KVCacheLayer, source: int, target: int, length: int) -> None:
        """Copy the first ``length`` columns of a row of ``other`` into a row here."""
        if other.keys is None or other.values is None:
            return
        self.lazy_initialization(other.keys, other.values)
        assert self.keys is not None and self.values is not None
        self.keys[target, :, :length] = other.keys[source, :, :length]
        self.values[target, :, :length] = other.values[source, :, :length]

    def is_finite(self, row: int, length: int) -> bool:
        """Whether the first ``length`` columns of a row are finite."""
        held = (states for states in (self.keys, self.values) if states is not None)
        sums = [states[row, :, :length].sum(dtype=torch.float32) for states in held]
        return bool(torch.stack(sums).isfinite().all()) if sums else True

    def move(self, source: int, target: int) -> None:
        """Put a row in the place of another and zero its own; never takes memory."""
        for states in (self.keys, self.values):
            if states is None or target >= len(states):
                continue
            if source < len(states):
                states[target] = states[source]
                states[source] = 0
            else:  # its memory never came, so it holds nothing
                states[target] = 0

    def shrink(self) -> None:
        """Give the memory back, unless it is little."""
        if self.keys is not None and self.keys.shape[2] > COLUMN_CHUNK:
            self.keys = self.values = None
            self.is_initialized = False

    def get_seq_length(self) -> int:
        """Columns before the new tokens."""
        window = self.kv_cache.window
        return window.columns - window.positions.shape[1] if window is not None else 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns to attend to, and the first column's position."""
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        """No maximum: rows grow."""
        return -1

    def _fitted(self, held: Tensor | None, like: Tensor) -> Tensor:
        rows, columns = len(self.kv_cache.rows), _round_up(self.kv_cache.columns, COLUMN_CHUNK)
        if held is None:
            return like.new_zeros(rows, like.shape[1], columns, like.shape[3])
        had_rows, had_columns = held.shape[0], held.shape[2]
        if had_rows >= rows and had_columns >= columns:
            return held
        # Doubled, so that rows which join one by one are copied a few times and not each time.
        rows = had_rows if had_rows >= rows else max(rows, 2 * had_rows)
        columns = max(columns, had_columns)
        fitted = like.new_zeros(rows, like.shape[1], columns, like.shape[3])
        fitted[:had_rows, :, :had_columns] = held
        return fitted


def _put(held: Tensor, window: CacheWindow, new: Tensor) -> Tensor:
    held[window.row_ids[:, None], :, window.positions] = new.transpose(1, 2)
    return held[window.rows, :, : window.columns]


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
