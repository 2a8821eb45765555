"""Whether a JSON schema is one: whether its keywords have values of the kinds that they must have.

This module knows what JSON Schema calls its keywords, from draft 4 on: nothing of what they ask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from langchain_amulet.errors import SchemaError
from langchain_amulet.grammar.schema_tree import (
    LISTED,
    NAMED,
    SINGLE,
    TYPES,
    Schema,
    everywhere,
)
from langchain_amulet.validation.wording import quoted


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


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping) and all(map(_is_text, value))


def _are_types(value: Any) -> bool:
    return value in TYPES if isinstance(value, str) else _are_names(value) and {*value} <= TYPES


COUNTED = (
    "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
    "minContains", "maxContains",
)  # fmt: skip

SHAPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = MappingProxyType(
    {
        **{key: ("a schema", _is_schema) for key in sorted(SINGLE)},
        **{key: ("a list of schemas", _are_schemas) for key in sorted(LISTED)},
        **{key: ("an object of schemas", _is_object) for key in sorted(NAMED)},
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
        "dependentRequired": ("an object of lists of names", _is_object),
    }
)
"""What the value of a keyword must be, in words, and what tells it."""


GIVEN: Mapping[str, tuple[str, Callable[[Any], bool]]] = MappingProxyType(
    {
        **{
            key: ("a schema", _is_schema)
            for key in ("properties", "patternProperties", "dependentSchemas")
        },
        "dependentRequired": ("a list of names", _are_names),
        "dependencies": (
            "a schema or a list of names",
            lambda each: _is_schema(each) or _are_names(each),
        ),
    }
)
"""The same of what a keyword gives to each name; what no reference leads to may be anything."""


def check_shapes(schema: Mapping[str, Any], whose: str | None = None) -> None:
    """Refuse what is no JSON schema.

    Args:
        schema: What may be one.
        whose: What it is the schema of, for the message; None to leave that out.

    Raises:
        SchemaError: A keyword has a value of another kind than it must have.
    """
    everywhere(schema, partial(_checked, "" if whose is None else f" It is the schema of {whose}."))


def _checked(told: str, schema: Schema, place: str) -> Schema:
    for keyword, value in schema.items():
        words, is_one = SHAPES.get(keyword, ("", lambda value: True))
        if not is_one(value):
            raise _misshapen(f"{keyword} at {place}", words, value, told)
    for keyword, (words, is_one) in GIVEN.items():
        for name, value in schema.get(keyword, {}).items():
            if not is_one(value):
                raise _misshapen(f"{name} in {keyword} at {place}", words, value, told)
    return schema


def _misshapen(what: str, words: str, value: Any, told: str) -> SchemaError:
    return SchemaError(
        f"A schema must be a JSON schema, but: {what} must be {words}, not {quoted(value)}. Mend "
        f"that.{told}"
    )
