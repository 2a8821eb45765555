"""The smallest part of a schema that no grammar can hold, as its author wrote it, and where.

Why a whole schema isn't held is known only in words of a library, which don't say where. So parts
of it are tried by themselves, and of the smallest one each keyword and each thing that it lists.

This module knows how schemas are nested: nothing of grammars, or of what keywords ask.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_amulet.grammar.schema_tree import ANCHORED, Schema, all_of, at, within

Refused = Callable[[Schema], str]
"""Why a schema by itself isn't held, in the library's words; empty if it is."""

MOST_TRIED, SECONDS = 300, 3.0
"""How many parts are tried, and for how many seconds of computing, until the smallest by then is
taken."""

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
        for inner, child in _children(part, place, self.root):
            if inner in self._places or self._is_over():
                continue
            if child is not False and self.why(child) and self.why(_only(part, place, inner)):
                self._places.add(inner)
                return inner, dict(child)
        return None

    def fewest(self, part: Schema) -> Schema:
        """The fewest keywords of a part that aren't held, with the fewest things in each."""
        for key in [key for key in part if key not in ANCHORED]:
            part = self._smaller(part, _without(part, key))
        for key in LOOSENED & part.keys():
            value = part[key]
            for each in reversed(list(value) if isinstance(value, dict) else range(len(value))):
                part = self._smaller(part, {**part, key: _without(part[key], each)})
        return {key: value for key, value in part.items() if key not in ANCHORED} or part

    def _smaller(self, part: Schema, other: Schema) -> Schema:
        return other if not self._is_over() and self.why(other) else part

    def _is_over(self) -> bool:
        return next(self._count) > MOST_TRIED or time.thread_time() > self._until


def _children(part: Schema, place: str, root: Schema) -> Iterator[tuple[str, Any]]:
    """The schemas right in a part, and what it refers to, each with its place."""
    found: list[tuple[str, Any]] = []
    within(_body(part), lambda each, inner: found.append((inner, each)), place)
    yield from found
    if isinstance(reference := part.get("$ref"), str) and reference.startswith("#"):
        yield reference, at(root, reference)


def _only(part: Schema, place: str, inner: str) -> Schema:
    """A part with one schema right in it, and anything in place of the others."""
    if inner == part.get("$ref"):
        return {"$ref": inner}
    kept = within(_body(part), lambda each, other: each if other == inner else True, place)
    return dict(kept)


def _body(part: Mapping[str, Any]) -> Schema:
    return {key: value for key, value in part.items() if key not in ("$defs", "definitions")}


def _without(whole: Any, key: Any) -> Any:
    if isinstance(whole, dict):
        return {name: value for name, value in whole.items() if name != key}
    return [*whole[:key], *whole[key + 1 :]]
