"""The way from anywhere in an answer to a valid end of it, in few tokens.

A way is found by walking: at each step the token that closes most, and in a text that has to be of
some form the shortest way to finish it. What was found stays a way as long as the grammar takes it,
and a new one joins it as soon as it can, so that knowing the way at each token costs little.

This module knows matchers and tokens: nothing of schemas, requests or models.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from llguidance import LLMatcher

from langchain_amulet.grammar.json_position import QUOTE, JsonPosition
from langchain_amulet.grammar.json_schema import TextForm
from langchain_amulet.grammar.schema_tree import unheld
from langchain_amulet.grammar.vocabulary import Bits, Vocabulary, bits_of, first, has, having

FEW = 8
"""At most so many names or values are each tried out, to see which is over first."""

TRIAL = 128
"""At most so many tokens are tried out for each."""


LONG = 8
"""From how many characters on a text is named as what takes the room."""

FURTHEST = 4
"""How many times as many letters as tokens are left a way may have while it is looked for: tokens
of several letters may make it short enough."""


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


class EndingSearch:
    """Finds ways out of answers under one grammar. Safe to share between threads."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        ends: Sequence[tuple[int, ...]],
        forms: Sequence[TextForm] = (),
    ) -> None:
        """Know no way yet.

        Args:
            vocabulary: The tokens of all matchers.
            ends: What ends a part of an answer, as tokens, taken wherever the grammar does.
            forms: What texts within quotation marks must look like.
        """
        self._vocabulary, self._forms = vocabulary, forms
        self._ends = sorted(filter(None, ends), key=len)
        self._first_of_ends = np.array([end[0] for end in self._ends], dtype=np.int64)
        texts = sorted({text for form in forms for text in form.endings}, key=len)
        self._texts = [(*vocabulary.letters(text), *vocabulary.single(QUOTE)) for text in texts]
        self._starts = np.array([text[0] for text in self._texts], dtype=np.int64)
        self._decided: dict[frozenset[int], int] = {}

    def start(self, matcher: LLMatcher, limit: int) -> Ending | None:
        """The way from the beginning of an answer.

        Args:
            matcher: The grammar at its start; it is left as it is.
            limit: The most tokens that the way may have.

        Returns:
            None if no way so short is found.

        Raises:
            SchemaError: The grammar breaks down on the way.
        """
        walk = Walk(matcher, JsonPosition())
        way = self._search(walk, (), limit)
        if walk.matcher.is_error():
            raise unheld(walk.matcher.get_error())
        return way

    def longest_text(self, way: Ending | None) -> str:
        """What of an answer asks for the longest text, in words; empty if nothing does.

        Args:
            way: The answer; None if none is known, and any of its texts may be what is too long.
        """
        written = b"".join(map(self._vocabulary.spelled, way.tokens)).decode() if way else None
        needed = [
            (len(form.endings[-1]), form.told)
            for form in self._forms
            if form.endings and (written is None or f'"{form.endings[-1]}"' in written)
        ]
        length, told = max(needed, default=(0, ""))
        return f"a text by {told} alone has {length} characters" if length > LONG else ""

    def follow(self, way: Ending, token: int, matcher: LLMatcher, limit: int) -> Ending | None:
        """The way from one token further on.

        Args:
            way: That from before the token.
            token: What the matcher consumed last.
            matcher: Where the answer stands now; it is left as it is.
            limit: The most tokens that the way may have.

        Returns:
            None if no way so short is found.
        """
        place = _after(way.place, self._vocabulary.spelled(token))
        rest = way.tokens[1:] if way.tokens[:1] == (token,) else way.tokens
        if len(rest) <= limit and self._leads_out(matcher, rest):
            return Ending(rest, place)
        return self._search(Walk(matcher, place), rest, limit)

    def _search(self, walk: Walk, known: tuple[int, ...], limit: int) -> Ending | None:
        """Walk to the end, or to where a way known before goes on."""
        start, place = walk.matcher.deep_copy(), walk.place
        rest: tuple[int, ...] = ()
        while not (rest or walk.is_over or len(walk.tokens) > FURTHEST * limit):
            bits = bits_of(walk.matcher)
            rest = self._rejoined(walk.matcher, bits, known)
            if not rest:
                self._advance(walk, bits)
        if not rest and not walk.matcher.is_accepting():
            return None
        way = (*walk.tokens, *rest)
        if len(way) > limit:
            way = self._vocabulary.merged(way)
        fits = len(way) <= limit and self._leads_out(start, way)
        return Ending(way, place) if fits else None

    def _rejoined(self, matcher: LLMatcher, bits: Bits, known: tuple[int, ...]) -> tuple[int, ...]:
        """The shortest end of a way known before that leads out from here; empty if none does."""
        starts = having(bits, np.array(known, dtype=np.int64))
        ends = (known[start:] for start in reversed(starts.tolist()))
        return next((end for end in ends if self._leads_out(matcher, end)), ())

    def _leads_out(self, matcher: LLMatcher, tokens: tuple[int, ...]) -> bool:
        """Whether the matcher takes these tokens, and then the end."""
        if not tokens:
            return matcher.is_accepting()  # a matcher that is through takes no end any more
        return matcher.validate_tokens([*tokens, self._vocabulary.end]) > len(tokens)

    def _take(self, walk: Walk, token: int) -> None:
        walk.take(token, self._vocabulary.spelled(token))

    def _advance(self, walk: Walk, bits: Bits) -> None:
        if end := self._end(walk, bits):
            for token in end:
                self._take(walk, token)
            walk.place = JsonPosition()  # quotation marks in a text that is over open nothing
            return
        options = self._options(walk, bits)
        for token in self._finished(walk, bits, options) or (self._best(walk, options),):
            self._take(walk, token)

    def _end(self, walk: Walk, bits: Bits) -> tuple[int, ...]:
        """The shortest end of a part that may come now; empty if none may."""
        ends = (self._ends[index] for index in having(bits, self._first_of_ends))
        takes = walk.matcher.validate_tokens
        return next((end for end in ends if takes(list(end)) == len(end)), ())

    def _finished(self, walk: Walk, bits: Bits, options: tuple[int, ...]) -> tuple[int, ...]:
        """The shortest way to finish the text that one is in; empty if there is none known.

        Where a few names of properties can be told apart, the one after which the end is nearest
        is better than the shortest.
        """
        is_choice = walk.place.is_name and len(options) <= FEW
        if not walk.place.in_string or is_choice or options[0] in self._vocabulary.single(QUOTE):
            return ()
        takes = walk.matcher.validate_tokens
        texts = (self._texts[index] for index in having(bits, self._starts))
        return next((text for text in texts if takes(list(text)) == len(text)), ())

    def _options(self, walk: Walk, bits: Bits) -> tuple[int, ...]:
        """Tokens that may come next, those that close most first; one at least."""
        preferred = self._vocabulary.single(walk.place.preferred(walk.used))
        found = tuple(token for token in preferred if has(bits, token))
        return found or (first(bits),)

    def _best(self, walk: Walk, options: tuple[int, ...]) -> int:
        """What closes most; of a few names or values, that after which the end is nearest."""
        spelled = [self._vocabulary.spelled(option) for option in options]
        is_choice = 1 < len(options) <= FEW and walk.place.in_string and spelled[0] != QUOTE
        if not is_choice or b"".join(spelled).isdigit():  # all digits of a date take as long
            return options[0]
        choice = frozenset(options)
        if choice not in self._decided:
            self._decided[choice] = min(options, key=lambda each: self._try_out(walk, each))
        return self._decided[choice]

    def _try_out(self, walk: Walk, option: int) -> int:
        """How many tokens it takes, from this one on, to close the innermost bracket."""
        trial = Walk(walk.matcher, walk.place)
        self._take(trial, option)
        while not (trial.is_over or trial.place.depth < walk.place.depth):
            if len(trial.tokens) >= TRIAL:
                break
            bits = bits_of(trial.matcher)
            options = self._options(trial, bits)
            decided = self._decided.get(frozenset(options), options[0])
            for token in self._finished(trial, bits, options) or (decided,):
                self._take(trial, token)
        return len(trial.tokens)


class Walk:
    """Tokens tried out from somewhere in an answer."""

    def __init__(self, matcher: LLMatcher, place: JsonPosition) -> None:
        """Start where ``matcher`` stands, which is left as it is."""
        self.matcher, self.place = matcher.deep_copy(), place
        self.tokens: list[int] = []
        self.used: Counter[int] = Counter()

    @property
    def is_over(self) -> bool:
        """Whether the answer may end here, or has to."""
        return self.matcher.is_accepting() or self.matcher.is_stopped()

    def take(self, token: int, spelled: bytes) -> None:
        """Go on by one token."""
        self.matcher.consume_token(token)
        self.tokens.append(token)
        before, self.place = self.place, _after(self.place, spelled)
        self.used.update(spelled)
        if self.place.in_string != before.in_string:
            self.used.clear()


def _after(place: JsonPosition, spelled: bytes) -> JsonPosition:
    """The place one token further on. Control tokens stand between JSON texts."""
    return place.after(spelled) if spelled else JsonPosition()
