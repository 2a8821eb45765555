"""Whether a JSON schema is one: whether its keywords have values of the kinds that they must have.

This module knows what JSON Schema calls its keywords, from draft 4 on: nothing of what they ask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from langchain_amulet.grammar.schema_tree import (
    LISTED,
    NAMED,
    SINGLE,
    TYPES,
    Schema,
    everywhere,
    unheld,
)


def _is_schema(value: Any) -> bool:
    return isinstance(value, (Mapping, bool))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_bound(value: Any) -> bool:
    return isinstance(value, (int, float))  # or a truth value, as in draft 4


def _is_count(value: Any) -> bool:
    is_whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return is_whole and not isinstance(value, bool) and value >= 0


def _are_schemas(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_schema, value))


def _have_names(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, value))


def _are_types(value: Any) -> bool:
    return value in TYPES if isinstance(value, str) else _are_names(value) and {*value} <= TYPES


COUNTED = ("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties")

SHAPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = MappingProxyType(
    {
        **{key: ("a schema", _is_schema) for key in SINGLE},
        **{key: ("a list of schemas", _are_schemas) for key in LISTED},
        **{key: ("an object of schemas", _have_names) for key in NAMED},
        **{key: ("a whole number, 0 or more", _is_count) for key in COUNTED},
        **{key: ("a number", _is_number) for key in ("minimum", "maximum")},
        **{key: ("a number", _is_bound) for key in ("exclusiveMinimum", "exclusiveMaximum")},
        **{key: ("a text", _is_text) for key in ("pattern", "format", "$ref")},
        "multipleOf": ("a number above 0", lambda value: _is_number(value) and value > 0),
        "items": (
            "a schema or a list of them",
            lambda each: _is_schema(each) or _are_schemas(each),
        ),
        "type": (f"one of {', '.join(sorted(TYPES))}, or a list of these", _are_types),
        "required": ("a list of names", _are_names),
        "enum": ("a list", lambda value: isinstance(value, list)),
        "uniqueItems": ("true or false", lambda value: isinstance(value, bool)),
        "dependentRequired": ("an object of lists of names", _have_names),
    }
)
"""What the value of a keyword must be, in words, and what tells it."""


def check_shapes(schema: Mapping[str, Any]) -> None:
    """Refuse what is no JSON schema.

    Raises:
        SchemaError: A keyword has a value of another kind than it must have.
    """
    everywhere(schema, _checked)


def _checked(schema: Schema, place: str) -> Schema:
    for keyword, value in schema.items():
        words, is_one = SHAPES.get(keyword, ("", lambda value: True))
        if not is_one(value):
            raise unheld(f"{keyword} at {place} must be {words}")
    for keyword, name in _named(schema):
        if not _is_schema(schema[keyword][name]) and keyword in ("properties", "patternProperties"):
            raise unheld(f"{name} in {keyword} at {place} must be a schema")
    return schema


def _named(schema: Schema) -> Iterator[tuple[str, str]]:
    return ((keyword, name) for keyword in NAMED & schema.keys() for name in schema[keyword])
