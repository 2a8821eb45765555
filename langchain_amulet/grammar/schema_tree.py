"""JSON schemas as trees: which of their keywords hold schemas, and where references lead.

This module knows how schemas are nested: nothing of what keywords ask, or of grammars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

from langchain_amulet.errors import SchemaError

TYPES = frozenset({"string", "number", "integer", "boolean", "null", "object", "array"})
"""What JSON Schema calls the types of values."""

Schema = dict[str, Any]
Change = Callable[[Schema, str], Any]
"""What becomes of a schema, and where it stands, as a JSON pointer: a schema, or a truth value."""

NAMED = frozenset(
    {"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"}
)
"""Keywords that give schemas to names."""

LISTED = frozenset({"anyOf", "allOf", "oneOf", "prefixItems", "items"})
"""Keywords that list schemas."""

SINGLE = frozenset(
    {
        "items", "additionalItems", "additionalProperties", "unevaluatedItems", "not", "if", "then",
        "unevaluatedProperties", "contains", "propertyNames", "else",
    }
)  # fmt: skip
"""Keywords that have one schema."""

ANCHORED = ("$defs", "definitions", "$schema", "$id", "id")
"""Keywords that belong where they stand: references lead there, or are read by them."""

MOST_REFERENCES = 16

ASKING_MORE = ("required", "properties")
"""Keywords of which each part of a schema may have its own."""


def everywhere(schema: Any, change: Change, place: str = "#") -> Any:
    """A schema with all schemas in it changed, the innermost first."""
    if not isinstance(schema, Mapping):
        return schema
    inner = within(schema, lambda each, at: everywhere(each, change, at), place)
    return change(inner, place)


def from_outside(schema: Any, change: Change, place: str = "#") -> Any:
    """A schema with all schemas in it changed, the outermost first, and what became of them.

    So a change sees what is within a schema as it was asked.
    """
    if not isinstance(schema, Mapping):
        return schema
    changed = change(dict(schema), place)
    return within(changed, lambda each, at: from_outside(each, change, at), place)


def within(schema: Any, change: Change, place: str) -> Any:
    """A schema with those right in it changed."""
    if not isinstance(schema, Mapping):
        return schema
    changed = dict(schema)
    for key, value in schema.items():
        inner = f"{place}/{key}"
        if key in NAMED and isinstance(value, Mapping):
            changed[key] = {name: change(each, f"{inner}/{name}") for name, each in value.items()}
        elif key in LISTED and isinstance(value, list):
            changed[key] = [change(each, f"{inner}/{n}") for n, each in enumerate(value)]
        elif key in SINGLE:
            changed[key] = change(value, inner)
    return changed


def all_of(schema: Any) -> Iterator[Schema]:
    """All schemas in one, but for those that are truth values."""
    found: list[Schema] = []

    def note(each: Schema, place: str) -> Schema:
        found.append(each)
        return each

    everywhere(schema, note)
    return iter(found)


def resolved(schema: Any, root: Mapping[str, Any]) -> Any:
    """What a schema refers to, with what it says beside that; itself if it doesn't refer."""
    for _ in range(MOST_REFERENCES):
        if not isinstance(schema, Mapping) or "$ref" not in schema:
            return schema
        target = at(root, str(schema["$ref"]))
        if not isinstance(target, Mapping):
            return schema
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def joined(one: Mapping[str, Any], other: Any, root: Mapping[str, Any]) -> Any:
    """What two schemas ask together, with their ``allOf``, in one; or a little less than that.

    Where both ask by the same keyword, what the second one asks is kept.

    Args:
        one: A schema.
        other: Another one, or a truth value.
        root: What references are looked up in.
    """
    parts: list[Mapping[str, Any]] = []
    ahead = [other, one]
    while ahead and len(parts) < MOST_REFERENCES:
        part = resolved(ahead.pop(), root)
        if part is False:
            return False
        if isinstance(part, Mapping):
            parts.append({key: value for key, value in part.items() if key != "allOf"})
            ahead += part.get("allOf", ())
    whole: Schema = {}
    for part in parts:
        properties = _both(whole, part, "properties")
        required = [*whole.get("required", ()), *part.get("required", ())]
        whole = {**whole, **part, "required": required, "properties": properties}
    return {key: value for key, value in whole.items() if value or key not in ASKING_MORE}


def any_of(cases: Sequence[Schema], schema: Schema) -> Schema:
    """Cases of a schema in its place; what references may lead to, and its name, stay there."""
    outside = {key: value for key, value in schema.items() if key in ANCHORED}
    inside = [{key: value for key, value in case.items() if key not in ANCHORED} for case in cases]
    return {**outside, "anyOf": inside}


def with_targets(schema: Schema) -> Schema:
    """The schema with all that its references lead to where schemas are looked for: in ``$defs``.

    Some schemas have definitions within definitions, or where no keyword is.
    """
    moved: dict[str, str] = {}

    def redirected(each: Schema, place: str) -> Schema:
        return {**each, "$ref": moved[each["$ref"]]} if each.get("$ref") in moved else each

    while targets := _targets_elsewhere(schema):
        names = {reference: f"x-moved-{len(moved) + n}" for n, reference in enumerate(targets)}
        moved |= {reference: f"#/$defs/{name}" for reference, name in names.items()}
        more = {names[reference]: target for reference, target in targets.items()}
        whole = {**schema, "$defs": {**schema.get("$defs", {}), **more}}
        schema = everywhere(whole, redirected)
    return schema


def _targets_elsewhere(schema: Schema) -> dict[str, Schema]:
    """What references lead to that isn't found by the keywords, by the references."""
    known = {*places(schema)}
    references = {each["$ref"] for each in all_of(schema) if "$ref" in each}
    own = sorted(each for each in references if each.startswith("#/") and _place(each) not in known)
    targets = {each: at(schema, each) for each in own}
    return {each: target for each, target in targets.items() if isinstance(target, dict)}


def places(schema: Schema) -> list[str]:
    """Where all schemas in one stand."""
    found: list[str] = []

    def note(each: Schema, place: str) -> Schema:
        found.append(place)
        return each

    everywhere(schema, note)
    return found


def _both(one: Mapping[str, Any], other: Mapping[str, Any], keyword: str) -> Schema:
    """The schemas that both give to names; a name that both know has to be as both want it."""
    ours, theirs = one.get(keyword, {}), other.get(keyword, {})
    shared = {name: {"allOf": [ours[name], theirs[name]]} for name in ours.keys() & theirs.keys()}
    return {**ours, **theirs, **shared}


def unheld(reason: str) -> SchemaError:
    """What to raise for a schema that no answer can be held to, for this reason."""
    return SchemaError(
        "A schema must be one that answers can be held to while they are written, but: "
        f"{reason}. Take that out of the schema, or check it afterwards."
    )


def steps(reference: str) -> list[str]:
    """The names and numbers that lead from the root to where a reference leads."""
    parts = filter(None, unquote(reference[1:]).split("/"))
    return [part.replace("~1", "/").replace("~0", "~") for part in parts]


def _place(reference: str) -> str:
    return "/".join(["#", *steps(reference)])


def at(root: Any, reference: str) -> Any:
    """What stands where a reference within the same schema leads."""
    if reference and not reference.startswith("#"):
        return None
    for key in steps(reference):
        if isinstance(root, Mapping):
            root = root.get(key)
        elif isinstance(root, Sequence) and key.isdigit() and int(key) < len(root):
            root = root[int(key)]
        else:
            return None
    return root
