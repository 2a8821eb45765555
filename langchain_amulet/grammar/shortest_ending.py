"""The way from anywhere in an answer to a valid end of it, in few tokens.

A way is found by walking: at each step the token that closes most, and in a text that has to be of
some form the shortest way to finish it. What was found stays a way as long as the grammar takes it,
and a new one joins it as soon as it can, so that knowing the way at each token costs little.

This module knows matchers and tokens: nothing of schemas, requests or models.
"""

from __future__ import annotations

import math
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from llguidance import LLMatcher

from langchain_amulet.errors import SchemaError
from langchain_amulet.grammar.json_position import FREE, NO_JSON, QUOTE, JsonPosition
from langchain_amulet.grammar.json_schema import TextForm
from langchain_amulet.grammar.pattern_endings import MOST_LETTERS, by_length
from langchain_amulet.grammar.schema_tree import unheld
from langchain_amulet.grammar.vocabulary import Bits, Vocabulary, first, has, having
from langchain_amulet.grammar.walk import Effort, Walk, after

FEW = 8
"""At most so many names or values are each tried out, to see which is over first; and at most so
many ends of a way known before, in places that look alike."""

TRIALS = 128, 1024
"""At most so many tokens are tried out for each; more, if none of them is over by then."""

LONG = 8
"""From how many characters on a text is named as what takes the room."""

FURTHEST = 4
"""How many times as many letters as tokens are left a way may have while it is looked for: tokens
of several letters may make it short enough."""

MANY = 64
"""So many places that look alike are looked at, to find a few where a way may go on."""

MOST, LONGEST = 3_000_000, 3.0
"""How much may be tried for the way from the beginning, in units of `Effort`, and how many seconds
of computing that may be. Most take thousandths of one."""

TOLD = 3
"""How many forms of texts are named at the most, where it isn't known by which of them it is."""


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
        texts = sorted({text for form in forms for text in form.endings}, key=by_length)
        self._texts = [(*vocabulary.letters(text), *vocabulary.single(QUOTE)) for text in texts]
        self._starts = np.array([text[0] for text in self._texts], dtype=np.int64)
        self._no_json = np.array(vocabulary.single(NO_JSON), dtype=np.int64)
        self._decided: dict[frozenset[int], int] = {}

    def start(self, matcher: LLMatcher, limit: int, is_timed: bool = True) -> Ending | None:
        """The way from the beginning of an answer.

        Args:
            matcher: The grammar at its start; it is left as it is.
            limit: The most tokens that the way may have.
            is_timed: Whether it is given up by the clock, too, after `LONGEST`.

        Returns:
            None if no way so short is found.

        Raises:
            SchemaError: The grammar breaks down on the way, or no end is found soon.
        """
        effort = Effort(MOST, time.thread_time() + LONGEST if is_timed else math.inf)
        # Who else starts from this matcher may do so now: it is only copied.
        walk = Walk(matcher.deep_copy(), JsonPosition(), self._vocabulary, effort)
        way = self._search(walk, None, limit)
        if walk.matcher.is_error():
            # It was compiled, and only what it takes was written: a limit of its own was reached.
            raise unheld(self._too_large())
        if way is None and effort.is_over:
            longest = self.longest_text(None)
            because = f" ({longest})" if longest else ""
            raise SchemaError(
                "A schema's shortest answer must be found soon, before decoding, but after "
                f"{len(walk.tokens)} tokens this one's wasn't{because}: ask for fewer items, "
                "properties or characters (minItems, required, minLength, pattern)."
            )
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
        if length > LONG:
            more = " or more" if length >= MOST_LETTERS else ""  # no longer ones are spelled out
            return f"a text by {told} alone has {length} characters{more}"
        unread = [] if way else [form.told for form in self._forms if not form.endings]
        return f"the text by {unread[0]} may be too long" if unread else ""

    def _too_large(self) -> str:
        """What of the grammar is too large, in words, with the remedy."""
        told = [form.told for form in self._forms][:TOLD]
        if not told:
            return "it is too large: ask for fewer properties, values or cases"
        return f"{' or '.join(told)} is too large: let it repeat less, or shorter texts"

    def follow(
        self, way: Ending, token: int, matcher: LLMatcher, limit: int, effort: Effort
    ) -> Ending | None:
        """The way from one token further on.

        Args:
            way: That from before the token.
            token: What the matcher consumed last.
            matcher: Where the answer stands now; it is left as it is.
            limit: The most tokens that the way may have.
            effort: How much may be tried.

        Returns:
            None if no way so short is found.
        """
        spelled = self._vocabulary.spelled(token)
        place = after(way.place, spelled)
        if way.tokens[:1] == (token,):
            rest = way.tokens[1:]
            return Ending(rest, place) if len(rest) <= limit else None
        known = _KnownWay(way, self._vocabulary, max(1, len(spelled)))
        return self._search(Walk(matcher, place, self._vocabulary, effort), known, limit)

    def _search(self, walk: Walk, known: _KnownWay | None, limit: int) -> Ending | None:
        """Walk to the end, or to where a way known before goes on."""
        start, place = walk.matcher, walk.place
        rest: tuple[int, ...] = ()
        while not (rest or walk.is_over or walk.effort.is_over):
            if len(walk.tokens) > FURTHEST * limit:
                return None
            bits = walk.bits()
            rest = known.rest(walk, bits) if known else ()
            if not rest:
                self._advance(walk, bits)
        if not rest and not walk.matcher.is_accepting():
            return None
        way = (*walk.tokens, *rest)
        if len(way) <= limit:
            return Ending(way, place)
        way = self._vocabulary.merged(way)
        again = Walk(start, place, self._vocabulary, walk.effort)
        return Ending(way, place) if len(way) <= limit and again.leads_out(way) else None

    def _advance(self, walk: Walk, bits: Bits) -> None:
        if end := self._end(walk, bits):
            for token in end:
                walk.take(token)
            walk.place = JsonPosition()  # quotation marks in a text that is over open nothing
            return
        options = self._options(walk, bits)
        for token in self._finished(walk, bits, options) or (self._best(walk, options),):
            walk.take(token)

    def _end(self, walk: Walk, bits: Bits) -> tuple[int, ...]:
        """The shortest end of a part that may come now; empty if none may.

        What may come again at once, within quotation marks, is a text like any other there.
        """
        ends = (self._ends[index] for index in having(bits, self._first_of_ends))
        taken = filter(walk.takes, ends)
        is_text = walk.place.in_string
        return next((end for end in taken if not (is_text and walk.takes((*end, *end)))), ())

    def _finished(self, walk: Walk, bits: Bits, options: tuple[int, ...]) -> tuple[int, ...]:
        """The shortest way to finish the text that one is in; empty if there is none known.

        Where a few names of properties can be told apart, the one after which the end is nearest
        is better than the shortest.
        """
        is_choice = walk.place.is_name and len(options) <= FEW
        if not walk.place.in_string or is_choice or options[0] in self._vocabulary.single(QUOTE):
            return ()
        texts = (self._texts[index] for index in having(bits, self._starts))
        return next(filter(walk.takes, texts), ())

    def _options(self, walk: Walk, bits: Bits) -> tuple[int, ...]:
        """Tokens that may come next, those that close most first; one at least."""
        if not walk.place.in_string and having(bits, self._no_json).size:
            return self._exits(walk, bits)
        preferred = self._vocabulary.single(walk.place.preferred(walk.used))
        found = tuple(token for token in preferred if has(bits, token))
        return found or (first(bits),)

    def _exits(self, walk: Walk, bits: Bits) -> tuple[int, ...]:
        """What leads on in a text of the grammar's own, such as one by ``/[a-z]+/``.

        What may go on for ever takes the same again and again. What may come now and couldn't
        before is the way out of it, and a control token always is.
        """
        controls = self._vocabulary.controls[having(bits, self._vocabulary.controls)]
        new = walk.new_bits()

        def wear(token: int) -> tuple[bool, int]:
            return not has(new, token), walk.used[self._vocabulary.spelled(token)[0]]

        letters = [each for each in self._vocabulary.single(FREE) if has(bits, each)]
        return (*controls.tolist(), *sorted(letters, key=wear)) or (first(bits),)

    def _best(self, walk: Walk, options: tuple[int, ...]) -> int:
        """What closes most; of a few names or values, that after which the end is nearest."""
        spelled = [self._vocabulary.spelled(option) for option in options]
        is_choice = 1 < len(options) <= FEW and walk.place.in_string and spelled[0] != QUOTE
        if not is_choice or b"".join(spelled).isdigit():  # all digits of a date take as long
            return options[0]
        choice = frozenset(options)
        best = self._decided.get(choice)
        if best is None:
            best = self._quickest(walk, options)
            if not walk.effort.is_over:  # else they weren't all tried out
                self._decided[choice] = best
        return best

    def _quickest(self, walk: Walk, options: tuple[int, ...]) -> int:
        """The one after which the innermost bracket is closed first."""
        for most in TRIALS:
            needed = {option: self._try_out(walk, option, most) for option in options}
            if min(needed.values()) < most:
                break
        return min(options, key=needed.__getitem__)

    def _try_out(self, walk: Walk, option: int, most: int) -> int:
        """How many tokens it takes, from this one on, to close the innermost bracket."""
        trial = walk.fork()
        trial.take(option)
        while not (trial.is_over or trial.place.depth < walk.place.depth):
            if len(trial.tokens) >= most or trial.effort.is_over:
                break
            bits = trial.bits()
            options = self._options(trial, bits)
            decided = self._decided.get(frozenset(options), options[0])
            for token in self._finished(trial, bits, options) or (decided,):
                trial.take(token)
        return len(trial.tokens)


class _KnownWay:
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
