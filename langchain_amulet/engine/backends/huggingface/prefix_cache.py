"""What was computed of prompts and answers and is kept for those that begin alike.

A tree per scope: a path from its root spells the beginning of a sequence, a block's worth of tokens
per node, and each node owns the block of the KV cache that holds them. Rows hold the nodes of their
path while they are under way. What no row holds is idle, and goes when its memory is needed, least
recently used first; of a path the end goes before the beginning, without which it is nothing.

Knows token ids and who owns which block. Doesn't know what blocks hold, rows or requests.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from langchain_amulet.engine.backends.base import CacheScope, common_prefix
from langchain_amulet.engine.backends.huggingface.kv_cache import BLOCK, CacheBlock

Tokens = tuple[int, ...]


@dataclass(eq=False)
class PrefixNode:
    """Some tokens after those of its parent.

    Attributes:
        tokens: ``BLOCK`` of them; fewer at the end of a sequence, and none at a root.
        block: Where they are; None at a root.
        parent: What comes before; None at a root.
        writer: The number of the request that computed them.
        children: What may come next, by its tokens.
        holders: How many rows are under way whose sequences begin like this.
        scope: At a root, whose sequences these are.
    """

    tokens: Tokens = ()
    block: CacheBlock | None = None
    parent: PrefixNode | None = None
    writer: int = -1
    children: dict[Tokens, PrefixNode] = field(default_factory=dict)
    holders: int = 0
    scope: CacheScope | None = None


Path = list[PrefixNode]
"""Nodes from a root on, each the parent of the next."""


class PrefixCache:
    """The sequences that are kept.

    Attributes:
        held: Blocks that rows under way hold in common or alone, each once.
        tokens: Tokens that all blocks here hold.
    """

    def __init__(self) -> None:
        """Keep nothing yet."""
        self.held = 0
        self.tokens = 0
        self._roots: dict[CacheScope, PrefixNode] = {}
        self._idle: dict[PrefixNode, None] = {}  # in the order in which they may go

    def find(self, scope: CacheScope, tokens: Sequence[int]) -> Path:
        """The longest path that spells the beginning of ``tokens``, in whole blocks."""
        path = [self._roots.get(scope) or PrefixNode(scope=scope)]
        for start in range(0, len(tokens), BLOCK):
            node = self.next(path[-1], tuple(tokens[start : start + BLOCK]))
            if node is None:
                break
            path.append(node)
        return path

    def next(self, node: PrefixNode, tokens: Tokens) -> PrefixNode | None:
        """What leads on from a node by a whole block of these tokens, if that is there."""
        return node.children.get(tokens) if len(tokens) == BLOCK else None

    def nearest(self, node: PrefixNode, tokens: Sequence[int]) -> tuple[PrefixNode | None, int]:
        """Of what may follow a node, what has most first tokens in common, and how many."""
        best: tuple[PrefixNode | None, int] = (None, 0)
        for child in node.children.values():
            if (length := common_prefix(child.tokens, tokens)) > best[1]:
                best = child, length
        return best

    def open(self, path: Path) -> None:
        """Hold a path that was found, for a row that begins like it."""
        root = path[0]
        assert root.scope is not None
        self._roots[root.scope] = root
        for node in path:
            self.hold(node)

    def hold(self, node: PrefixNode) -> None:
        """Keep a node for one row more."""
        self._idle.pop(node, None)
        node.holders += 1
        self.held += node.holders == 1 and node.block is not None

    def add(self, path: Path, tokens: Tokens, block: CacheBlock, writer: int) -> bool:
        """Lead a held path on by a block that was computed, and hold that, too.

        Returns:
            Whether the block is owned here now; if not, there was one for these tokens already,
            which the path leads to, and the other is still the caller's.
        """
        node, is_new = self._child(path[-1], tokens, block, writer)
        self.hold(node)
        path.append(node)
        return is_new

    def keep(self, path: Path, tokens: Tokens, block: CacheBlock, writer: int) -> bool:
        """Keep the end of a sequence, less than a block, for as long as there is room.

        Returns:
            As `add`.
        """
        node, is_new = self._child(path[-1], tokens, block, writer)
        self._idle.pop(node, None)
        self._idle[node] = None
        return is_new

    def close(self, path: Path) -> list[CacheBlock]:
        """Let go of a row's path, which stays while there is room, if its scope keeps anything.

        Returns:
            The blocks that nobody owns any more.
        """
        freed: list[CacheBlock] = []
        root = path[0]
        for node in reversed(path[1:]):  # so that what comes later goes first
            node.holders -= 1
            if node.holders == 0:
                self.held -= 1
                if root.scope is not None and root.scope.keeps:
                    self._idle[node] = None
                else:
                    freed.append(self._drop(node))
        root.holders -= 1
        self._forget_if_empty(root)
        return freed

    def evict(self, count: int) -> list[CacheBlock]:
        """Let go of so many blocks that no row holds, or of all of them if there are fewer."""
        freed: list[CacheBlock] = []
        while self._idle and len(freed) < count:
            node = next(iter(self._idle))
            del self._idle[node]
            freed.append(self._drop(node))
        return freed

    def _child(
        self, parent: PrefixNode, tokens: Tokens, block: CacheBlock, writer: int
    ) -> tuple[PrefixNode, bool]:
        if tokens in parent.children:
            return parent.children[tokens], False
        node = PrefixNode(tokens, block, parent, writer)
        parent.children[tokens] = node
        self.tokens += len(tokens)
        return node, True

    def _drop(self, node: PrefixNode) -> CacheBlock:
        assert node.parent is not None and node.block is not None
        del node.parent.children[node.tokens]
        self.tokens -= len(node.tokens)
        self._forget_if_empty(node.parent)
        return node.block

    def _forget_if_empty(self, node: PrefixNode) -> None:
        """Scopes come and go with users and calls, so their roots must, too."""
        if node.scope is not None and not node.children and not node.holders:
            del self._roots[node.scope]
