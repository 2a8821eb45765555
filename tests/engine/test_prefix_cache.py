"""What is kept of sequences, and what goes first: ids and blocks, without any tensor."""

from __future__ import annotations

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from langchain_amulet.engine import CacheScope
from langchain_amulet.engine.backends.base import common_prefix
from langchain_amulet.engine.backends.huggingface.kv_cache import BLOCK, CacheBlock
from langchain_amulet.engine.backends.huggingface.prefix_cache import (
    Path,
    PrefixCache,
)

ADA, BOB = CacheScope("ada"), CacheScope("bob")


class Rows:
    """A prefix cache, with the blocks that its users brought."""

    def __init__(self) -> None:
        self.cache, self.numbers, self.owned = PrefixCache(), count(), 0

    def compute(self, tokens: tuple[int, ...], scope: CacheScope = ADA) -> Path:
        """Hold a whole sequence, whatever of it is there."""
        path = self.cache.find(scope, tokens)
        self.cache.open(path)
        for start in range(BLOCK * (len(path) - 1), len(tokens) - BLOCK + 1, BLOCK):
            block = CacheBlock(next(self.numbers))
            self.owned += self.cache.add(path, tokens[start : start + BLOCK], block, 0)
        return path

    def found(self, tokens: tuple[int, ...], scope: CacheScope = ADA) -> int:
        """How many tokens of a sequence are there."""
        return BLOCK * (len(self.cache.find(scope, tokens)) - 1)

    def close(self, path: Path) -> None:
        self.owned -= len(self.cache.close(path))

    def evict(self, blocks: int) -> int:
        freed = len(self.cache.evict(blocks))
        self.owned -= freed
        return freed


@pytest.fixture
def rows() -> Rows:
    return Rows()


def sequence(blocks: int, first: int = 0) -> tuple[int, ...]:
    return tuple(range(first, first + blocks * BLOCK))


def test_what_a_row_computed_is_there_while_it_runs_and_after_it_left(rows: Rows) -> None:
    path = rows.compute(sequence(3))
    assert rows.found(sequence(5)) == 3 * BLOCK
    rows.close(path)
    assert rows.found(sequence(5)) == 3 * BLOCK
    assert rows.found((*sequence(2), *sequence(1, 500))) == 2 * BLOCK


def test_scopes_know_nothing_of_each_other(rows: Rows) -> None:
    rows.close(rows.compute(sequence(3), ADA))
    assert rows.found(sequence(3), BOB) == 0
    rows.close(rows.compute(sequence(3), BOB))
    assert rows.owned == 6


def test_a_scope_that_keeps_nothing_leaves_nothing(rows: Rows) -> None:
    secret = CacheScope("secret", keeps=False)
    first, second = (rows.compute(tokens, secret) for tokens in (sequence(3), sequence(2)))
    assert rows.owned == 3  # they share
    rows.close(first)
    assert rows.found(sequence(3), secret) == 2 * BLOCK
    rows.close(second)
    assert (rows.owned, rows.cache.tokens, rows.cache.held) == (0, 0, 0)
    assert not rows.cache._roots


def test_the_least_recently_used_goes_first_and_ends_before_beginnings(rows: Rows) -> None:
    old, new = sequence(3), sequence(3, 500)
    for tokens in (old, new, old):
        rows.close(rows.compute(tokens))
    assert rows.evict(3) == 3
    assert (rows.found(old), rows.found(new)) == (3 * BLOCK, 0)
    assert rows.evict(1) == 1
    assert rows.found(old) == 2 * BLOCK


def test_what_a_row_holds_never_goes(rows: Rows) -> None:
    path = rows.compute(sequence(3))
    rows.close(rows.compute(sequence(5)))
    assert rows.cache.held == 3
    assert rows.evict(100) == 2
    assert rows.found(sequence(5)) == 3 * BLOCK
    rows.close(path)
    assert rows.evict(100) == 3
    assert not rows.cache._roots


def test_of_what_may_follow_the_nearest_is_found(rows: Rows) -> None:
    path = rows.compute(sequence(1))
    for tokens in ((70, 71, 72), (70, 71, 5), (80, 81)):
        assert rows.cache.keep(path, tokens, CacheBlock(next(rows.numbers)), 0)
    node, length = rows.cache.nearest(path[-1], (70, 71, 72, 73))
    assert (node and node.tokens, length) == ((70, 71, 72), 3)
    assert rows.cache.nearest(path[-1], (9,)) == (None, 0)


def test_common_prefixes_are_counted_from_the_start() -> None:
    assert common_prefix((1, 2, 3), (1, 2, 4)) == 2
    assert common_prefix((1, 2), (1, 2, 4)) == 2
    assert common_prefix((), (1,)) == common_prefix((2,), (1,)) == 0


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4), st.integers(0, 9)), max_size=40))
def test_whatever_comes_and_goes_every_block_has_one_owner(
    steps: list[tuple[int, int, int]],
) -> None:
    rows, held = Rows(), list[Path]()
    for kind, size, choice in steps:
        if kind == 0:
            held.append(rows.compute(sequence(size, 1000 * (choice % 3))))
        elif kind == 1 and held:
            rows.close(held.pop(choice % len(held)))
        else:
            rows.evict(size)
        distinct = {id(node) for path in held for node in path[1:]}
        assert rows.cache.held == len(distinct)
        assert rows.cache.tokens == BLOCK * rows.owned
        for path in held:  # what a row holds is found
            tokens = tuple(token for node in path for token in node.tokens)
            assert rows.cache.find(ADA, tokens) == path
    for path in held:
        rows.close(path)
    rows.evict(10**6)
    assert (rows.owned, rows.cache.tokens) == (0, 0)
    assert not rows.cache._roots
