"""Which values are valid by a schema: all of them where they are few, and its bounds.

This module knows what JSON schemas ask: nothing of grammars.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import chain
from typing import Any

from langchain_amulet.grammar.asked_patterns import AS_ASKED
from langchain_amulet.grammar.schema_tree import Schema, resolved, unheld

MOST_VALUES = 1000
DEEPEST = 6
"""How many schemas in one another are looked into."""

LARGEST = 10**18
"""The bound, either way, up to which grammars can hold numbers to bounds."""

SIGNS = {"minimum": 1, "exclusiveMinimum": 1, "maximum": -1, "exclusiveMaximum": -1}
"""The keywords that bound numbers, and by which sign a bound is a lower one."""

REMARKS = frozenset(
    {
        "title", "description", "default", "examples", "$comment", "deprecated", "readOnly", "id",
        AS_ASKED,
    }
)  # fmt: skip
"""Keywords that ask nothing."""

LITERAL = re.compile(r"\^(?:\(([\w -]+(?:\|[\w -]+)*)\)|([\w -]+))\$")
"""A pattern of a few texts."""

TYPE_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}


def values_of(schema: Any, root: Mapping[str, Any]) -> list[Any] | None:
    """All values that are valid by a schema, each once; None if there are more, or it isn't clear.

    Args:
        schema: The schema.
        root: What its references are looked up in.
    """
    schema = resolved(schema, root)
    if not isinstance(schema, Mapping):
        return None
    asking = schema.keys() - REMARKS - {"type"}
    has_range = asking == {"minimum", "maximum"}
    return candidates(schema, root) if len(asking) <= 1 or has_range else None


def candidates(schema: Any, root: Mapping[str, Any], depth: int = 0) -> list[Any] | None:
    """Values among which are all that are valid by a schema; None if there are too many.

    Args:
        schema: The schema.
        root: What its references are looked up in.
        depth: How many schemas were looked into on the way to it.
    """
    schema = resolved(schema, root)
    if not isinstance(schema, Mapping) or depth > DEEPEST:
        return None
    found = _listed(schema, root, depth)
    if found is None or len(found) > MOST_VALUES:
        return None
    different = {written(value): value for value in found if has_type(value, schema.get("type"))}
    return list(different.values())


def _listed(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> list[Any] | None:
    kind, asking = schema.get("type"), schema.keys() - REMARKS
    if "const" in schema:
        return [schema["const"]]
    if isinstance(schema.get("enum"), list):
        return list(schema["enum"])
    for keyword in ("anyOf", "oneOf"):
        if isinstance(schema.get(keyword), list):
            parts = [candidates(each, root, depth + 1) for each in schema[keyword]]
            known = [part for part in parts if part is not None]
            return [*chain(*known)] if len(known) == len(parts) else None
    if kind == "string" and (texts := LITERAL.fullmatch(str(schema.get("pattern")))):
        return [texts[2]] if texts[2] else texts[1].split("|")
    if kind == "integer" and {"minimum", "maximum"} <= asking:
        return _between(schema["minimum"], schema["maximum"])
    if kind == "string" and schema.get("maxLength") == 0:
        return [""]
    of_type: dict[str, list[Any]] = {"boolean": [True, False], "null": [None]}
    return of_type.get(str(kind))


def _between(low: Any, high: Any) -> list[Any] | None:
    are_whole = type(low) is int and type(high) is int
    return list(range(low, high + 1)) if are_whole and high - low < MOST_VALUES else None


def with_near_bounds(schema: Schema, place: str) -> Schema:
    """The schema with bounds beyond `LARGEST`, as those of 64 bits are, drawn in to it.

    Raises:
        SchemaError: Only numbers beyond it would be valid.
    """
    near = dict(schema)
    for keyword, sign in SIGNS.items():
        bound = schema.get(keyword)
        if isinstance(bound, bool) or not isinstance(bound, int | float) or abs(bound) <= LARGEST:
            continue
        if sign * bound > 0:
            raise unheld(
                f"{keyword} at {place} asks for numbers beyond {sign * LARGEST:.0e}: "
                "bring it nearer to 0"
            )
        near[keyword] = -sign * LARGEST
    return near


def written(value: Any) -> str:
    """A value as JSON; numbers that are equal are written the same."""
    is_whole = isinstance(value, float) and value.is_integer()
    return json.dumps(int(value) if is_whole else value, sort_keys=True)


def kind_of(value: Any) -> str:
    """The type of a value, in JSON Schema's words."""
    return TYPE_NAMES.get(type(value), "null" if value is None else "object")


def has_type(value: Any, wanted: Any) -> bool:
    """Whether a value is of a type, or of one of several; any is where none is wanted."""
    kinds = wanted if isinstance(wanted, list) else [wanted]
    is_whole = isinstance(value, float) and value.is_integer()
    own = {kind_of(value), *(("integer",) if is_whole else ())}
    return wanted is None or not own.isdisjoint(kinds) or ("integer" in own and "number" in kinds)
