"""The schema that an answer is held to, in every form that callers have, as one.

``with_structured_output`` makes a tool of it or a response format; a call is given either.

This module knows what callers say of an answer's structure: nothing of how it is asked for in a
prompt, decoded or read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_origin

from langchain_amulet.chat_models.function_schema import (
    SAYING,
    WRAPPING,
    as_function,
    is_code,
    is_described,
    is_json_schema,
    reason,
    shown,
)
from langchain_amulet.errors import SchemaError, ToolError
from langchain_amulet.grammar.schema_shapes import check_shapes
from langchain_amulet.validation.json_data import as_json, check_nesting
from langchain_amulet.validation.wording import message_of, quoted

UNTITLED = "answer"
"""The name of a schema that has none."""


@dataclass(frozen=True)
class ResponseFormat:
    """How an answer's text is to be structured.

    Attributes:
        schema: Its JSON schema.
        told: Whether the model is told of the schema, besides being held to it.
    """

    schema: Mapping[str, Any]
    told: bool = True


def as_response_format(value: Any) -> ResponseFormat | None:
    """How the answer is to be structured: OpenAI's forms, or a schema by itself.

    Raises:
        SchemaError: It is neither.
    """
    if value is None or isinstance(value, ResponseFormat):
        return value
    check_nesting(SchemaError, "A response_format", value)
    if isinstance(value, Mapping):
        kind = value.get("type")
        if kind == "text":
            return None
        if kind == "json_object" and "properties" not in value:
            return ResponseFormat(_plain(value.get("schema") or {"type": "object"}), told=False)
        if kind == "json_schema":
            inner = value.get("json_schema", value)
            if isinstance(inner, Mapping) and isinstance(inner.get("schema"), Mapping):
                return ResponseFormat(_plain(inner["schema"]))
    if isinstance(value, type):
        return ResponseFormat(as_schema(value))
    if isinstance(value, Mapping) and value.get("type") == "object":
        return ResponseFormat(_plain(value))
    raise SchemaError(
        "response_format must be {'type': 'json_schema', 'json_schema': {'schema': ...}}, "
        "{'type': 'json_object'}, {'type': 'text'}, a class or a JSON schema of an object, not "
        f"{quoted(value)}: use one of those."
    )


def _plain(schema: Any) -> dict[str, Any]:
    """A JSON schema as JSON writes it.

    Raises:
        SchemaError: It is none.
    """
    try:
        plain = as_json(schema)
    except ValueError as error:
        raise SchemaError(f"A schema must be JSON, but {message_of(error)}: mend it.") from None
    if not isinstance(plain, dict):
        raise SchemaError(f"A schema must be an object, not {quoted(plain)}: give one.")
    return plain


def as_schema(value: Any) -> Mapping[str, Any]:
    """A Pydantic class, a TypedDict or a JSON schema as a JSON schema with a title.

    Raises:
        SchemaError: It is none of these.
    """
    function = schema_tool(value)["function"]
    described = {"description": function["description"]} if function["description"] else {}
    return {"title": function["name"], **described, **function["parameters"]}


def schema_tool(value: Any, strict: bool | None = None) -> dict[str, Any]:
    """A Pydantic class, a TypedDict or a JSON schema as a tool whose arguments it describes.

    A schema may be wrapped as in a ``response_format`` of OpenAI's.

    Raises:
        SchemaError: It is none of these.
    """
    check_nesting(SchemaError, "A schema", value)
    value = _unwrapped(value)
    if not (is_described(value) or _is_saying(value)):
        raise _no_schema(value, "it is neither a class with fields nor a dict that says anything")
    if isinstance(value, Mapping) and value.keys().isdisjoint((*WRAPPING, "schema")):
        # Of a tool another type would say that a provider runs it.
        check_shapes({key: value[key] for key in ("type",) if key in value})
    try:
        function = as_function(_titled(value), strict)
    except (SchemaError, ToolError) as error:
        raise SchemaError(str(error)) from None
    except Exception as error:  # whatever a class can make the conversion raise
        raise _no_schema(value, reason(value, error)) from (error if is_code(value) else None)
    if not isinstance(function["name"], str):
        check_shapes(value if isinstance(value, Mapping) else {})
        raise _no_schema(value, f"its name is {quoted(function['name'])}")
    check_shapes(function["parameters"], quoted(function["name"]))
    return {"type": "function", "function": function}


def _no_schema(value: Any, fault: str) -> SchemaError:
    return SchemaError(
        "A schema must be a Pydantic class, a TypedDict or a JSON schema that says what is valid, "
        f"but {shown(value)} can't be read as one: {fault}. Use one of those{_wrap(value)}."
    )


def _wrap(value: Any) -> str:
    """How a type that says what is valid becomes a class that can be read, if it is one."""
    is_class = isinstance(value, type) and value is not object and not is_described(value)
    is_type = get_origin(value) is not None or is_class
    return ", such as RootModel of that type, or a class with a field of it" if is_type else ""


def _is_saying(value: Any) -> bool:
    """Whether it is a dict that says what is valid, or has a name to say that anything is."""
    if not isinstance(value, Mapping):
        return False
    return not value.keys().isdisjoint((*SAYING, *WRAPPING, "schema", "title", "name"))


def _unwrapped(value: Any) -> Any:
    """What a ``response_format`` of OpenAI's says of an answer; anything else as it is."""
    if not (isinstance(value, Mapping) and value.get("type") == "json_schema"):
        return value
    inner = value.get("json_schema")
    return inner if isinstance(inner, Mapping) else value


def _titled(value: Any) -> Any:
    """A JSON schema with a name; anything else as it is."""
    if isinstance(value, Mapping) and isinstance(value.get("schema"), Mapping):
        value = {"name": value.get("name"), **value["schema"]}  # OpenAI's, with a name
    if not is_json_schema(value):
        return value
    name = value.get("name")
    return {"title": name if isinstance(name, str) else UNTITLED, **value}
