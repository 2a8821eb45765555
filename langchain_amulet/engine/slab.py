"""The KV cache as one slab of rows: preallocated, compact, grown in chunks.

Each row holds the keys and values of one prompt stream, left-aligned, column t being position t.
A leaving row is filled by the last one, so the live rows are always the first ones and a decode
step reads them as a view, without a copy. ``SlabLayer`` is what a Hugging Face ``forward`` sees.

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


@dataclass(eq=False)
class Row:
    """One stream's place in a slab: where it lies now and how many positions are filled."""

    index: int
    length: int = 0


@dataclass(frozen=True)
class Window:
    """The part of a slab that one forward pass reads and writes.

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


class Slab:
    """Rows of one KV cache, with the cache object to give to the model."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        """Start without rows and without memory; both come with use."""
        self.device = torch.device(device)
        self.rows: list[Row] = []
        self.row_capacity = 0
        self.column_capacity = 0
        self.window: Window | None = None
        self.layers: list[SlabLayer] = []
        self.cache = Cache(layer_class_to_replicate=self._new_layer)  # type: ignore[arg-type]

    def add(self) -> Row:
        """A new empty row at the end."""
        row = Row(len(self.rows))
        self.rows.append(row)
        return row

    def remove(self, row: Row) -> None:
        """Drop a row; the last row moves into its place. What it held is zeroed."""
        last = self.rows.pop()
        if last is not row:
            self._copy(self, last.index, row.index)
            self.rows[row.index] = last
        for layer in self.layers:
            layer.zero(last.index)
        last.index = row.index
        if not self.rows and self.column_capacity > COLUMN_CHUNK:
            self._release()

    def adopt(self, other: Slab, row: Row) -> Row:
        """A new row here with the contents of ``row`` of ``other``, which may be this slab."""
        new = self.add()
        new.length = row.length
        self.reserve(row.length)
        self._copy(other, row.index, new.index, row.length)
        return new

    def share(self, source: Row, targets: Sequence[Row]) -> None:
        """Copy what ``source`` holds into the other rows: a prefix is computed once."""
        for target in targets:
            self._copy(self, source.index, target.index, source.length)
            target.length = source.length

    def aim(self, rows: Sequence[Row], tokens: int) -> Window:
        """Point the next forward pass at ``tokens`` new positions of each of ``rows``."""
        self.reserve(max(row.length for row in rows) + tokens)
        ids = [row.index for row in rows]
        row_ids = torch.tensor(ids, device=self.device)
        starts = torch.tensor([row.length for row in rows], device=self.device)
        adjacent = ids == list(range(ids[0], ids[0] + len(ids)))
        self.window = Window(
            rows=slice(ids[0], ids[0] + len(ids)) if adjacent else row_ids,
            row_ids=row_ids,
            positions=starts[:, None] + torch.arange(tokens, device=self.device),
            columns=max(row.length for row in rows) + tokens,
        )
        return self.window

    def reserve(self, columns: int) -> None:
        """Make room for the rows there are and for ``columns`` positions each."""
        self.column_capacity = max(self.column_capacity, _round_up(columns, COLUMN_CHUNK))
        if len(self.rows) > self.row_capacity:
            self.row_capacity = max(len(self.rows), 2 * self.row_capacity)

    def _new_layer(self) -> SlabLayer:
        layer = SlabLayer(self)
        self.layers.append(layer)
        return layer

    def _copy(self, other: Slab, source: int, target: int, length: int | None = None) -> None:
        for index, theirs in enumerate(other.layers):
            if theirs.is_initialized:
                self._layer(index).copy(theirs, source, target, length)

    def _layer(self, index: int) -> SlabLayer:
        while len(self.cache.layers) <= index:
            self.cache.layers.append(self._new_layer())
        return self.layers[index]

    def _release(self) -> None:
        self.row_capacity = self.column_capacity = 0
        for layer in self.layers:
            layer.release()


class SlabLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's keys and values, ``[row_capacity, heads, column_capacity, head_dim]`` each."""

    is_sliding = False
    is_croppable = False

    def __init__(self, slab: Slab) -> None:
        """Belong to ``slab``, which says where to read and write; memory comes with use."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.slab = slab

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate or grow to the slab's capacity, keeping what is there."""
        self.keys = self._fitted(self.keys, key_states)
        self.values = self._fitted(self.values, value_states)
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the new positions; return keys and values ``[rows, heads, columns, dim]``."""
        self.lazy_initialization(key_states, value_states)
        window = self.slab.window
        if window is None or self.keys is None or self.values is None:
            raise RuntimeError("A slab must be aimed before each forward pass.")
        return _put(self.keys, window, key_states), _put(self.values, window, value_states)

    def copy(self, other: SlabLayer, source: int, target: int, length: int | None) -> None:
        """Copy the first ``length`` columns of a row of ``other``, or all, into a row here."""
        if other.keys is None or other.values is None:
            return
        self.lazy_initialization(other.keys, other.values)
        assert self.keys is not None and self.values is not None
        self.keys[target, :, :length] = other.keys[source, :, :length]
        self.values[target, :, :length] = other.values[source, :, :length]

    def zero(self, row: int) -> None:
        """Forget one row."""
        for states in (self.keys, self.values):
            if states is not None and row < states.shape[0]:
                states[row].zero_()

    def release(self) -> None:
        """Give the memory back."""
        self.keys = self.values = None
        self.is_initialized = False

    def get_seq_length(self) -> int:
        """Columns before the new tokens."""
        window = self.slab.window
        return window.columns - window.positions.shape[1] if window is not None else 0

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """Columns to attend to, and the first column's position."""
        return self.get_seq_length() + query_length, 0

    def get_max_length(self) -> int:
        """No maximum: the slab grows."""
        return -1

    def _fitted(self, held: Tensor | None, like: Tensor) -> Tensor:
        rows, columns = self.slab.row_capacity, self.slab.column_capacity
        if held is not None and held.shape[0] >= rows and held.shape[2] >= columns:
            return held
        fitted = like.new_zeros(rows, like.shape[1], columns, like.shape[3])
        if held is not None:
            fitted[: held.shape[0], :, : held.shape[2]] = held
        return fitted


def _put(held: Tensor, window: Window, new: Tensor) -> Tensor:
    held[window.row_ids[:, None], :, window.positions] = new.transpose(1, 2)
    return held[window.rows, :, : window.columns]


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step
