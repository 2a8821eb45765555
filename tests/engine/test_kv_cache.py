"""Blocks of keys and values: memory follows the tokens held, and what is freed is gone."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from langchain_amulet.engine.backends.huggingface.kv_cache import (
    BLOCK,
    PADDING,
    RESERVED,
    CacheRow,
    KVCache,
    KVCacheLayer,
    blocks_for,
)

LAYERS, HEADS, DIM = 2, 3, 4
LENGTHS = (50, 8000, 120, 3000, 700, 64, 1999, 333, 5000, 57)
TOKEN = LAYERS * 2 * HEADS * DIM * 4
"""Bytes of one token's keys and values."""


def write(cache: KVCache, rows: Sequence[CacheRow], counts: Sequence[int]) -> None:
    """What a forward pass does: new states in every layer, each a number that nothing else has."""
    for row, count in zip(rows, counts, strict=True):
        cache.extend(row, row.length + count)
    cache.prepare(rows, counts)
    for layer in range(LAYERS):
        cache.cache.update(*states(rows, max(counts), layer), layer)
    for row, count in zip(rows, counts, strict=True):
        row.length += count


def states(rows: Sequence[CacheRow], tokens: int, layer: int) -> tuple[Tensor, Tensor]:
    """Keys and values that say their row, position and layer."""
    keys = torch.stack([expected(row, tokens, layer, row.length) for row in rows])
    return keys, -keys


def expected(row: CacheRow, tokens: int, layer: int, start: int = 0) -> Tensor:
    places = torch.arange(start, start + tokens, dtype=torch.float32)[None, :, None]
    heads = torch.arange(HEADS, dtype=torch.float32)[:, None, None]
    within = torch.arange(DIM, dtype=torch.float32) / DIM
    return (id(row) % 1009 + 1) * 16384 + places + heads / 4 + within / 8 + layer / 64


def read(cache: KVCache, row: CacheRow) -> list[tuple[Tensor, Tensor]]:
    """What the next pass would see of a row, by writing a token that isn't counted."""
    cache.extend(row, row.length + 1)
    cache.prepare([row], [1])
    seen = [cache.cache.update(*states([row], 1, layer), layer) for layer in range(LAYERS)]
    return [(keys[0, :, : row.length], values[0, :, : row.length]) for keys, values in seen]


def check(cache: KVCache, rows: Sequence[CacheRow]) -> None:
    for row in rows:
        for layer, (keys, values) in enumerate(read(cache, row)):
            assert torch.equal(keys, expected(row, row.length, layer))
            assert torch.equal(values, -keys)


def test_memory_is_at_most_a_seventh_more_than_the_tokens_held() -> None:
    cache, rows = KVCache(), [CacheRow() for _ in LENGTHS]
    write(cache, rows[:1], [1])
    for row, length in zip(rows, LENGTHS, strict=True):
        while row.length < length:
            write(cache, [row], [min(256, length - row.length)])
        held = sum(row.length for row in rows)
        if held > 5000:
            assert cache.nbytes <= 1.15 * held * TOKEN
    assert cache.nbytes >= sum(LENGTHS) * TOKEN


def test_what_was_wide_once_becomes_narrow_again_and_the_rest_stays_as_it_was() -> None:
    cache, rows = KVCache(), [CacheRow() for _ in LENGTHS]
    for row, length in zip(rows, LENGTHS, strict=True):
        write(cache, [row], [length])
    for gone in (1, 8, 3):
        cache.free(rows[gone].blocks)
        rows[gone] = CacheRow()
    held = sum(row.length for row in rows)
    assert cache.nbytes <= 1.15 * (held + 64 * BLOCK) * TOKEN
    check(cache, [row for row in rows if row.length])
    for row in rows:
        cache.free(row.blocks)
    assert (cache.taken, cache.nbytes <= 66 * BLOCK * TOKEN) == (0, True)


def test_rows_may_share_blocks_and_go_on_apart() -> None:
    cache, first = KVCache(), CacheRow()
    write(cache, [first], [2 * BLOCK])
    second = CacheRow(list(first.blocks), first.length)
    keys = [each[0].clone() for each in read(cache, first)]
    first.blocks, extra = first.blocks[:2], first.blocks[2:]
    cache.free(extra)
    write(cache, [first, second], [5, 3])
    for row in (first, second):
        for layer, (found, _) in enumerate(read(cache, row)):
            assert torch.equal(found[:, : 2 * BLOCK], keys[layer])
            own = expected(row, row.length - 2 * BLOCK, layer, 2 * BLOCK)
            assert torch.equal(found[:, 2 * BLOCK :], own)


def test_nothing_of_what_was_freed_is_left() -> None:
    cache, row = KVCache(), CacheRow()
    write(cache, [row], [40])
    cache.free(row.blocks)
    for layer in cache.layers:
        for pool in layer.pools:
            assert not pool[:, RESERVED:].any()


def test_past_a_row_s_end_there_are_only_zeros_whatever_others_hold() -> None:
    cache, short, long = KVCache(), CacheRow(), CacheRow()
    write(cache, [long, short], [40, 2])
    for layer in cache.layers:
        layer.pools[0][:, long.blocks[0].index] = torch.nan
    cache.extend(short, 3)
    cache.extend(long, 41)
    cache.prepare([short, long], [1, 1])
    keys, _ = cache.cache.update(*states([short, long], 1, 0), 0)
    assert keys.shape == (2, HEADS, 3 * BLOCK, DIM)
    assert not keys[0, :, 3:].any() and not keys[1, :, 41:].any()
    assert cache.are_finite([*short.blocks, *long.blocks]) == [True, False, True, True]


@pytest.mark.parametrize("length", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_a_pass_with_a_mask_is_shown_whole_blocks_and_one_without_what_there_is(
    length: int,
) -> None:
    cache, row = KVCache(), CacheRow()
    cache.extend(row, length)
    assert cache.prepare([row], [length]).columns == BLOCK * len(row.blocks)
    assert cache.prepare([row], [length], is_masked=False).columns == length


def test_padding_is_written_where_nobody_reads() -> None:
    cache, rows = KVCache(), [CacheRow() for _ in range(3)]
    write(cache, rows, [20, 1, 7])
    write(cache, rows, [1, 30, 16])
    check(cache, rows)
    assert not any(pool[:, PADDING].any() for layer in cache.layers for pool in layer.pools)


def test_no_more_blocks_are_given_than_the_limit_and_a_refusal_changes_nothing() -> None:
    cache, row = KVCache(limit=3), CacheRow()
    cache.extend(row, 2 * BLOCK)
    other = CacheRow()
    with pytest.raises(MemoryError, match=r"at most 3 blocks of 16 tokens, and 2 .* 2 more"):
        cache.extend(other, BLOCK + 1)
    assert not other.blocks
    cache.free(row.blocks)
    cache.extend(other, 3 * BLOCK)
    assert cache.size == 3 + RESERVED


def test_without_memory_to_move_blocks_they_stay_where_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cache, rows = KVCache(), [CacheRow() for _ in range(2)]
    for row in rows:
        write(cache, [row], [3000])
    copy = KVCacheLayer.copy_blocks

    def too_little(layer: KVCacheLayer, sources: Sequence[int], targets: Sequence[int]) -> None:
        copy(layer, sources, targets)
        if layer is cache.layers[-1]:
            raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(KVCacheLayer, "copy_blocks", too_little)
        cache.free(rows.pop(0).blocks)
    check(cache, rows)
    fresh = CacheRow()
    write(cache, [fresh], [2])
    assert not any(pool[:, PADDING].any() for layer in cache.layers for pool in layer.pools)
    check(cache, [*rows, fresh])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 400)), min_size=1, max_size=25))
def test_whatever_comes_and_goes_each_row_reads_what_it_wrote(
    steps: list[tuple[int, int]],
) -> None:
    cache, rows = KVCache(), [CacheRow() for _ in range(4)]
    for number, tokens in steps:
        if tokens % 5 == 0:
            cache.free(rows[number].blocks)
            rows[number] = CacheRow()
        else:
            some = [rows[number], rows[(number + tokens) % 4]][: 1 + tokens % 2]
            write(cache, list(dict.fromkeys(some)), [tokens, 1][: len(dict.fromkeys(some))])
    check(cache, rows)
    assert cache.taken == sum(blocks_for(row.length + 1) for row in rows)
    taken = [block.index for row in rows for block in row.blocks]
    assert len(set(taken)) == len(taken)
