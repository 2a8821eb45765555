"""Whether two schemas exclude each other, and stricter forms of one by which it excludes the other.

This module knows what JSON schemas ask: nothing of grammars.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from langchain_amulet.grammar.pattern_dialects import finds_by_any, for_any
from langchain_amulet.grammar.pattern_overlaps import are_apart
from langchain_amulet.grammar.schema_tree import TYPES, Schema, joined, resolved
from langchain_amulet.grammar.values import DEEPEST, REMARKS, candidates, kind_of, written

NUMBERS = frozenset({"number", "integer"})

SPEAKING: Mapping[str, frozenset[str]] = {
    "object": frozenset(
        {
            "properties", "required", "additionalProperties", "patternProperties", "propertyNames",
            "minProperties", "maxProperties", "dependencies", "dependentRequired",
            "dependentSchemas",
        }
    ),
    "array": frozenset(
        {
            "items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems",
            "contains",
        }
    ),
    "string": frozenset({"minLength", "maxLength", "pattern", "format"}),
    "number": frozenset(
        {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    ),
    "integer": frozenset(
        {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    ),
}  # fmt: skip
"""Keywords that speak of values of one type only, by that type."""


def excludes(one: Any, other: Any, root: Mapping[str, Any], depth: int = 0) -> bool:
    """Whether surely no value is valid by both schemas; False where it isn't clear.

    Args:
        one: A schema.
        other: Another one.
        root: What their references are looked up in.
        depth: How many schemas were looked into on the way to these.
    """
    one, other = joined({}, one, root), joined({}, other, root)
    if one is False or other is False:
        return True
    if depth > DEEPEST:
        return False
    for schema, against in ((one, other), (other, one)):
        for keyword in ("anyOf", "oneOf"):
            if choices := schema.get(keyword):
                rest = {key: value for key, value in schema.items() if key != keyword}
                wholes = (joined(rest, each, root) for each in choices)
                if all(excludes(each, against, root, depth + 1) for each in wholes):
                    return True
    common = kinds(one, root) & kinds(other, root)
    if common and _have_other_values(one, other, root):
        return True
    return all(_are_apart(kind, one, other, root, depth) for kind in common)


def narrowed(branch: Any, other: Any, base: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """A stricter form of a schema by which it excludes another one; None if none is known.

    Args:
        branch: The schema.
        other: The other one.
        base: What holds besides the schema, whatever it says.
        root: What references are looked up in.
    """
    found = (
        each
        for each in (branch, *_narrowings(branch, other, base, root))
        if excludes(joined(base, each, root), other, root)
    )
    return next(found, None)


def kinds(schema: Mapping[str, Any], root: Mapping[str, Any]) -> set[str]:
    """The types that values may have; whole numbers may be of both types of number."""
    values = candidates(schema, root)
    if values is not None:
        found = {kind_of(value) for value in values}
    else:
        kind = schema.get("type", sorted(TYPES))
        found = set(kind) if isinstance(kind, list) else {str(kind)}
    return found | {"integer"} if "number" in found else found


# --- Whether they exclude each other ---


def _have_other_values(
    one: Mapping[str, Any], other: Mapping[str, Any], root: Mapping[str, Any]
) -> bool:
    values, others = candidates(one, root), candidates(other, root)
    if values is not None and others is not None:
        return set(map(written, values)).isdisjoint(map(written, others))
    return _miss_the_pattern(values, other) or _miss_the_pattern(others, one)


def _miss_the_pattern(values: list[Any] | None, schema: Mapping[str, Any]) -> bool:
    pattern = schema.get("pattern")
    if values is None or not isinstance(pattern, str):
        return False
    is_found = finds_by_any(pattern)
    return all(isinstance(each, str) and not is_found(each) for each in values)


def _are_apart(
    kind: str, one: Mapping[str, Any], other: Mapping[str, Any], root: Mapping[str, Any], depth: int
) -> bool:
    """Whether no value of one type is valid by both."""
    if kind in NUMBERS:
        return _ends_before(one, other, "minimum", "maximum")
    if kind == "string":
        patterns = [each["pattern"] for each in (one, other) if "pattern" in each]
        return _ends_before(one, other, "minLength", "maxLength") or (
            len(patterns) == 2 and are_apart(*map(for_any, patterns))
        )
    if kind == "array":
        # Where neither needs an item, both take an empty list.
        is_filled = any(
            _is_number(each.get("minItems")) and each["minItems"] >= 1 for each in (one, other)
        )
        items, others = one.get("items", True), other.get("items", True)
        differ = is_filled and excludes(items, others, root, depth + 1)
        return differ or _ends_before(one, other, "minItems", "maxItems")
    return kind == "object" and any(
        excludes(_property(one, name), _property(other, name), root, depth + 1)
        for name in {*one.get("required", ()), *other.get("required", ())}
    )


def _ends_before(one: Mapping[str, Any], other: Mapping[str, Any], low: str, high: str) -> bool:
    """Whether the range of one of them ends before that of the other begins."""
    for first, second in ((one, other), (other, one)):
        end, start = first.get(high), second.get(low)
        if _is_number(end) and _is_number(start) and end < start:
            return True
    return False


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _property(schema: Mapping[str, Any], name: str) -> Any:
    """What an object's property must be, as far as it is clear."""
    listed = schema.get("properties", {})
    if name in listed:
        return listed[name]
    return True if "patternProperties" in schema else schema.get("additionalProperties", True)


# --- What would make them ---


def _narrowings(
    branch: Any, other: Any, base: Mapping[str, Any], root: Mapping[str, Any]
) -> Iterator[Schema]:
    """Stricter forms of a schema that may exclude another one, the mildest first."""
    branch, other = resolved(branch, root), joined({}, other, root)
    whole = joined(base, branch, root)
    if not isinstance(branch, Mapping) or other is False or whole is False:
        return
    covered = {kind for kind in kinds(whole, root) if _takes_all(kind, other)}
    if left := kinds(whole, root) - covered:
        yield {**branch, "type": sorted(left)}
    yield from _without_values(branch, whole, other, root)
    yield from _without_choices(branch, other, base, root)
    if _speaks_of("object", whole):
        yield from _objects(branch, whole, other, root)
    if _speaks_of("array", whole):
        yield from _lists(branch, whole, other, root)


def _takes_all(kind: str, schema: Mapping[str, Any]) -> bool:
    """Whether all values of a type are valid."""
    types = schema.get("type", kind)
    types = {*(types if isinstance(types, list) else [types])}
    others = frozenset[str]().union(*(SPEAKING[each] for each in SPEAKING if each != kind))
    asking = schema.keys() - REMARKS - {"type"} - (others - SPEAKING.get(kind, frozenset()))
    is_one = kind in types or (kind == "integer" and "number" in types)
    return is_one and not asking


def _speaks_of(kind: str, schema: Mapping[str, Any]) -> bool:
    return schema.get("type") == kind or (
        "type" not in schema and not schema.keys().isdisjoint(SPEAKING[kind])
    )


def _without_values(
    branch: Mapping[str, Any], whole: Mapping[str, Any], other: Any, root: Mapping[str, Any]
) -> Iterator[Schema]:
    values = candidates(whole, root) or ()
    if apart := [each for each in values if excludes({"const": each}, other, root)]:
        yield {**branch, "enum": apart}


def _without_choices(
    branch: Mapping[str, Any], other: Any, base: Mapping[str, Any], root: Mapping[str, Any]
) -> Iterator[Schema]:
    for keyword in ("anyOf", "oneOf"):
        choices = branch.get(keyword, ())
        apart = [each for each in choices if excludes(joined(base, each, root), other, root)]
        if apart and keyword == "anyOf":
            yield {**branch, keyword: apart}
        elif apart:  # that no other one holds is still asked
            yield {**branch, "allOf": [*branch.get("allOf", ()), {"anyOf": apart}]}


def _objects(
    branch: Mapping[str, Any],
    whole: Mapping[str, Any],
    other: Mapping[str, Any],
    root: Mapping[str, Any],
) -> Iterator[Schema]:
    """Objects without what only the other one requires, or with what tells both apart."""
    if whole.get("type") != "object":
        # What has no type stays as open as it was: objects with one are closed.
        branch = {"additionalProperties": True, **branch, "type": "object"}
        yield dict(branch)
    required = whole.get("required", ())
    spare = [name for name in other.get("required", ()) if name not in required]
    listed = branch.get("properties", {})
    without = [{"properties": {**listed, name: False}} for name in spare]
    if len(without) > 1 and "anyOf" not in branch:
        yield {**branch, "anyOf": without}
    elif without:
        yield {**branch, **without[0]}
    for name in [*whole.get("properties", ()), *other.get("properties", ())]:
        if excludes(_property(whole, name), _property(other, name), root):
            yield {**branch, "required": list(dict.fromkeys([*branch.get("required", ()), name]))}


def _lists(
    branch: Mapping[str, Any],
    whole: Mapping[str, Any],
    other: Mapping[str, Any],
    root: Mapping[str, Any],
) -> Iterator[Schema]:
    """Lists that aren't empty, of items that the other one doesn't take."""
    filled = {**branch, "type": "array", "minItems": max(1, whole.get("minItems", 1))}
    yield filled
    items = narrowed(whole.get("items", {}), other.get("items", {}), {}, root)
    if items is not None:
        yield {**filled, "items": items}
