"""A way out of an answer that is known, and where it goes on after something else was written.

This module knows tokens, and matchers by what they take: nothing of how a way is found.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from itertools import islice

from langchain_amulet.grammar.json_position import JsonPosition
from langchain_amulet.grammar.vocabulary import Bits, Vocabulary, has
from langchain_amulet.grammar.walk import Walk, after

FEW = 8
"""At most so many ends of a way are tried in places that look alike."""

MANY = 64
"""So many places that look alike are looked at, to find a few where a way may go on."""


@dataclass(frozen=True)
class Ending:
    """Tokens that lead from somewhere in an answer to a valid end of it.

    Attributes:
        tokens: The way.
        place: Where it begins.
    """

    tokens: tuple[int, ...]
    place: JsonPosition

    def __len__(self) -> int:
        """How many tokens it takes."""
        return len(self.tokens)


class KnownWay:
    """Where a way that was known goes on from, after something else than it was written.

    It was about the shortest, so from one token further on no way is shorter by more than that
    token: of its own tokens at most as many are left out as were written instead. That keeps it
    cheap to find where the two meet, however long the way is.
    """

    def __init__(self, way: Ending, vocabulary: Vocabulary, written: int) -> None:
        """Know a way.

        Args:
            way: The way.
            vocabulary: Its tokens.
            written: How many characters were written instead of its beginning.
        """
        self._tokens, self._vocabulary, self._written = way.tokens, vocabulary, written
        self._place, self._read = way.place, 0
        self._starts: dict[JsonPosition, list[int]] = defaultdict(list)
        self._tried: Counter[JsonPosition] = Counter()

    def rest(self, walk: Walk, bits: Bits) -> tuple[int, ...]:
        """The shortest end of the way that leads out from where a walk is; empty if none does."""
        if self._tried[walk.place] >= FEW:
            return ()
        starts = self._meeting(walk, bits)
        self._tried[walk.place] += len(starts)
        ends = (self._tokens[start:] for start in reversed(starts))
        return next(filter(walk.leads_out, ends), ())

    def _meeting(self, walk: Walk, bits: Bits) -> list[int]:
        """Places in the way, the nearest ones, that look like the one where a walk is."""
        most = self._written + len(walk.tokens)
        while self._read < len(self._tokens) and self._read <= most:
            self._starts[self._place].append(self._read)
            self._place = after(self._place, self._vocabulary.spelled(self._tokens[self._read]))
            self._read += 1
        # Right behind the token even a place that looks different is tried: in texts that aren't
        # JSON, quotation marks mean nothing.
        alike = self._starts[walk.place] if walk.tokens else range(self._read)
        open_ones = (start for start in alike[:MANY] if has(bits, self._tokens[start]))
        return [*islice(open_ones, FEW)]
