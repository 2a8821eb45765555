"""JSON schemas as symbols of a grammar, in llguidance's dialect of Lark.

This module knows JSON schemas: nothing of tokens or of how answers are held to them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from langchain_amulet.errors import SchemaError

JSON_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
"""One line with a space after commas and colons: as ``json.dumps`` and chat templates write it."""


_SPAN = "(0[13-9]|1[0-2])-[0-9]{2}|02-([01][0-9]|2[0-8])"
_LEAP_YEAR = "([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)"
_DATE = f"([1-9][0-9]{{3}}-({_SPAN})|{_LEAP_YEAR}-02-29)"
_TIME = r"[0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
EXACT = {"date": f"^{_DATE}$", "time": f"^{_TIME}$", "date-time": f"^{_DATE}T{_TIME}$"}
"""Formats of which more is asked than llguidance does: no leap seconds, which hardly any reader
takes, no 29th of February but in leap years, no year 0."""

LONGEST = {"hostname": 253}
"""Characters that a format has at the most, which llguidance doesn't count."""

VOID = frozenset({"password", "path", "binary"})
"""Formats that any string has."""

LITERAL = frozenset({"const", "enum", "default", "examples"})
"""Keywords whose values are no schemas."""


def json_rule(schema: Mapping[str, Any]) -> str:
    """A JSON schema as a symbol of a grammar.

    Objects that list properties and don't speak of others have no others: what is written is
    valid by the schema all the same, and a model can't go on inventing.

    Raises:
        SchemaError: Grammars can't hold to it, although llguidance takes it.
    """
    exact = _everywhere(schema, _exact)
    closed = exact if _is_composed(exact) else _everywhere(exact, _closed)
    _everywhere(closed, _check_names)
    return f"%json {json.dumps({**closed, 'x-guidance': JSON_STYLE})}"


def unheld(reason: str) -> SchemaError:
    """What to raise for a schema that no answer can be held to, by llguidance's word on it."""
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


def _everywhere(schema: Any, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """A schema with all schemas in it changed, the innermost first."""
    if isinstance(schema, list):
        return [_everywhere(item, change) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return change(
        {
            key: value if key in LITERAL else _everywhere(value, change)
            for key, value in schema.items()
        }
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


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    is_object = isinstance(schema.get("properties"), Mapping) and schema.get("type") == "object"
    return {"additionalProperties": False, **schema} if is_object else schema


def _exact(schema: dict[str, Any]) -> dict[str, Any]:
    wanted = schema.get("format")
    if not isinstance(wanted, str):
        return schema
    if wanted in EXACT:
        return {"pattern": EXACT[wanted], **schema}
    if wanted in LONGEST:
        most = min(schema.get("maxLength", LONGEST[wanted]), LONGEST[wanted])
        return {**schema, "maxLength": most}
    return {key: value for key, value in schema.items() if key != "format" or wanted not in VOID}


def _check_names(schema: dict[str, Any]) -> dict[str, Any]:
    """Refuse to count names that a grammar can't tell from each other."""
    fewest, required = schema.get("minProperties"), schema.get("required")
    if not isinstance(fewest, int) or schema.get("additionalProperties") is False:
        return schema
    if fewest > 1 + (len(required) if isinstance(required, list) else 0):
        raise unheld(f"minProperties: {fewest} counts names that may be the same")
    return schema
