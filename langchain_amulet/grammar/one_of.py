"""`oneOf` as `anyOf`, where its branches exclude each other, or can be made to.

A grammar can say that one of several branches holds, but not that no other does. Where no value
can be valid by two branches, that is no matter. And where a branch requires a property that another
doesn't, the other is held to leave it out: what is written then is valid by it alone.

This module knows what JSON schemas exclude: nothing of grammars.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from itertools import permutations
from typing import Any, TypeGuard

from langchain_amulet.grammar.schema_tree import Schema, resolved, unheld

DEEPEST = 6
"""How many schemas in one another are looked into."""

TYPES = {"string", "number", "integer", "boolean", "null", "object", "array"}


def as_any_of(schema: Schema, place: str, root: Mapping[str, Any]) -> Schema:
    """The schema with ``anyOf`` instead of ``oneOf``: what is valid by it is valid by the schema.

    Args:
        schema: The schema.
        place: Where in ``root`` it stands.
        root: What its references are looked up in.

    Raises:
        SchemaError: Two branches might both hold.
    """
    branches = schema.get("oneOf")
    if not isinstance(branches, list):
        return schema
    kept = {key: value for key, value in schema.items() if key != "oneOf"}
    told_apart = [*branches]
    for one, other in permutations(range(len(branches)), 2):
        if not _excludes(branches[one], branches[other], root):
            told_apart[one] = _without_the_other(told_apart[one], branches[other], kept, root)
            if told_apart[one] is None:
                first, second = sorted((one, other))
                raise unheld(f"oneOf at {place}: branches {first} and {second} may both hold")
    if "anyOf" in kept:
        return {**kept, "allOf": [*kept.get("allOf", ()), {"anyOf": told_apart}]}
    return {**kept, "anyOf": told_apart}


def values_of(schema: Any, root: Mapping[str, Any], most: int = 1000) -> list[Any] | None:
    """All values that are valid by a schema; None if there are more, or it isn't clear."""
    schema = resolved(schema, root)
    if not isinstance(schema, Mapping):
        return None
    if "const" in schema:
        return [schema["const"]]
    if isinstance(schema.get("enum"), list):
        return list(schema["enum"])
    kind = schema.get("type")
    if kind in ("boolean", "null"):
        return [True, False] if kind == "boolean" else [None]
    low, high = schema.get("minimum"), schema.get("maximum")
    is_range = schema.keys() <= {"type", "minimum", "maximum", "title", "description"}
    if kind == "integer" and is_range and isinstance(low, int) and isinstance(high, int):
        return list(range(low, high + 1)) if high - low < most else None
    return None


def _excludes(one: Any, other: Any, root: Mapping[str, Any], depth: int = 0) -> bool:
    """Whether surely no value is valid by both schemas."""
    one, other = resolved(one, root), resolved(other, root)
    if one is False or other is False:
        return True
    if not isinstance(one, Mapping) or not isinstance(other, Mapping) or depth > DEEPEST:
        return False
    for schema, against in ((one, other), (other, one)):
        choices = schema.get("anyOf") or schema.get("oneOf")
        if choices and all(_excludes(each, against, root, depth + 1) for each in choices):
            return True
        parts = schema.get("allOf", ())
        if any(_excludes(each, against, root, depth + 1) for each in parts):
            return True
    if _kinds(one, root).isdisjoint(_kinds(other, root)):
        return True
    if _have_other_values(one, other, root) or _are_apart(one, other):
        return True
    return _differ_in_a_property(one, other, root, depth)


def _kinds(schema: Mapping[str, Any], root: Mapping[str, Any]) -> set[str]:
    """The types that values may have; whole numbers may be of both types of number."""
    values = values_of(schema, root)
    if values is not None:
        found = {_kind(value) for value in values}
    else:
        kind = schema.get("type", sorted(TYPES))
        found = set(kind) if isinstance(kind, list) else {str(kind)}
    return found | {"integer"} if "number" in found else found


def _kind(value: Any) -> str:
    kinds = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array"}
    return kinds.get(type(value), "null" if value is None else "object")


def _have_other_values(
    one: Mapping[str, Any], other: Mapping[str, Any], root: Mapping[str, Any]
) -> bool:
    values, others = values_of(one, root), values_of(other, root)
    if values is not None and others is not None:
        return set(map(_written, values)).isdisjoint(map(_written, others))
    return _miss_the_pattern(values, other) or _miss_the_pattern(others, one)


def _miss_the_pattern(values: list[Any] | None, schema: Mapping[str, Any]) -> bool:
    pattern = schema.get("pattern")
    if values is None or not isinstance(pattern, str):
        return False
    try:
        return all(isinstance(each, str) and not re.search(pattern, each) for each in values)
    except re.error:
        return False


def _written(value: Any) -> str:
    """A value as JSON; numbers that are equal are written the same."""
    is_whole = isinstance(value, float) and value.is_integer()
    return json.dumps(int(value) if is_whole else value, sort_keys=True)


def _are_apart(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether both are numbers, or both texts or lists, and one ends before the other begins."""
    for low, high, kinds in (
        ("minimum", "maximum", {"integer", "number"}),
        ("minLength", "maxLength", {"string"}),
        ("minItems", "maxItems", {"array"}),
    ):
        if {one.get("type"), other.get("type")} - kinds:
            continue
        for first, second in ((one, other), (other, one)):
            end, start = first.get(high), second.get(low)
            if _is_number(end) and _is_number(start) and end < start:
                return True
    return False


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _differ_in_a_property(
    one: Mapping[str, Any], other: Mapping[str, Any], root: Mapping[str, Any], depth: int
) -> bool:
    """Whether a property that one of them requires can't be as both want it."""
    if "object" not in (one.get("type"), other.get("type")):
        return False
    return any(
        _excludes(_property(one, name), _property(other, name), root, depth + 1)
        for name in {*_required(one), *_required(other)}
    )


def _property(schema: Mapping[str, Any], name: str) -> Any:
    listed = schema.get("properties", {})
    if name in listed:
        return listed[name]
    return True if "patternProperties" in schema else schema.get("additionalProperties", True)


def _required(schema: Mapping[str, Any]) -> list[str]:
    required = schema.get("required")
    return (
        [each for each in required if isinstance(each, str)] if isinstance(required, list) else []
    )


def _without_the_other(
    one: Any, other: Any, base: Mapping[str, Any], root: Mapping[str, Any]
) -> Schema | None:
    """The first schema without a property that the second one requires; None if there is none."""
    one, other = resolved(one, root), resolved(other, root)
    if not isinstance(one, Mapping) or not isinstance(other, Mapping):
        return None
    if "object" not in (one.get("type"), other.get("type"), base.get("type")):
        return None
    asked = {*_required(one), *_required(base)}
    spare = next((name for name in _required(other) if name not in asked), None)
    if spare is None:
        return None
    return {**one, "properties": {**one.get("properties", {}), spare: False}}
