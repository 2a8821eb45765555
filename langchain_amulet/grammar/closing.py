"""What to write next in an answer, to come to a valid end of it in few tokens.

That is the token that closes most, and in a text that has to be of some form the shortest way to
finish it. Of a text that has to be long, all that is missing is written at once.

This module knows matchers and tokens: nothing of schemas or of which ways are known.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence, Set

import numpy as np

from langchain_amulet.grammar.json_position import FREE, NO_JSON, QUOTE, JsonPosition
from langchain_amulet.grammar.json_schema import TextForm
from langchain_amulet.grammar.pattern_endings import by_length
from langchain_amulet.grammar.vocabulary import Bits, Vocabulary, first, has, having
from langchain_amulet.grammar.walk import Walk

FEW = 8
"""At most so many names or values are each tried out, to see which is over first."""

TRIALS = (128, False), (1024, False)
"""At most so many tokens are tried out for each, and whether choices on the way are tried out, too:
more, if none of them is over by then."""

DEEP_TRIALS = (128, False), (128, True), (1024, True)
"""The same while there is effort to spare: choices that aren't tried out may go on for ever."""

SPARE = 1_000_000
"""So much of `Effort` is left for the rest."""

SHORT = 8
"""Up to how many letters are written one by one."""

LONGEST_RUN = 100_000
"""How often the same letter is tried: matchers break down at a few times as many."""


class Closing:
    """Brings answers under one grammar nearer to their ends. Safe to share between threads."""

    def __init__(
        self,
        vocabulary: Vocabulary,
        ends: Sequence[tuple[int, ...]],
        forms: Sequence[TextForm],
    ) -> None:
        """Know what ends texts.

        Args:
            vocabulary: The tokens of all matchers.
            ends: What ends a part of an answer, as tokens, taken wherever the grammar does.
            forms: What texts within quotation marks must look like.
        """
        self._vocabulary = vocabulary
        self._ends = sorted(filter(None, ends), key=len)
        self._first_of_ends = np.array([end[0] for end in self._ends], dtype=np.int64)
        texts = sorted({text for form in forms for text in form.endings}, key=by_length)
        self._texts = [(*vocabulary.letters(text), *vocabulary.single(QUOTE)) for text in texts]
        self._starts = np.array([text[0] for text in self._texts], dtype=np.int64)
        asked = [*(form.fewest for form in forms), *map(len, self._ends)]
        self._longest = min(LONGEST_RUN, max(asked, default=0))
        self._no_json = np.array(vocabulary.single(NO_JSON), dtype=np.int64)
        self._decided: dict[frozenset[int], int] = {}

    def advance(self, walk: Walk, bits: Bits, most: int) -> None:
        """Go on by what leads to an end, by so many tokens in all at the most."""
        if end := self._end(walk, bits):
            walk.take(end)
            walk.place = JsonPosition()  # quotation marks in a text that is over open nothing
            return
        options = self._options(walk, bits)
        walk.take(
            self._finished(walk, bits, options)
            or self._run(walk, bits, options, most - len(walk.tokens))
            or (self._best(walk, options),)
        )

    def _run(self, walk: Walk, bits: Bits, options: tuple[int, ...], room: int) -> Sequence[int]:
        """The same letter again and again, up to where the text that one is in can be finished.

        So a text that must have a thousand letters takes as many tries as that has digits. It ends
        as well where the letter may come no more, or there is no more room. Empty where none of
        that is so, or only a few letters are to come.
        """
        letter, written, most = options[0], walk.used.total(), min(self._longest, room)
        # Where it was of no use, it is tried again with twice as many letters written.
        if most <= SHORT or written & (written - 1) or not self._is_letter(walk, bits, letter):
            return ()
        least, count = 0, min(SHORT + 1, most)
        while True:
            trial = walk.fork()
            taken = trial.take([letter] * count)
            is_over = self._is_over(trial)
            if is_over or taken < count or count == most or trial.effort.is_over:
                break
            least, count = count, min(2 * count, most)
        if is_over:
            counts = range(least + 1, taken)
            taken = least + 1 + bisect_left(counts, True, key=self._ends_after(walk, letter))
        elif taken == most < room:
            return ()
        return [letter] * taken if taken > SHORT else ()

    def _ends_after(self, walk: Walk, letter: int) -> Callable[[int], bool]:
        """Whether a text can be finished after a letter that often."""

        def ends(count: int) -> bool:
            trial = walk.fork()
            trial.take([letter] * count)
            return self._is_over(trial)

        return ends

    def _is_over(self, walk: Walk) -> bool:
        """Whether the text that one is in may be finished now, by what is known."""
        bits = walk.bits()
        if self._end(walk, bits):
            return True
        options = self._options(walk, bits)
        is_closed = walk.place.in_string and options[0] in self._vocabulary.single(QUOTE)
        return is_closed or bool(self._finished(walk, bits, options))

    def _is_letter(self, walk: Walk, bits: Bits, token: int) -> bool:
        """Whether a token goes on with the text that one is in, if one is in any."""
        is_text = walk.place.in_string or having(bits, self._no_json).size > 0
        return is_text and self._vocabulary.spelled(token) not in (b"", QUOTE)

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

    def _best(
        self, walk: Walk, options: tuple[int, ...], undecided: Set[frozenset[int]] = frozenset()
    ) -> int:
        """What closes most; of a few names or values, that after which the end is nearest.

        Where such a choice is met again while it is tried out, it is `undecided`: as what closes
        most would do there, it may go on for ever, and another is taken for that.
        """
        spelled = [self._vocabulary.spelled(option) for option in options]
        is_choice = 1 < len(options) <= FEW and walk.place.in_string and spelled[0] != QUOTE
        if not is_choice or b"".join(spelled).isdigit():  # all digits of a date take as long
            return options[0]
        choice = frozenset(options)
        if choice in undecided:
            return options[0]
        best = self._decided.get(choice)
        if best is None:
            best, is_found = self._quickest(walk, options, {*undecided, choice})
            # Else they weren't all tried out, or none by what it is without those undecided.
            if not walk.effort.is_over and (is_found or not undecided):
                self._decided[choice] = best
        return best

    def _quickest(
        self, walk: Walk, options: tuple[int, ...], undecided: Set[frozenset[int]]
    ) -> tuple[int, bool]:
        """The one after which the innermost bracket is closed first, and whether any closes it."""
        # Where no bracket is open, as in calls that aren't JSON, choices have no end to find.
        may_go_deep = walk.place.depth > 0 and walk.effort.left > SPARE
        for most, is_deep in DEEP_TRIALS if may_go_deep else TRIALS:
            within = undecided if is_deep else None
            needed = {option: self._try_out(walk, option, most, within) for option in options}
            if min(needed.values()) < most:
                break
        best = min(options, key=needed.__getitem__)
        return best, needed[best] < most

    def _try_out(
        self, walk: Walk, option: int, most: int, undecided: Set[frozenset[int]] | None
    ) -> int:
        """How many tokens it takes, from this one on, to close the innermost bracket.

        Choices on the way are tried out, too, but for those undecided; none are if that is None.
        """
        trial = walk.fork()
        trial.take((option,))
        while not (trial.is_over or trial.place.depth < walk.place.depth):
            if len(trial.tokens) >= most or trial.effort.is_over:
                break
            bits = trial.bits()
            options = self._options(trial, bits)
            trial.take(
                self._finished(trial, bits, options) or (self._next(trial, options, undecided),)
            )
        return len(trial.tokens)

    def _next(
        self, trial: Walk, options: tuple[int, ...], undecided: Set[frozenset[int]] | None
    ) -> int:
        if undecided is None:
            return self._decided.get(frozenset(options), options[0])
        return self._best(trial, options, undecided)
