"""The shortest ways to finish a text that has to match a pattern, from wherever in it one is.

A pattern becomes an automaton, and from each of its states the shortest text to a match is found.
Wherever a text stands, the shortest way to finish it is one of these, and the shortest of them
that a matcher takes is that way: nobody has to know which state, or which pattern, it was.

This module knows regular expressions, as `pattern_dialects` makes them: nothing of JSON or tokens.
"""

from __future__ import annotations

import heapq
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from unicodedata import category

CONTROLS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v", "a": "\a"}
LETTERS = ("Letter", "Alphabetic")
"""What Unicode calls letters by long names; the latter are a few signs more."""

TRIED = "a0A -_." + "".join(map(chr, range(0x20, 0x7F))) + "é\n"
"""What a class of characters is represented by: the first of these that is in it."""

MOST_STATES = 1000
"""How many states the rounds of a repetition may have, if each has its own."""

MOST_LETTERS = 100_000
"""Up to which length rounds that haven't are spelled out."""

ANCHORS = "^$bBAzZ"


class UnreadPatternError(ValueError):
    """A pattern has something in it that this module can't read."""


def endings(pattern: str) -> list[str]:
    """The shortest texts that finish a match, from each state of it; the shortest come first.

    Args:
        pattern: The regular expression. What its anchors say isn't looked at: it is for the one
            who tries the endings to see which fit.
        fewest: The fewest characters that the whole text may have.

    Returns:
        None that is empty, and none at all if the pattern can't be read.
    """
    try:
        automaton = _Reader(pattern).read()
    except UnreadPatternError:
        return []
    return sorted({*filter(None, automaton.endings().values())}, key=by_length)


def by_length(text: str) -> tuple[int, str]:
    """What sorts texts, the shortest first, in the same way in each process."""
    return len(text), text


@dataclass
class _Automaton:
    """States joined by texts, or by nothing; the last state that was made is a match.

    Attributes:
        before: For each state, those that lead to it, and by which text.
        size: How many states there are.
    """

    before: dict[int, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))
    size: int = 1

    def state(self) -> int:
        """Make one."""
        self.size += 1
        return self.size - 1

    def join(self, start: int, end: int, text: str = "") -> None:
        """Let ``start`` lead to ``end``."""
        self.before[end].append((start, text))

    def endings(self, end: int | None = None) -> dict[int, str]:
        """From each state the shortest text to a match, or to another state.

        That is Dijkstra's search, backwards from there.
        """
        found: dict[int, str] = {}
        ahead = [(0, "", self.size - 1 if end is None else end)]
        while ahead:
            length, text, state = heapq.heappop(ahead)
            if state in found:
                continue
            found[state] = text
            for start, before in self.before[state]:
                heapq.heappush(ahead, (length + len(before), before + text, start))
        return found


class _Reader:
    """Reads one pattern into an automaton, by recursive descent."""

    def __init__(self, pattern: str) -> None:
        self._pattern, self._at = pattern, 0
        self._automaton = _Automaton()
        self._literals: list[str] = []

    def read(self) -> _Automaton:
        end = self._choice(0)
        if self._at < len(self._pattern):
            raise UnreadPatternError(self._pattern)
        self._automaton.join(end, self._automaton.state())
        return self._automaton

    def _choice(self, start: int) -> int:
        ends = [self._sequence(start)]
        while self._takes("|"):
            ends.append(self._sequence(start))
        end = self._automaton.state()
        for each in ends:
            self._automaton.join(each, end)
        return end

    def _sequence(self, start: int) -> int:
        while self._at < len(self._pattern) and self._peek not in "|)":
            start = self._repeated(start)
        return start

    def _repeated(self, start: int) -> int:
        begin = self._at
        # An own state to begin with, so that a way back to it doesn't lead past it.
        first = self._automaton.state()
        end = self._atom(first)
        bounds, size = self._bounds(), self._automaton.size - first
        fewest, most = bounds or (1, 1)
        if fewest * size > MOST_STATES:
            return self._counted(start, first, end, fewest)
        self._automaton.join(start, first)
        if bounds is None:
            return end
        if most is not None and most * size > MOST_STATES:
            most = None  # rounds that needn't come are in no shortest text
        after = self._at
        entries, exits = [first], [end]
        for _ in range(max(fewest, most or 1) - 1):
            self._at = begin
            entries.append(exits[-1])
            exits.append(self._atom(exits[-1]))
        self._at = after
        return self._leave(entries, exits, fewest, endless=most is None)

    def _counted(self, start: int, first: int, end: int, fewest: int) -> int:
        """Join a repetition whose rounds are all one: who is in it may come to its end.

        How many of them are still to come isn't known then, so none is taken to.
        """
        round_ = self._automaton.endings(end).get(first, "")
        if fewest * len(round_) > MOST_LETTERS:
            raise UnreadPatternError(self._pattern)
        exit_ = self._automaton.state()
        self._automaton.join(end, first)
        self._automaton.join(end, exit_)
        self._automaton.join(start, exit_, fewest * round_)
        return exit_

    def _leave(self, entries: list[int], exits: list[int], fewest: int, *, endless: bool) -> int:
        """Join a repetition's rounds to its end, from the first one that may be the last."""
        end = self._automaton.state()
        if fewest == 0:
            self._automaton.join(entries[0], end)
        for each in exits[max(0, fewest - 1) :]:
            self._automaton.join(each, end)
        if endless:
            self._automaton.join(exits[-1], entries[-1])
        return end

    def _bounds(self) -> tuple[int, int | None] | None:
        """How often what was read before it comes; None if that isn't said."""
        found = re.compile(r"(?:[*+?]|\{(\d+)(,?)(\d*)\})[?+]?").match(self._pattern, self._at)
        if found is None:
            return None
        self._at = found.end()
        if found[1] is None:
            return {"*": (0, None), "+": (1, None), "?": (0, 1)}[found[0][0]]
        if not found[2]:
            return int(found[1]), int(found[1])
        return int(found[1]), int(found[3]) if found[3] else None

    def _atom(self, start: int) -> int:
        character = self._next()
        self._literals.append(character)
        if character in "^$":
            return start
        if character == "(":
            return self._group(start)
        if character == "\\" and self._peek in ANCHORS:
            self._next()
            return start
        end = self._automaton.state()
        self._automaton.join(start, end, self._represented(self._matches(character)))
        return end

    def _group(self, start: int) -> int:
        found = re.compile(r"\?(?:P?<\w+>|[a-z-]*([:)]))").match(self._pattern, self._at)
        if found is None and self._peek == "?":
            raise UnreadPatternError(self._pattern)  # looks ahead or behind
        if found is not None:
            self._at = found.end()
            if found[1] == ")":
                return start
        end = self._choice(start)
        if not self._takes(")"):
            raise UnreadPatternError(self._pattern)
        return end

    def _matches(self, character: str) -> Callable[[str], bool]:
        """What tells the characters that this one stands for."""
        if character == ".":
            return lambda other: other != "\n"
        if character == "[":
            return self._class()
        if character == "\\":
            return self._escaped()
        return character.__eq__

    def _class(self) -> Callable[[str], bool]:
        is_negated, members = self._takes("^"), list(self._members())
        return lambda other: any(member(other) for member in members) != is_negated

    def _members(self) -> Iterator[Callable[[str], bool]]:
        is_first = True
        while is_first or self._peek != "]":
            is_first = False
            character = self._next()
            self._literals.append(character)
            if self._pattern[self._at - 1 : self._at + 1] in ("[:", "&&", "--", "~~"):
                raise UnreadPatternError(self._pattern)  # names, and sets set against each other
            if character == "[":
                yield self._class()
            elif character != "\\":
                yield self._range(character)
            elif self._peek in "pP":
                yield self._property()
            else:
                yield self._range(self._literal())
        self._next()

    def _range(self, low: str) -> Callable[[str], bool]:
        if self._peek != "-" or self._pattern[self._at + 1 : self._at + 2] in ("]", ""):
            return low.__eq__
        self._next()
        high = self._literal() if (character := self._next()) == "\\" else character
        return lambda other: low <= other <= high

    def _escaped(self) -> Callable[[str], bool]:
        """What stands behind a backslash."""
        return self._property() if self._peek in "pP" else self._literal().__eq__

    def _property(self) -> Callable[[str], bool]:
        """Unicode's categories, and letters; what else it tells apart isn't read."""
        found = re.compile(r"[pP](?:\{(\w+)\}|(\w))").match(self._pattern, self._at)
        if found is None:
            raise UnreadPatternError(self._pattern)
        name, is_negated = found[1] or found[2], found[0][0] == "P"
        if name in LETTERS:
            name = "L"
        elif len(name) > 2:
            raise UnreadPatternError(self._pattern)
        self._at = found.end()
        return lambda other: category(other).startswith(name) != is_negated

    def _literal(self) -> str:
        """A character behind a backslash."""
        found = re.compile(r"(?:x|u)(?:\{([0-9a-fA-F]+)\})|x(\w\w)|u(\w{4})").match(
            self._pattern, self._at
        )
        if found is None:
            character = self._next()
            if character.isalnum() and character not in CONTROLS:
                raise UnreadPatternError(self._pattern)  # a class, or an assertion
            return CONTROLS.get(character, character)
        self._at = found.end()
        character = chr(int(found[1] or found[2] or found[3], 16))
        self._literals.append(character)
        return character

    def _represented(self, matches: Callable[[str], bool]) -> str:
        """A character of a class, one that is short to write if there is any."""
        # A class of letters that are far from ASCII names one of them itself.
        tried = (*TRIED, *self._literals)
        found: str | None = next((each for each in tried if matches(each)), None)
        if found is None:
            raise UnreadPatternError(self._pattern)
        return found

    @property
    def _peek(self) -> str:
        """What comes next.

        Raises:
            UnreadPatternError: The pattern is over.
        """
        if self._at >= len(self._pattern):
            raise UnreadPatternError(self._pattern)
        return self._pattern[self._at]

    def _next(self) -> str:
        character = self._peek
        self._at += 1
        return character

    def _takes(self, character: str) -> bool:
        is_next = self._pattern[self._at : self._at + 1] == character
        self._at += is_next
        return is_next
