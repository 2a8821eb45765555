"""Tools and calls of them, as chat formats know them.

This module knows JSON schemas of arguments: nothing of how any family writes a call.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from langchain_amulet.errors import SchemaError, ToolError
from langchain_amulet.grammar.schema_tree import resolved
from langchain_amulet.validation.checks import check_type

Function = Mapping[str, Any]
"""A tool as OpenAI's function schema: ``name``, and perhaps ``description``, ``parameters``."""

NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}}

APART = ("allOf", "anyOf", "oneOf", "if", "dependentRequired", "dependencies", "dependentSchemas",
         "patternProperties", "minProperties", "maxProperties", "not", "enum", "const")  # fmt: skip
"""What a schema may ask of arguments together, and that can't be kept to one by one."""


LISTED = frozenset(("prefixItems", "contains", "uniqueItems", "unevaluatedItems", "enum", "const",
                    "allOf", "anyOf", "oneOf", "not", "if"))  # fmt: skip
"""What a schema may ask of items together, likewise."""


@dataclass(frozen=True)
class FunctionCall:
    """A call of a tool.

    Attributes:
        name: The tool's name.
        arguments: Its arguments, by their names.
    """

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Parameter:
    """An argument that a tool takes.

    Attributes:
        name: What it is called.
        schema: Its JSON schema, which refers to nothing outside of itself.
        is_required: Whether each call has it.
    """

    name: str
    schema: Mapping[str, Any]
    is_required: bool

    @property
    def types(self) -> frozenset[str]:
        """The types of JSON that it may have; none if it may have any."""
        return types_of(self.schema, self.schema)


def arguments_schema(function: Function) -> Mapping[str, Any]:
    """The JSON schema of a call's arguments, an object even where it doesn't say so by itself."""
    check_type("function", function, Mapping, error=ToolError)
    schema = function.get("parameters") or NO_ARGUMENTS
    check_type("parameters", schema, Mapping, error=ToolError)
    return {"type": "object", **schema} if "properties" in schema else schema


def parameters_of(function: Function) -> tuple[Parameter, ...]:
    """What a tool takes, in its schema's order; what is required but isn't listed comes last."""
    schema = _object_schema(function)
    properties = schema.get("properties") or {}
    required = schema.get("required") or ()
    names = dict.fromkeys((*properties, *required))
    shared = _shared(schema)
    return tuple(
        Parameter(name, _with(shared, properties.get(name, {})), name in required) for name in names
    )


def narrowed(parameter: Parameter, kind: str) -> Mapping[str, Any]:
    """What is asked of an argument where it has this type of JSON; all, if that isn't told apart.

    Args:
        parameter: The argument.
        kind: The type.
    """
    schema = resolved(parameter.schema, parameter.schema)
    whole: Mapping[str, Any] = schema if isinstance(schema, Mapping) else {}
    choices = whole.get("anyOf") or whole.get("oneOf") or ()
    found = [resolved(each, parameter.schema) for each in choices]
    fitting = [each for each in found if isinstance(each, Mapping) and each.get("type") == kind]
    return fitting[0] if len(fitting) == 1 else whole


def member_of(parameter: Parameter, name: str) -> Parameter | None:
    """What an argument that is an object takes by this name; None if it doesn't say."""
    function = {"parameters": {**_shared(parameter.schema), **narrowed(parameter, "object")}}
    known = next((each for each in parameters_of(function) if each.name == name), None)
    others = _object_schema(function).get("additionalProperties")
    if known is None and isinstance(others, Mapping):
        return Parameter(name, _with(_shared(parameter.schema), others), False)
    return known


def item_of(parameter: Parameter, name: str) -> Parameter:
    """What an argument that is a list takes, by any name."""
    items = narrowed(parameter, "array").get("items", {})
    return Parameter(name, _with(_shared(parameter.schema), items), False)


def inner_of(parameter: Parameter, item: str) -> tuple[Parameter, ...]:
    """What an argument that is an object or a list takes in it, if that can be kept to one by one.

    Args:
        parameter: The argument.
        item: What the items of a list are called.

    Returns:
        An object's members, what each item of a list is, or nothing.
    """
    if parameter.types == {"object"}:
        function = {"parameters": {**_shared(parameter.schema), **narrowed(parameter, "object")}}
        return parameters_of(function) if is_apart(function) else ()
    is_list = parameter.types == {"array"}
    asked = narrowed(parameter, "array").keys() & LISTED
    return (item_of(parameter, item),) if is_list and not asked else ()


def takes_any(function: Function) -> bool:
    """Whether a tool lists no arguments and takes whatever it is given."""
    schema = _object_schema(function)
    return "properties" not in schema and schema.get("additionalProperties") is not False


def check_apart(function: Function) -> None:
    """Refuse a tool whose arguments can't be kept to one by one.

    Raises:
        SchemaError: Its schema asks something of several arguments together.
    """
    found = _together(function)
    if found is not None:
        raise SchemaError(
            "Where a chat format writes arguments one by one, their schema must say of each what "
            f"is valid, but that of {function['name']!r} asks by {found!r} something of all of "
            "them together: ask it of one argument, or choose a chat_format that writes JSON."
        )


def is_apart(function: Function) -> bool:
    """Whether a tool's arguments can be kept to one by one."""
    return _together(function) is None


def types_of(schema: Any, root: Mapping[str, Any]) -> frozenset[str]:
    """The types of JSON that are valid by a schema; none if any may be."""
    schema = resolved(schema, root)
    if not isinstance(schema, Mapping):
        return frozenset()
    if "const" in schema or "enum" in schema:
        return frozenset(map(_type_of, schema.get("enum", [schema.get("const")])))
    if "type" in schema:
        said = schema["type"]
        return frozenset([said] if isinstance(said, str) else said)
    choices = [types_of(each, root) for key in ("anyOf", "oneOf") for each in schema.get(key, ())]
    return frozenset().union(*choices) if all(choices) else frozenset()


def _type_of(value: Any) -> str:
    kinds = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array"}
    return "null" if value is None else kinds.get(type(value), "object")


def _together(function: Function) -> str | None:
    """The keyword by which a tool's schema asks something of several arguments together."""
    schema = _object_schema(function)
    return next((key for key in APART if schema.get(key)), None)


def _object_schema(function: Function) -> Mapping[str, Any]:
    schema = arguments_schema(function)
    found = resolved(schema, schema)
    if not isinstance(found, Mapping):
        return {}
    return {**_shared(schema), **found}


def _shared(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The definitions of a schema, to which parts of it refer."""
    return {key: schema[key] for key in ("$defs", "definitions") if key in schema}


def _with(shared: Mapping[str, Any], schema: Any) -> Mapping[str, Any]:
    if not isinstance(schema, Mapping):
        return {} if schema is not False else {"not": {}}
    return {**schema, **shared}
