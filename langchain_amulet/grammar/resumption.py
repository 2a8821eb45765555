"""An answer that goes on behind white space which its model wasn't given.

Tokens hold the space before a word, so behind a space by itself a model goes astray. It is prompted
without, and its answer is held to begin with what was left out.

This module knows spellings of tokens: nothing of tokenizers, prompts or models.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from langchain_amulet.grammar.constraint import Grammar


class Resumption:
    """Has an answer begin with given white space: a `Constraint`, which holds nothing else to it.

    Where no token spells what is missing, the answer is left free.
    """

    def __init__(
        self, gap: str, spellings: Mapping[int, bytes], size: int, grammar: Grammar | None = None
    ) -> None:
        """Begin an answer.

        Args:
            gap: What it begins with.
            spellings: The tokens that may, and their bytes.
            size: How many tokens there are.
            grammar: What the whole answer is held to besides; None if it is free.
        """
        self._left = gap.encode()
        self._spellings, self._size, self._grammar = spellings, size, grammar

    def allowed(self) -> Tensor:
        """Which tokens may come next: bool, shape ``[vocabulary]``."""
        grammar = self._grammar
        mask = grammar.allowed() if grammar else torch.ones(self._size, dtype=torch.bool)
        if not self._left:
            return mask
        fitting = [token for token, spelled in self._spellings.items() if self._fits(spelled)]
        if not mask[fitting].any():
            self._left = b""
            return mask
        only = torch.zeros_like(mask)
        only[fitting] = mask[fitting]
        return only

    def accept(self, token: int) -> bool:
        """Move on by one token; False where the grammar doesn't take it."""
        taken = self._grammar is None or self._grammar.accept(token)
        if taken:
            self._left = self._left[len(self._spellings.get(token, b"")) :]
        return taken

    def _fits(self, spelled: bytes) -> bool:
        """Whether a token's bytes begin with what is still missing, or are the beginning of it."""
        return spelled.startswith(self._left) or self._left.startswith(spelled)
