"""The smallest part of a schema that no grammar can hold, as its author wrote it, and where.

Why a whole schema isn't held is known only in words of a library, which don't say where. So parts
of it are tried by themselves, and of the smallest one its keywords and what they list; where there
are many, several at once.

This module knows how schemas are nested: nothing of grammars, or of what keywords ask.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from langchain_amulet.grammar.schema_tree import ANCHORED, Schema, all_of, at, within

Refused = Callable[[Schema], str]
"""Why a schema by itself isn't held, in the library's words; empty if it is."""

MOST_TRIED, SECONDS = 300, 1.0
"""How many parts are tried, and for how many seconds of computing, until the smallest by then is
taken."""

FEW = 8
"""So many schemas right in a part are tried one by one: of more, half at once."""

LOOSENED = frozenset({"properties", "patternProperties", "required", "allOf"})
"""Keywords that ask less where they list less."""


@dataclass(frozen=True)
class Fault:
    """A part of a schema that isn't held.

    Attributes:
        part: The fewest keywords of it that aren't, with the fewest things in each.
        place: Where in the schema they stand, as a JSON pointer.
        reason: What the library says of them.
    """

    part: Schema
    place: str
    reason: str


def smallest_fault(schema: Mapping[str, Any], refused: Refused) -> Fault | None:
    """The smallest part of a schema that isn't held; None if all of it is."""
    search = _Parts(dict(schema), refused)
    place, part = "#", dict(schema)
    if not search.why(part):
        return None
    while inner := search.within(part, place):
        place, part = inner
    part = search.fewest(part)
    return Fault(part, place, search.why(part))


@dataclass
class _Parts:
    """The parts of one schema that were tried.

    Attributes:
        root: The schema.
        refused: Says of each part whether it is held.
    """

    root: Schema
    refused: Refused
    _until: float = field(default_factory=lambda: time.thread_time() + SECONDS)
    _count: Iterator[int] = field(default_factory=itertools.count)
    _places: set[str] = field(default_factory=set)

    def why(self, part: Any) -> str:
        """Why a part isn't held where its references lead as in the whole; empty if it is."""
        if not isinstance(part, Mapping):
            return ""
        refers = any("$ref" in each for each in all_of(_body(part)))
        anchors = [key for key in ANCHORED if refers and key in self.root]
        return self.refused({**{key: self.root[key] for key in anchors}, **_body(part)})

    def within(self, part: Schema, place: str) -> tuple[str, Schema] | None:
        """A schema right in a part that is what isn't held of it, and where it stands."""
        found = dict(_children(part, place, self.root))

        def is_faulty(inner: str) -> bool:
            is_refused = not self._is_over() and bool(self.why(found[inner]))
            return is_refused and has_fault([inner])

        def has_fault(places: Sequence[str]) -> bool:
            return not self._is_over() and bool(self.why(_only(part, place, places)))

        def first(places: Sequence[str]) -> str | None:
            if len(places) <= FEW:
                return next(filter(is_faulty, places), None)
            half = len(places) // 2
            halves = filter(has_fault, (places[:half], places[half:]))
            return next(filter(None, map(first, halves)), None)

        inner = first([each for each in found if each not in self._places])
        if inner is None:
            return None
        self._places.add(inner)
        return inner, found[inner]

    def fewest(self, part: Schema) -> Schema:
        """The fewest keywords of a part that aren't held, with the fewest things in each."""
        for key in [key for key in part if key not in ANCHORED]:
            part = self._smaller(part, {name: part[name] for name in part if name != key})
        for key in [key for key in part if key in LOOSENED]:
            part = self._loosened(part, key)
        return {key: value for key, value in part.items() if key not in ANCHORED} or part

    def _loosened(self, part: Schema, key: str) -> Schema:
        """A part with the fewest things in a keyword: the last are left out first, if they can.

        The more there were that could, the more are tried at once.
        """
        value = part[key]
        open_ones = [*value] if isinstance(value, dict) else [*range(len(value))]
        needed: list[Any] = []
        count = 1
        while open_ones:
            fewer = open_ones[: -min(count, len(open_ones))]
            smaller = self._smaller(part, {**part, key: _of(value, [*fewer, *needed])})
            if smaller is not part:
                part, open_ones, count = smaller, fewer, 2 * count
            elif count > 1:
                count //= 2
            else:
                needed.insert(0, open_ones.pop())
        return part

    def _smaller(self, part: Schema, other: Schema) -> Schema:
        return other if not self._is_over() and self.why(other) else part

    def _is_over(self) -> bool:
        return next(self._count) > MOST_TRIED or time.thread_time() > self._until


def _children(part: Schema, place: str, root: Schema) -> Iterator[tuple[str, Schema]]:
    """The schemas right in a part, and what it refers to, each with its place."""
    found: list[tuple[str, Any]] = []
    within(_body(part), lambda each, inner: found.append((inner, each)), place)
    if isinstance(reference := part.get("$ref"), str) and reference.startswith("#"):
        found.append((reference, at(root, reference)))
    return ((inner, dict(each)) for inner, each in found if isinstance(each, Mapping))


def _only(part: Schema, place: str, inner: Sequence[str]) -> Schema:
    """A part with some of the schemas right in it, and anything in place of the others."""
    if [*inner] == [part.get("$ref")]:
        return {"$ref": part["$ref"]}
    kept = within(_body(part), lambda each, other: each if other in inner else True, place)
    return dict(kept)


def _body(part: Mapping[str, Any]) -> Schema:
    return {key: value for key, value in part.items() if key not in ("$defs", "definitions")}


def _of(whole: Any, keys: Sequence[Any]) -> Any:
    """Of a mapping or list what has these keys, in their order."""
    return (
        {key: whole[key] for key in keys}
        if isinstance(whole, dict)
        else [whole[key] for key in keys]
    )
