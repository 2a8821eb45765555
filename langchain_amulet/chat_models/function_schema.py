"""From whatever describes a function's arguments to OpenAI's schema of that function.

That is a name, a description and parameters, a JSON schema. What describes them is a function, a
class, one of LangChain's tools, or a dict in the form of any provider.

This module knows LangChain's, Pydantic's and providers' forms: nothing of what a call does with
the function, of prompts, grammars or models.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, cast

from langchain_core.tools import BaseTool, Tool, create_schema_from_function
from langchain_core.utils.function_calling import convert_to_openai_function
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel
from typing_extensions import is_typeddict

from langchain_amulet.chat_models.class_schema import class_schema
from langchain_amulet.chat_models.typed_dict import as_model
from langchain_amulet.errors import ToolError
from langchain_amulet.grammar.schema_shapes import SHAPES
from langchain_amulet.grammar.schema_tree import TYPES, all_of, everywhere, resolved
from langchain_amulet.validation.json_data import as_json
from langchain_amulet.validation.wording import kind_of, message_of, quoted

COMBINING = ("anyOf", "oneOf", "allOf")
"""Below these keys of a JSON schema stand schemas for the same value."""

SAYING = ("type", "properties", "$ref", *COMBINING, "enum", "const", "items")
"""With one of these at its top, a JSON schema says what is valid."""

COMBINED = frozenset({"allOf", "oneOf", "not", "if"})
"""With one of these, what an object may be is said by several schemas, or by what it may not be."""

OWN_TOOLS = ("function", "custom")
"""What providers call tools that the caller runs."""

ARGUMENTS = ("parameters", "input_schema", "inputSchema")
"""What a tool's description calls the schema of its arguments: OpenAI's, Anthropic's and MCP's."""

WRAPPING = (*ARGUMENTS, "function", "toolSpec")
"""With one of these at its top, what is valid is said by a schema in it."""

SAID: Mapping[str, tuple[type, str]] = {
    "description": (str, "a text"),
    "parameters": (dict, "a JSON schema"),
    "strict": (bool, "True or False"),
}
"""What may be said of a tool besides its name: of which type, and in words."""


def as_function(value: Any, strict: bool | None) -> dict[str, Any]:
    """The function of a tool, by OpenAI's schema: always with a description and parameters.

    LangChain's conversion reads what isn't a class or a JSON schema. Of these it would multiply
    what is shared, cut what goes round in circles, and drop what lists no properties.

    Raises:
        ToolError: What is said of the tool is of another kind than it must be.
        ValueError: JSON can't write it.
    """
    said = {key: part for key, part in _described(value).items() if part is not None}
    empty = {"type": "object", "properties": {}}
    function: dict[str, Any] = as_json(
        {"name": None, "description": "", "parameters": empty, **said}
    )
    _check_function(function)
    function["parameters"] = everywhere(function["parameters"], _as_read)
    if strict is None or function["name"] is None:
        return function
    return {**function, "strict": strict, "parameters": _closed(function["parameters"], strict)}


def _check_function(function: Mapping[str, Any]) -> None:
    """Refuse what tools can't be described by, with `ToolError`."""
    for key, (kind, words) in SAID.items():
        if key in function and not isinstance(function[key], kind):
            raise ToolError(
                f"{key} of {quoted(function['name'])} must be {words}, not "
                f"{quoted(function[key])}: mend it, or leave it out."
            )


def _as_read(schema: dict[str, Any], place: str) -> dict[str, Any]:
    """A schema as templates read them: with an object for each property, and no keyword of null.

    Many a program writes null for what it doesn't ask; only a value may be null.
    """
    schema = {key: value for key, value in schema.items() if value is not None or key not in SHAPES}
    listed = schema.get("properties")
    if not isinstance(listed, Mapping):
        return schema
    objects: dict[bool, Any] = {True: {}, False: {"not": {}}}
    written = {
        name: objects[each] if isinstance(each, bool) else each for name, each in listed.items()
    }
    return {**schema, "properties": written}


def _closed(schema: dict[str, Any], strict: bool) -> Any:
    """A schema that says of its objects that they have no others than they list, if it is strict.

    What their others are like stays as it is. So does all, where objects are put together of parts,
    or something is excluded: by less of that, more would be let through.
    """
    if not strict or any(COMBINED & each.keys() for each in all_of(schema)):
        return schema

    def closed(each: dict[str, Any], place: str) -> dict[str, Any]:
        return {**each, "additionalProperties": False} if _lists_all(each) else each

    return everywhere(schema, closed)


def _lists_all(schema: Mapping[str, Any]) -> bool:
    others = ("additionalProperties", "patternProperties", "propertyNames")
    return "properties" in schema and schema.keys().isdisjoint(others)


def _described(value: Any) -> dict[str, Any]:
    """What a tool says of its function, which may leave out all but the name."""
    if isinstance(value, BaseTool):
        return _described_by_tool(value)
    if is_typeddict(value):
        value = as_model(value)
    if isinstance(value, type) and issubclass(value, BaseModel):
        schema = class_schema(value)
        described = schema.get("description") or inspect.cleandoc(value.__doc__ or "")
        return _named(schema, str(schema.get("title") or value.__name__), described)
    if inspect.isroutine(value):
        name = value.__name__
        arguments = create_schema_from_function(
            name, value, parse_docstring=True, error_on_invalid_docstring=False
        )
        return _named(
            class_schema(cast("type[BaseModel]", arguments)), name, arguments.__doc__ or ""
        )
    if isinstance(value, Mapping):
        return _described_by_dict(value)
    return dict(convert_to_openai_function(value))


def _described_by_tool(tool: BaseTool) -> dict[str, Any]:
    if isinstance(tool, Tool) and not tool.args_schema:  # of one text, whatever it is called
        return dict(convert_to_openai_function(tool))
    arguments = tool.tool_call_schema
    if isinstance(arguments, Mapping):
        return _named(arguments or {"type": "object"}, tool.name, tool.description)
    return {**_described(arguments), "name": tool.name, "description": tool.description}


def _described_by_dict(value: Mapping[str, Any]) -> dict[str, Any]:
    if "function" in value:
        return _described_by_dict(value["function"])
    if is_json_schema(value):
        name = value.get("title", value.get("name"))
        return _named(value, name, value.get("description", ""))
    if "type" in value and value["type"] not in OWN_TOOLS:
        return {}  # one that a provider would run
    if "inputSchema" in value:
        described = {key: value[key] for key in ("description", "strict") if key in value}
        return {"name": value.get("name"), **described, "parameters": value["inputSchema"]}
    _check_arguments_read(value)
    return dict(convert_to_openai_function(dict(value)))


def _check_arguments_read(tool: Mapping[str, Any]) -> None:
    """Refuse a tool whose arguments stand where nobody reads them, with `ToolError`."""
    if not tool.keys().isdisjoint(WRAPPING):
        return
    said = (key for key, value in tool.items() if is_json_schema(value))
    if (key := next(said, None)) is not None:
        raise ToolError(
            f"A tool's arguments must be called 'parameters', not {quoted(key)}, where nobody "
            "reads them: rename that."
        )


def _named(schema: Mapping[str, Any], name: Any, description: Any) -> dict[str, Any]:
    """A function whose arguments a schema describes; what it is called is said once."""
    said = ("title", "name", "description", "strict")
    parameters = {key: part for key, part in schema.items() if key not in said}
    untitled = everywhere(parameters, _untitled)
    return {"name": name, "description": description, "parameters": untitled}


def _untitled(schema: dict[str, Any], place: str) -> dict[str, Any]:
    """Without the title that Pydantic makes of a name: it would only lengthen the prompt."""
    is_titled = isinstance(schema.get("title"), str)
    return {key: part for key, part in schema.items() if key != "title" or not is_titled}


def is_of_objects(schema: Any) -> bool:
    """Whether nothing but objects is valid by a schema, as far as its outermost level says."""
    ahead, looked_up = [schema], set()
    while ahead:
        part = ahead.pop()
        if not isinstance(part, Mapping):
            continue
        if "$ref" in part:
            # What refers to itself ends here, and what many refer to is looked at once.
            reference = str(part["$ref"])
            if reference in looked_up:
                continue
            looked_up.add(reference)
            part = resolved(part, schema)
        if "type" in part:
            if part["type"] not in ("object", ["object"]):
                return False
            continue
        values = [*part.get("enum", ()), *([part["const"]] if "const" in part else ())]
        if not all(isinstance(value, Mapping) for value in values):
            return False
        ahead += [each for keyword in COMBINING for each in part.get(keyword, ())]
    return True


def is_described(value: Any) -> bool:
    """Whether it is a class that says which fields its objects have."""
    is_class = isinstance(value, type) and is_basemodel_subclass(value)
    return is_class or is_typeddict(value)


def is_json_schema(value: Any) -> bool:
    """Whether a dict says itself what is valid, whatever other keys it has, ``name`` included."""
    if not isinstance(value, Mapping) or not value.keys().isdisjoint(WRAPPING):
        return False
    kind = value.get("type")
    if isinstance(kind, str) and kind not in TYPES:
        return False
    return "title" in value or not value.keys().isdisjoint(SAYING)


def is_code(value: Any) -> bool:
    """Whether it is a program's code, which quotes no user; a dict may have come from anywhere."""
    return callable(value) or isinstance(value, BaseTool)


def shown(value: Any) -> str:
    """What describes no function, as an error may show it."""
    name = getattr(value, "__name__", None) if is_code(value) else None
    return quoted(value if name is None else name)


def reason(value: Any, error: Exception) -> str:
    """Why it can't be read, as an error may say it."""
    return message_of(error) if is_code(value) else kind_of(error)
