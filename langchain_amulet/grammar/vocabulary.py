"""Tokens as bytes, and masks over them as bits.

This module knows one vocabulary: nothing of grammars or JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import groupby

import numpy as np
from llguidance import LLMatcher, LLTokenizer
from numpy.typing import NDArray

Bits = NDArray[np.uint8]
"""A mask over the vocabulary as llguidance makes it: eight tokens a byte, the lowest bit first."""


class Vocabulary:
    """The tokens of a tokenizer, and which bytes they stand for. Safe to share between threads.

    Attributes:
        size: How many there are, up to the width of the logits.
        end: The one with which matchers are told of an answer's end.
    """

    def __init__(self, tokens: LLTokenizer) -> None:
        """Know the tokens of this tokenizer."""
        self.size, self.end = tokens.vocab_size, tokens.eos_token
        self._tokens = tokens

    def spelled(self, token: int) -> bytes:
        """A token's bytes; control tokens have none."""
        special = self._tokens.is_special_token(token)
        return b"" if special else self._tokens.decode_bytes([token])

    def joined(self, tokens: Sequence[int]) -> bytes:
        """The bytes of several tokens, of which the same may come thousands of times."""
        known = {token: self.spelled(token) for token in {*tokens}}
        return b"".join(map(known.__getitem__, tokens))

    def single(self, characters: bytes) -> list[int]:
        """Tokens that are one of these characters, in their order."""
        return [self._singles[character] for character in characters if character in self._singles]

    def letters(self, text: str) -> tuple[int, ...]:
        """A text as tokens, each of one byte where there are such."""
        return self.bytewise(text.encode())

    def bytewise(self, spelled: bytes) -> tuple[int, ...]:
        """Bytes as tokens, each of one byte where there are such."""
        if all(byte in self._singles for byte in spelled):
            return tuple(self.single(spelled))
        return tuple(self._tokens.tokenize_bytes(spelled))

    def merged(self, tokens: Sequence[int]) -> tuple[int, ...]:
        """The same text in as few tokens as the tokenizer makes of it; control tokens stay."""
        merged: list[int] = []
        for is_special, run in groupby(tokens, self._tokens.is_special_token):
            ids = list(run)
            text = b"" if is_special else self._tokens.decode_bytes(ids)
            merged += ids if is_special else self._tokens.tokenize_bytes(text)
        return tuple(merged)

    @cached_property
    def controls(self) -> NDArray[np.int64]:
        """Control tokens."""
        found = filter(self._tokens.is_special_token, range(self.size))
        return np.array([*found], dtype=np.int64)

    @cached_property
    def _singles(self) -> Mapping[int, int]:
        found: dict[int, int] = {}
        for index in range(self.size):
            spelled = self.spelled(index)
            if len(spelled) == 1:
                found.setdefault(spelled[0], index)
        return found


def bits_of(matcher: LLMatcher) -> Bits:
    """What a matcher takes next."""
    return np.frombuffer(matcher.compute_bitmask(), dtype=np.uint8)


def has(bits: Bits, token: int) -> bool:
    """Whether a mask has the token."""
    return bool(bits[token >> 3] >> (token & 7) & 1)


def having(bits: Bits, tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which places of ``tokens`` hold one that the mask has."""
    return np.flatnonzero(bits[tokens >> 3] >> (tokens & 7) & 1)


def first(bits: Bits) -> int:
    """The first token that a mask has."""
    byte = int((bits != 0).argmax())
    return 8 * byte + int(np.unpackbits(bits[byte : byte + 1], bitorder="little").argmax())
