"""Tokens tried out from somewhere in an answer, and how much may be tried.

This module knows matchers, tokens and characters of JSON: nothing of schemas, or of which token is
a good one.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from llguidance import LLMatcher

from langchain_amulet.grammar.json_position import JsonPosition
from langchain_amulet.grammar.vocabulary import Bits, Vocabulary, bits_of

STEP, TRIAL, LETTERS = 30, 2, 24
"""What a step costs, a text that is tried, and how many tokens of either cost one more. That is
about the microseconds which each takes, with a vocabulary of 50,000 tokens."""


@dataclass
class Effort:
    """How much may still be tried in one search.

    It is counted, so that what an answer becomes doesn't depend on how fast the machine is. The
    clock, which is that of this thread's own work, is for grammars of which a step takes a thousand
    times what it takes with others.

    Attributes:
        left: In units of `STEP`.
        until: When it is over anyway, by `time.thread_time`.
    """

    left: float = math.inf
    until: float = math.inf

    @property
    def is_over(self) -> bool:
        """Whether nothing more may be tried."""
        return self.left <= 0 or time.thread_time() >= self.until


class Walk:
    """Tokens tried out from somewhere in an answer.

    Attributes:
        matcher: Where it leads. As long as no token is gone it is the one that was given, which is
            left as it is.
        place: The same, as characters of JSON.
        effort: Pays for all that is tried.
        tokens: What is gone.
        steps: In how many steps.
        used: How often each character was written since the last quotation mark.
    """

    def __init__(
        self, matcher: LLMatcher, place: JsonPosition, vocabulary: Vocabulary, effort: Effort
    ) -> None:
        """Start where ``matcher`` stands."""
        self.matcher, self.place, self.effort = matcher, place, effort
        self.tokens: list[int] = []
        self.steps = 0
        self.used: Counter[int] = Counter()
        self._vocabulary = vocabulary
        self._bits, self._before = np.zeros(0, np.uint8), np.zeros(0, np.uint8)

    def fork(self) -> Walk:
        """Another one from here."""
        return Walk(self.matcher.deep_copy(), self.place, self._vocabulary, self.effort)

    @property
    def is_over(self) -> bool:
        """Whether the answer may end here, or has to."""
        return self.matcher.is_accepting() or self.matcher.is_stopped()

    def bits(self) -> Bits:
        """Which tokens may come next."""
        self._before, self._bits = self._bits, bits_of(self.matcher)
        return self._bits

    def new_bits(self) -> Bits:
        """Of those that `bits` gave last, the ones that it hadn't given the time before."""
        return self._bits & ~self._before if self._before.size else self._bits

    def take(self, tokens: Sequence[int]) -> int:
        """Go on by these tokens, up to the first that may not come; how many of them came."""
        if not self.tokens:
            self.matcher = self.matcher.deep_copy()
        count = self.matcher.try_consume_tokens([*tokens])
        if not count:  # though its mask had it: a grammar that contradicts itself breaks down
            self.matcher.consume_token(tokens[0])
        self.steps += 1
        self.effort.left -= STEP + count // LETTERS
        spelled = self._vocabulary.joined(tokens[:count])
        before, self.place = self.place, after(self.place, spelled)
        self.tokens += tokens[:count]
        self.used.update(spelled)
        if self.place.in_string != before.in_string:
            self.used.clear()
        return count

    def takes(self, tokens: Sequence[int]) -> bool:
        """Whether these tokens may come next."""
        return self._taken(list(tokens)) == len(tokens)

    def leads_out(self, tokens: Sequence[int]) -> bool:
        """Whether these tokens may come next, and then the end."""
        if not tokens:
            return self.matcher.is_accepting()  # a matcher that is through takes no end any more
        return self._taken([*tokens, self._vocabulary.end]) > len(tokens)

    def _taken(self, tokens: list[int]) -> int:
        taken = self.matcher.validate_tokens(tokens)
        self.effort.left -= TRIAL + taken // LETTERS
        return taken


def after(place: JsonPosition, spelled: bytes) -> JsonPosition:
    """The place one token further on. Control tokens stand between JSON texts."""
    return place.after(spelled) if spelled else JsonPosition()
