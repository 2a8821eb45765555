"""JSON schemas as symbols of a grammar, in llguidance's dialect of Lark.

This module knows JSON schemas: nothing of tokens or of how answers are held to them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from langchain_amulet.errors import SchemaError

JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""One line with a space after commas and colons: as ``json.dumps`` and chat templates write it."""


def json_rule(schema: Mapping[str, Any]) -> str:
    """A JSON schema as a symbol of a grammar.

    Objects that list properties and don't speak of others have no others: what is written is
    valid by the schema all the same, and a model can't go on inventing.
    """
    closed = dict(schema) if _is_composed(schema) else _closed(schema)
    return f"%json {json.dumps({**closed, 'x-guidance': JSON_STYLE})}"


def unheld(reason: str) -> SchemaError:
    """What to raise for a schema that no answer can be held to, by llguidance's word on it."""
    return SchemaError(
        "A schema must be one that answers can be held to while they are written, but: "
        f"{reason.strip().splitlines()[0]}. Take that out of the schema, or check it afterwards."
    )


def _is_composed(schema: Any) -> bool:
    """Whether objects in it are put together of parts, which closing would set against another."""
    if isinstance(schema, list):
        return any(map(_is_composed, schema))
    if not isinstance(schema, Mapping):
        return False
    joins = "properties" in schema and not schema.keys().isdisjoint(("anyOf", "oneOf", "$ref"))
    if joins or "allOf" in schema or "patternProperties" in schema:
        return True
    return any(map(_is_composed, schema.values()))


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    inner = {
        key: value if key in ("const", "enum", "default", "examples") else _closed(value)
        for key, value in schema.items()
    }
    is_object = isinstance(schema.get("properties"), Mapping) and schema.get("type") == "object"
    return {"additionalProperties": False, **inner} if is_object else inner
