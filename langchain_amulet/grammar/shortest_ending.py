"""The way from anywhere in an answer to a valid end of it, in few tokens.

A way is found by walking by what closes most. What was found stays a way as long as the grammar
takes it, and a new one joins it as soon as it can, so that knowing the way at each token costs
little.

This module knows matchers and tokens: nothing of schemas, requests or models.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence, Set

from llguidance import LLMatcher

from langchain_amulet.errors import SchemaError
from langchain_amulet.grammar.closing import Closing
from langchain_amulet.grammar.json_position import JsonPosition
from langchain_amulet.grammar.json_schema import TextForm
from langchain_amulet.grammar.known_way import Ending, KnownWay
from langchain_amulet.grammar.schema_tree import unheld
from langchain_amulet.grammar.vocabulary import Vocabulary
from langchain_amulet.grammar.walk import Effort, Walk, after

LONG = 8
"""From how many characters on a text is named as what takes the room."""

FURTHEST, RUN_FURTHEST = 4, 8
"""How many times as many letters as tokens are left a way may have while it is looked for: step by
step, and with the same letter again and again. Tokens of several letters may make it short enough.
"""

MOST, LONGEST = 3_000_000, 3.0
"""How much may be tried for the way from the beginning, in units of `Effort`, and how many seconds
of computing that may be. Most take thousandths of one."""

TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
"""A text in an answer, as JSON writes it."""

TOLD = 3
"""How many forms of texts are named at the most, where it isn't known by which of them it is."""


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
        self._closing = Closing(vocabulary, ends, forms)

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
        texts = None if written is None else set(TEXT.findall(written))
        needed = [(each.fewest, each.told) for each in self._forms if _is_needed(each, texts)]
        length, told = max(needed, default=(0, ""))
        if length > LONG:
            return f"a text by {told} alone has {length} characters"
        unread = [] if way else [form.told for form in self._forms if not form.fewest]
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
        known = KnownWay(way, self._vocabulary, max(1, len(spelled)))
        return self._search(Walk(matcher, place, self._vocabulary, effort), known, limit)

    def _search(self, walk: Walk, known: KnownWay | None, limit: int) -> Ending | None:
        """Walk to the end, or to where a way known before goes on."""
        start, place = walk.matcher, walk.place
        rest: tuple[int, ...] = ()
        while not (rest or walk.is_over or walk.effort.is_over):
            if walk.steps > FURTHEST * limit or len(walk.tokens) > RUN_FURTHEST * limit:
                return None
            bits = walk.bits()
            rest = known.rest(walk, bits) if known else ()
            if not rest:
                self._closing.advance(walk, bits, RUN_FURTHEST * limit + 1)
        if not rest and not walk.matcher.is_accepting():
            return None
        way = (*walk.tokens, *rest)
        if len(way) <= limit:
            return Ending(way, place)
        way = self._vocabulary.merged(way)
        again = Walk(start, place, self._vocabulary, walk.effort)
        return Ending(way, place) if len(way) <= limit and again.leads_out(way) else None


def _is_needed(form: TextForm, texts: Set[str] | None) -> bool:
    """Whether a text by a form is among these, as JSON writes them; None stands for any texts."""
    whole = form.endings[-1] if form.endings else ""
    if texts is None or (whole in texts and len(whole) == form.fewest):
        return True
    return len(whole) < form.fewest and any(len(text) == form.fewest for text in texts)
