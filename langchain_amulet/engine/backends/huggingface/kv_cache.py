"""The KV cache of many streams, in blocks of a few tokens that are taken and freed one by one.

A row is one stream's sequence of blocks, in order; rows that begin alike may have blocks in common.
So memory follows the tokens that are held, whatever the lengths of the rows, and what is kept after
its row has ended costs what it holds. The blocks of a layer lie in one tensor, its pool, which
grows and shrinks with them. A forward pass is shown its rows' blocks gathered side by side, one
layer at a time, as the dense keys and values that a Hugging Face ``forward`` expects of
`KVCacheLayer`.

Knows nothing of requests, prompts or masks. Columns past a row's length are always finite: masked
attention multiplies them by zero, and zero times NaN would poison the row. So free blocks are zero.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from langchain_amulet.engine.backends.halving import is_out_of_memory
from langchain_amulet.engine.transfers import sent, to_device

BLOCK = 16
"""Tokens per block: the longest that a row's last block may be in vain, but for one."""

PADDING, SCRATCH, RESERVED = 0, 1, 2
"""Blocks that are nobody's: one that is read past the end of a row and stays zero, one that padding
tokens are written to and nobody reads; and how many these are."""

GROWTH = 1 / 8
"""By how much of what is needed a pool is larger once it grew, as each growth copies all of it."""

SHRINK, SLIM = 0.15, 1 / 16
"""At how much of what is taken free blocks are given back, and how much of it stays free then."""

IDLE = 64
"""How many free blocks aren't worth giving back."""


@dataclass(eq=False)
class CacheBlock:
    """The keys and values of up to ``BLOCK`` tokens; ``index`` says where they lie for now."""

    index: int


@dataclass(eq=False)
class CacheRow:
    """One stream's row: its blocks, and how many positions are filled."""

    blocks: list[CacheBlock] = field(default_factory=list)
    length: int = 0


@dataclass(frozen=True)
class CacheWindow:
    """What one forward pass reads and writes.

    Attributes:
        table: The blocks of each row, ``[rows, blocks]``, with ``PADDING`` past its end.
        places: Where the new tokens go, as places in the pool, ``[rows, tokens]``.
        positions: Where they are in their rows, ``[rows, tokens]``.
        columns: How many columns the pass may attend to.
    """

    table: Tensor
    places: Tensor
    positions: Tensor
    columns: int
    _listed: dict[tuple[int, int], Tensor] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def of(cls, listing: Tensor, width: int, columns: int) -> CacheWindow:
        """From what a cache listed, by the device alone.

        Args:
            listing: See ``KVCache.listing``, on the device.
            width: How many tokens each row has in the pass, padding included.
            columns: How many columns it may attend to.
        """
        starts, ends, table = listing[:, :1], listing[:, 1:2], listing[:, 2:]
        positions = starts + torch.arange(width, device=listing.device)
        # Where padding would go may be past the table's end; it goes to the scratch block.
        own = table.gather(1, (positions // BLOCK).clamp(max=table.shape[1] - 1))
        places = own.where(positions < ends, SCRATCH) * BLOCK + positions % BLOCK
        return cls(table, places, positions, columns)

    def listed(self, heads: int, size: int) -> Tensor:
        """The blocks of all rows, for one head after the other of a pool of ``size`` blocks each.

        Computed once for all layers that are alike.
        """
        if (heads, size) not in self._listed:
            starts = torch.arange(0, heads * size, size, device=self.table.device)
            self._listed[heads, size] = (starts[:, None] + self.table.flatten()).flatten()
        return self._listed[heads, size]


class KVCache:
    """Blocks of keys and values, with the cache object to give to the model.

    Args:
        device: Where the model's inputs belong.
        limit: The most blocks that rows may have.

    Attributes:
        device: As given.
        limit: As given.
        slack: How many free blocks it has at least when it grew, and aren't worth giving back:
            memory that stays where it is, for who minds that it moves.
        size: Blocks for which there is memory, the reserved ones included.
        window: What the next forward pass reads and writes, see `prepare`.
        layers: One per attention layer of the model, once that was run.
        cache: What the model is given; it hands the layers out.
    """

    def __init__(self, device: torch.device | str = "cpu", limit: int = 2**31) -> None:
        """Start without memory; it comes with use."""
        self.device, self.limit = torch.device(device), limit
        self.slack, self.size = 0, RESERVED
        self.window: CacheWindow | None = None
        self.layers: list[KVCacheLayer] = []
        self.cache = Cache(layer_class_to_replicate=self._new_layer)  # type: ignore[arg-type]
        self._taken: dict[int, CacheBlock] = {}
        self._free: list[int] = []  # a heap, so that low blocks are taken first

    @property
    def taken(self) -> int:
        """How many blocks are somebody's."""
        return len(self._taken)

    @property
    def nbytes(self) -> int:
        """Bytes of memory that are held now, free blocks included."""
        return sum(states.nbytes for layer in self.layers for states in layer.pools)

    def extend(self, row: CacheRow, length: int) -> None:
        """Have blocks for so many positions of a row; getting none leaves the row as it was.

        Raises:
            MemoryError: There are fewer than that within the limit. Free some first.
        """
        missing = blocks_for(length) - len(row.blocks)
        if missing > 0:
            row.blocks += self._take(missing)

    def free(self, blocks: Sequence[CacheBlock]) -> None:
        """Let blocks go that nobody needs any more. What they held is zeroed."""
        indices = [block.index for block in blocks]
        if not indices:
            return
        self._clear(indices)
        for index in indices:
            del self._taken[index]
            heapq.heappush(self._free, index)
        if len(self._free) > SHRINK * self.taken + max(IDLE, 2 * self.slack):
            self._shrink()

    def copy(self, source: CacheBlock, target: CacheBlock, tokens: int) -> None:
        """Copy the first tokens of a block to another one."""
        for layer in self.layers:
            for states in layer.blocks:
                states[:, target.index, :tokens] = states[:, source.index, :tokens]

    def are_finite(self, blocks: Sequence[CacheBlock]) -> list[bool]:
        """Which of these blocks hold nothing but numbers."""
        indices = self._indices(blocks)
        pools = [states for layer in self.layers for states in layer.pools]
        if not pools or not blocks:
            return [True] * len(blocks)
        sums = [
            states.index_select(1, indices.to(states.device)).sum((0, 2), dtype=torch.float32)
            for states in pools
        ]
        total = torch.stack([each.to(self.device) for each in sums]).sum(0)
        found: list[bool] = total.isfinite().tolist()
        return found

    def prepare(
        self, rows: Sequence[CacheRow], counts: Sequence[int], is_masked: bool = True
    ) -> CacheWindow:
        """Have the next forward pass write so many new positions of each of ``rows``.

        Args:
            rows: Rows that were extended by that much.
            counts: For each of them, how many of the pass's tokens aren't padding.
            is_masked: Whether the pass has a mask for what belongs to nobody. If so it is shown
                whole blocks, so that passes that follow each other are mostly of one shape:
                libraries prepare for each new one, and keep what they prepared.
        """
        columns = max(row.length + count for row, count in zip(rows, counts, strict=True))
        if is_masked:
            columns = blocks_for(columns) * BLOCK
        listing = sent(self.listing(rows, counts, len(rows), columns), self.device)
        self.window = CacheWindow.of(listing, max(counts), columns)
        return self.window

    def listing(
        self, rows: Sequence[CacheRow], counts: Sequence[int], height: int, columns: int
    ) -> Tensor:
        """Where a pass reads and writes, in whole numbers on the host.

        Args:
            rows: See `prepare`.
            counts: Likewise.
            height: How many rows the pass has: those that are added belong to nobody.
            columns: How many columns it may attend to.

        Returns:
            For each row its first new position, the one after its last, and its blocks, with
            ``PADDING`` past its end: ``[height, 2 + blocks]``.
        """
        width = 2 + blocks_for(columns)
        listed = [
            [row.length, row.length + count, *(block.index for block in row.blocks)]
            for row, count in zip(rows, counts, strict=True)
        ]
        padding = [[PADDING] * width] * (height - len(rows))
        padded = [(each + [PADDING] * (width - len(each)))[:width] for each in listed]
        return torch.tensor(padded + padding)

    @property
    def addresses(self) -> tuple[int, ...]:
        """Where the memory is; while this is the same, it hasn't moved."""
        return tuple(states.data_ptr() for layer in self.layers for states in layer.pools)

    def _take(self, count: int) -> list[CacheBlock]:
        if count > len(self._free):
            self._grow(count - len(self._free))
        blocks = [CacheBlock(heapq.heappop(self._free)) for _ in range(count)]
        self._taken.update({block.index: block for block in blocks})
        return blocks

    def _grow(self, count: int) -> None:
        needed = self.size + count
        if needed > self.limit + RESERVED:
            raise MemoryError(
                f"KV memory holds at most {self.limit} blocks of {BLOCK} tokens, and {self.taken} "
                f"of them are taken where {count} more are needed: free some first."
            )
        spare = max(int(GROWTH * needed), self.slack)
        size = min(needed + spare, self.limit + RESERVED)
        for layer in self.layers:  # one that fails leaves others with more than they need
            layer.resize(size)
        self._free += range(self.size, size)  # all above those that are there, so still a heap
        self.size = size

    def _shrink(self) -> None:
        """Move what lies high into gaps below, and give back what is above then."""
        size = RESERVED + self.taken + max(int(SLIM * self.taken), self.slack)
        high = [block for index, block in self._taken.items() if index >= size]
        gaps = sorted(index for index in self._free if index < size)[: len(high)]
        try:
            for layer in self.layers:
                layer.copy_blocks([block.index for block in high], gaps)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            self._clear(gaps)  # what moves takes memory: then all stays where it was
            return
        for block, gap in zip(high, gaps, strict=True):
            self._taken[gap] = self._taken.pop(block.index)
            block.index = gap
        self._free = [index for index in range(RESERVED, size) if index not in self._taken]
        self.size = size
        for layer in self.layers:
            layer.resize(size)

    def _clear(self, indices: Sequence[int]) -> None:
        cleared = to_device(indices, torch.int64, self.device)
        for layer in self.layers:
            for states in layer.pools:
                states.index_fill_(1, cleared.to(states.device), 0)

    def _indices(self, blocks: Sequence[CacheBlock]) -> Tensor:
        return to_device([block.index for block in blocks], torch.int64, self.device)

    def _new_layer(self) -> KVCacheLayer:
        layer = KVCacheLayer(self)
        self.layers.append(layer)
        return layer


class KVCacheLayer(CacheLayerMixin):  # type: ignore[no-untyped-call]
    """One layer's pools of keys and values, ``[heads, blocks, BLOCK * head_dim]`` each."""

    is_sliding = False
    is_croppable = False

    def __init__(self, kv_cache: KVCache) -> None:
        """Belong to ``kv_cache``, which says where to read and write; memory comes with use."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.kv_cache = kv_cache

    @property
    def pools(self) -> list[Tensor]:
        """Keys and values, once there are any."""
        return [states for states in (self.keys, self.values) if states is not None]

    @property
    def blocks(self) -> list[Tensor]:
        """The same as ``[heads, blocks, BLOCK, head_dim]`` each."""
        return [states.view(*states.shape[:2], BLOCK, -1) for states in self.pools]

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Allocate pools for states like these, ``[rows, heads, tokens, head_dim]``."""
        self.keys, self.values = (
            like.new_zeros(like.shape[1], self.kv_cache.size, BLOCK * like.shape[3])
            for like in (key_states, value_states)
        )
        self.is_initialized = True

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Write the new positions; return keys and values ``[rows, heads, columns, head_dim]``."""
        window = self.kv_cache.window
        if window is None:
            raise RuntimeError("A KV cache must be prepared before each forward pass.")
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        assert self.keys is not None and self.values is not None
        return _put(self.keys, window, key_states), _put(self.values, window, value_states)

    def copy_blocks(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy whole blocks to the places of others."""
        for states in self.pools:
            from_, to = (to_device(each, torch.int64, states.device) for each in (sources, targets))
            if len(sources):
                states.index_copy_(1, to, states.index_select(1, from_))

    def resize(self, size: int) -> None:
        """Have memory for so many blocks, keeping those that are among them."""
        if self.keys is not None and self.values is not None:
            self.keys, self.values = _resized(self.keys, size), _resized(self.values, size)

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


def blocks_for(tokens: int) -> int:
    """How many blocks so many tokens take."""
    return -(-tokens // BLOCK)


def _put(pool: Tensor, window: CacheWindow, new: Tensor) -> Tensor:
    """Write new states ``[rows, heads, tokens, head_dim]``; gather those of all columns."""
    heads, size, dim = *pool.shape[:2], new.shape[3]
    flat = pool.view(heads, -1, dim)
    places = window.places.to(pool.device)
    flat.index_copy_(1, places.flatten(), new.transpose(0, 1).flatten(1, 2))
    # As one list of blocks over all heads, since along a first dimension gathering is quickest.
    gathered = pool.flatten(0, 1).index_select(0, window.listed(heads, size).to(pool.device))
    return gathered.view(heads, len(new), -1, dim).transpose(0, 1)[:, :, : window.columns]


def _resized(pool: Tensor, size: int) -> Tensor:
    had = pool.shape[1]
    if had == size:
        return pool
    if had > size:
        return pool[:, :size].clone()
    return torch.cat([pool, pool.new_zeros(pool.shape[0], size - had, pool.shape[2])], 1)
