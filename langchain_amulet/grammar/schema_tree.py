"""JSON schemas as trees: which of their keywords hold schemas, and where references lead.

This module knows how schemas are nested: nothing of what keywords ask, or of grammars.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from langchain_amulet.errors import SchemaError

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

MOST_REFERENCES = 16


def everywhere(schema: Any, change: Change, place: str = "#") -> Any:
    """A schema with all schemas in it changed, the innermost first."""
    if not isinstance(schema, Mapping):
        return schema
    changed = dict(schema)
    for key, value in schema.items():
        inner = f"{place}/{key}"
        if key in NAMED and isinstance(value, Mapping):
            changed[key] = {n: everywhere(s, change, f"{inner}/{n}") for n, s in value.items()}
        elif key in LISTED and isinstance(value, list):
            changed[key] = [everywhere(s, change, f"{inner}/{n}") for n, s in enumerate(value)]
        elif key in SINGLE:
            changed[key] = everywhere(value, change, inner)
    return change(changed, place)


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
        target = _at(root, str(schema["$ref"]))
        if not isinstance(target, Mapping):
            return schema
        schema = {**target, **{key: value for key, value in schema.items() if key != "$ref"}}
    return schema


def unheld(reason: str) -> SchemaError:
    """What to raise for a schema that no answer can be held to, for this reason."""
    return SchemaError(
        "A schema must be one that answers can be held to while they are written, but: "
        f"{_told(reason)}. Take that out of the schema, or check it afterwards."
    )


def _told(reason: str) -> str:
    """The reason in a line: what is wrong with a pattern is said some lines below it."""
    what, *lines = reason.strip().splitlines()
    cause = next((line for line in lines if line.startswith("error: ")), None)
    if cause is None:
        return what
    return f"{what} {cause.removeprefix('error: ')}, in {json.dumps(lines[0].strip())}"


def _at(root: Any, reference: str) -> Any:
    """What stands where a reference within the same schema leads."""
    if not reference.startswith("#"):
        return None
    for part in filter(None, reference[1:].split("/")):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(root, Mapping):
            root = root.get(key)
        elif isinstance(root, Sequence) and key.isdigit() and int(key) < len(root):
            root = root[int(key)]
        else:
            return None
    return root
