"""What callers say of tools and structure, in LangChain's many ways, as one form each.

This module knows LangChain's and OpenAI's schemas: nothing of prompts, grammars or models.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from types import MappingProxyType
from typing import Any, cast

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from pydantic import BaseModel

from langchain_amulet.errors import SchemaError, ToolError
from langchain_amulet.validation import message_of

AUTO, ANY, NONE = "auto", "any", "none"

CHOICES: Mapping[Any, str] = {
    None: AUTO,
    False: AUTO,
    True: ANY,
    AUTO: AUTO,
    ANY: ANY,
    "required": ANY,
    NONE: NONE,
}
"""What callers say for leaving the choice to the model, for any tool, and for no tool."""


LISTED = ("properties", "name", "function", "input_schema", "toolSpec")
"""With one of these at its top, a schema is taken by LangChain as it is."""

NAMING = ("title", "name", "function", "toolSpec")
"""With one of these at its top, a schema has a name, or is no JSON schema."""

SAYING = ("type", "properties", "$ref", "anyOf", "oneOf", "allOf", "enum", "const", "items")
"""With one of these at its top, a JSON schema says what is valid."""

UNTITLED = "answer"
"""The name of a schema that has none."""

REFERENCE = re.compile(r'"#/\$defs/([^"]+)"')


@dataclass(frozen=True)
class ResponseFormat:
    """How an answer's text is to be structured.

    Attributes:
        schema: Its JSON schema.
        told: Whether the model is told of the schema, besides being held to it.
    """

    schema: Mapping[str, Any]
    told: bool = True


def as_tool(value: Any, strict: bool | None = None) -> dict[str, Any]:
    """A tool as OpenAI's schema: a function, a Pydantic class, a `BaseTool`, or a schema.

    Raises:
        ToolError: It can't be made one.
    """
    try:
        tool = convert_to_openai_tool(_as_function(value), strict=strict)
        is_tool = isinstance(tool.get("function", {}).get("name"), str)
    except Exception as error:  # whatever a signature or class can make the conversion raise
        raise ToolError(
            f"A tool must be a function, a Pydantic class, a BaseTool or a schema, but {value!r} "
            f"can't be read as one: {message_of(error)}. Give it a name, a description and typed "
            "arguments."
        ) from error
    if not is_tool:
        raise ToolError(
            f"A tool must be one that the caller runs, a function with a name, not {value!r}: "
            "this model has no tools of its own."
        )
    if not is_of_objects(tool["function"].get("parameters")):
        raise ToolError(
            f"A tool's arguments must be an object, as they have names, but those of {value!r} "
            "may be something else: put it into an object, as a property."
        )
    return tool


def schema_tool(value: Any, strict: bool | None = None) -> dict[str, Any]:
    """A Pydantic class, a TypedDict or a JSON schema as a tool whose arguments it describes.

    Raises:
        SchemaError: It is none of these.
    """
    try:
        tool = convert_to_openai_tool(_as_function(_titled(value)), strict=strict)
        _ = convert_to_json_schema(tool)  # which checks that there is a name
    except Exception as error:  # whatever a class can make the conversion raise
        reason = f": {message_of(error)}" if isinstance(value, type) else ""
        raise SchemaError(
            "A schema must be a Pydantic class, a TypedDict or a JSON schema that says what is "
            f"valid, but {value!r} can't be read as one{reason}. Use one of those."
        ) from error
    return tool


def as_schema(value: Any) -> Mapping[str, Any]:
    """A Pydantic class, a TypedDict or a JSON schema as a JSON schema with a title.

    Raises:
        SchemaError: It is none of these.
    """
    return cast("Mapping[str, Any]", convert_to_json_schema(schema_tool(value)))


def is_of_objects(schema: Any, definitions: Mapping[str, Any] = MappingProxyType({})) -> bool:
    """Whether nothing but objects is valid by a schema, as far as its outermost level says.

    Args:
        schema: The schema.
        definitions: What it may refer to, besides its own.
    """
    if not isinstance(schema, Mapping):
        return True
    definitions = schema.get("$defs", definitions)
    target = REFERENCE.fullmatch(json.dumps(schema.get("$ref")))
    if target and target[1] in definitions:
        others = {name: each for name, each in definitions.items() if name != target[1]}
        return is_of_objects(definitions[target[1]], others)
    if "type" in schema:
        return schema["type"] in ("object", ["object"])
    values = [*schema.get("enum", ()), *([schema["const"]] if "const" in schema else ())]
    choices = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
    return all(isinstance(value, Mapping) for value in values) and all(
        is_of_objects(choice, definitions) for choice in choices
    )


def as_tools(value: Any, strict: bool | None = None) -> tuple[dict[str, Any], ...]:
    """Tools as OpenAI's schemas; None for none.

    Raises:
        ToolError: One of them can't be made one.
    """
    if value is None:
        return ()
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Collection):
        raise ToolError(f"tools must be a list of tools, not {value!r}: put it in a list.")
    return tuple(as_tool(tool, strict) for tool in value)


def as_choice(value: Any) -> str:
    """A choice of tools: "auto", "any", "none", or a tool's name.

    Raises:
        ToolError: It is none of the forms that chat models take.
    """
    if value is None or isinstance(value, bool):
        return CHOICES[value]
    if isinstance(value, str) and value:
        return CHOICES.get(value, value)
    if isinstance(value, Mapping):
        inner = value.get("function")
        named = (inner if isinstance(inner, Mapping) else value).get("name")
        if isinstance(named, str):
            return named
        if value.get("type") in CHOICES:
            return CHOICES[value["type"]]
    raise ToolError(
        f"tool_choice must be 'auto', 'any', 'none', a bool or a tool's name, not {value!r}: "
        "use one of those."
    )


def as_response_format(value: Any) -> ResponseFormat | None:
    """How the answer is to be structured: OpenAI's forms, or a schema by itself.

    Raises:
        SchemaError: It is neither.
    """
    if value is None or isinstance(value, ResponseFormat):
        return value
    if isinstance(value, Mapping):
        kind = value.get("type")
        if kind == "text":
            return None
        if kind == "json_object" and "properties" not in value:
            return ResponseFormat(value.get("schema") or {"type": "object"}, told=False)
        if kind == "json_schema":
            inner = value.get("json_schema", value)
            if isinstance(inner, Mapping) and isinstance(inner.get("schema"), Mapping):
                return ResponseFormat(inner["schema"])
    if isinstance(value, type):
        return ResponseFormat(as_schema(value))
    if isinstance(value, Mapping) and value.get("type") == "object":
        return ResponseFormat(value)
    raise SchemaError(
        "response_format must be {'type': 'json_schema', 'json_schema': {'schema': ...}}, "
        "{'type': 'json_object'}, {'type': 'text'}, a class or a JSON schema of an object, not "
        f"{value!r}: use one of those."
    )


def check_choice(choice: str, tools: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a choice of a tool that isn't there, with `ToolError`."""
    names = [tool["function"]["name"] for tool in tools]
    if choice in (AUTO, NONE) or (choice == ANY and names) or choice in names:
        return
    if not names:
        raise ToolError(
            f"A tool can be chosen only where there are some, but tool_choice is {choice!r} and "
            "there are none: pass tools by bind_tools, or leave tool_choice out."
        )
    raise ToolError(
        f"tool_choice must name one of the tools, which are {', '.join(names)}, not {choice!r}: "
        "bind the tool, or choose 'auto'."
    )


def _titled(value: Any) -> Any:
    """A JSON schema with a title, as LangChain's conversion wants one; anything else as it is."""
    is_schema = isinstance(value, Mapping) and not value.keys().isdisjoint(SAYING)
    return {"title": UNTITLED, **value} if is_schema and value.keys().isdisjoint(NAMING) else value


def _as_function(value: Any) -> Any:
    """A function's schema instead of what LangChain's conversion would take a part out of.

    It cuts references that go round in circles, and drops schemas that list no properties.
    """
    if isinstance(value, BaseTool):
        arguments = value.tool_call_schema
        function = _as_function(arguments)
        named = {"name": value.name, "description": value.description}
        return value if function is arguments else {**function, **named}
    if isinstance(value, type) and issubclass(value, BaseModel):
        schema = value.model_json_schema()
        named = {"name": value.__name__, "description": inspect.getdoc(value) or ""}
        return {**named, "parameters": _untitled(schema)} if _is_circular(schema) else value
    if isinstance(value, Mapping) and value.keys().isdisjoint(LISTED) and "title" in value:
        schema = {key: part for key, part in value.items() if key not in ("title", "description")}
        named = {"name": value["title"], "description": value.get("description", "")}
        return {**named, "parameters": schema}
    return value


def _untitled(schema: Any) -> Any:
    """Without the titles that Pydantic makes of names: they would only lengthen the prompt."""
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: _untitled(value)
        for key, value in schema.items()
        if key != "title" or not isinstance(value, str)
    }


def _is_circular(schema: Mapping[str, Any]) -> bool:
    definitions = schema.get("$defs", {}).items()
    inner = {name: set(REFERENCE.findall(json.dumps(each))) for name, each in definitions}
    try:
        TopologicalSorter(inner).prepare()
    except CycleError:
        return True
    return False
