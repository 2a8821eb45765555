"""How many properties an object may have, said by which ones it may have.

A grammar can count properties only where all that are listed are required. Else the cases are told
apart: which of the others have to be there, and which may be.

This module knows what JSON schemas ask: nothing of grammars.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations
from math import comb
from typing import Any

from langchain_amulet.grammar.schema_tree import Schema, any_of

MOST_CASES = 100


def with_counts(schema: Schema, place: str) -> Schema:
    """An object without ``minProperties`` and ``maxProperties``, as far as others say the same.

    Args:
        schema: The schema.
        place: Where it stands; it is for the sake of those who change schemas everywhere.
    """
    listed, fewest, most = (schema.get(k) for k in ("properties", "minProperties", "maxProperties"))
    if not isinstance(listed, Mapping) or schema.get("type") != "object" or fewest == most is None:
        return schema
    names = [name for name, each in listed.items() if each is not False]
    required = [name for name in dict.fromkeys(schema.get("required", ())) if name in names]
    spare = [name for name in names if name not in required]
    is_closed = schema.get("additionalProperties") is False and not schema.get("patternProperties")
    if not spare:
        return schema
    low = max(0, (fewest or 0) - len(required))
    high = (
        len(spare) if most is None or (is_closed and most >= len(names)) else most - len(required)
    )
    rest = {k: v for k, v in schema.items() if k not in ("minProperties", "maxProperties")}
    if not 0 <= low <= min(high, len(spare)) or _count(len(spare), low, high) > MOST_CASES:
        return schema
    if high >= len(spare):
        cases = [_requiring(rest, required, chosen) for chosen in combinations(spare, low)]
    else:
        cases = list(_bounded(rest, required, spare, low, high))
    return cases[0] if len(cases) == 1 else any_of(cases, schema)


def _count(spare: int, low: int, high: int) -> int:
    return comb(spare, low) if high >= spare else comb(spare, high) * comb(high, low)


def _bounded(
    schema: Schema, required: list[str], spare: list[str], low: int, high: int
) -> Iterator[Schema]:
    """The cases of an object with so many others at the most, and none that isn't listed."""
    for allowed in combinations(spare, high):
        without = {name: False for name in spare if name not in allowed}
        closed = {
            **schema,
            "properties": {**schema["properties"], **without},
            "additionalProperties": False,
        }
        for chosen in combinations(allowed, low):
            yield _requiring(closed, required, chosen)


def _requiring(schema: Schema, required: list[str], chosen: tuple[str, ...]) -> dict[str, Any]:
    others = [name for name in schema.get("required", ()) if name not in required]
    return {**schema, "required": [*others, *required, *chosen]}
