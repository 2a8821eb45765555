"""The patterns of a schema as its author wrote them, and where, kept while it is rewritten.

What is said of a pattern is said of that one, not of what became of it for a grammar's sake.

This module knows which keywords have patterns: nothing of regular expressions or grammars.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from langchain_amulet.grammar.schema_tree import Schema

AS_ASKED = "x-asked"
"""Where a schema keeps what its patterns, as they are now, were asked as. It asks nothing."""

SHOWN = 2000
"""How many characters of a pattern are told."""


class AskedPattern(NamedTuple):
    """What asks for a pattern.

    Attributes:
        keyword: Its keyword.
        value: The keyword's value, or the name of a property that has one.
        place: Where in the author's schema the keyword stands.
    """

    keyword: str
    value: str
    place: str

    @property
    def told(self) -> str:
        """It in words."""
        value = self.value if len(self.value) <= SHOWN else f"{self.value[:SHOWN]}..."
        return f"{self.keyword} {json.dumps(value)} at {self.place}"


def with_asked(schema: Schema, place: str) -> Schema:
    """The schema with its patterns kept as what they are asked as."""
    kept = {key: value for key, value in schema.items() if key != AS_ASKED}
    names = schema.get("patternProperties")
    found = [AskedPattern("patternProperties", name, place) for name in names or ()]
    if isinstance(schema.get("pattern"), str):
        found.append(AskedPattern("pattern", schema["pattern"], place))
    return {**kept, AS_ASKED: {each.value: each for each in found}} if found else kept


def asked_as(schema: Mapping[str, Any], pattern: str) -> AskedPattern | None:
    """What a pattern of a schema was asked as; None for one that was added to it."""
    return dict(all_asked(schema)).get(pattern)


def all_asked(schema: Mapping[str, Any]) -> Iterator[tuple[str, AskedPattern]]:
    """The patterns of a schema by itself, each with what it was asked as."""
    kept = schema.get(AS_ASKED)
    for pattern, asked in kept.items() if isinstance(kept, Mapping) else ():
        # A grammar that came from elsewhere may have anything there.
        if isinstance(asked, Sequence) and len(asked) == len(AskedPattern._fields):
            yield pattern, AskedPattern(*map(str, asked))
