"""What callers say of tools and structure, in LangChain's many ways, as one form each.

This module knows LangChain's and OpenAI's schemas: nothing of prompts, grammars or models.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence, Set, ValuesView
from dataclasses import dataclass, is_dataclass
from typing import Any, cast, get_origin

from langchain_core.tools import BaseTool, Tool, create_schema_from_function
from langchain_core.utils.function_calling import convert_to_openai_function
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel
from typing_extensions import is_typeddict

from langchain_amulet.chat_models.class_schema import class_schema
from langchain_amulet.chat_models.typed_dict import as_model
from langchain_amulet.errors import SchemaError, ToolError
from langchain_amulet.grammar.schema_shapes import check_shapes
from langchain_amulet.grammar.schema_tree import all_of, everywhere, resolved
from langchain_amulet.validation import as_json, check_nesting, kind_of, message_of, quoted

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


SAYING = ("type", "properties", "$ref", "anyOf", "oneOf", "allOf", "enum", "const", "items")
"""With one of these at its top, a JSON schema says what is valid."""

TYPES = ("object", "array", "string", "number", "integer", "boolean", "null")

OWN_TOOLS = ("function", "custom")
"""What providers call tools that the caller runs."""

ARGUMENTS = ("parameters", "input_schema", "inputSchema")
"""What a tool's description calls the schema of its arguments: OpenAI's, Anthropic's and MCP's."""

WRAPPING = (*ARGUMENTS, "function", "toolSpec")
"""With one of these at its top, what is valid is said by a schema in it."""

VALUES = ("const", "enum", "default", "examples")
"""What stands below these keys of a JSON schema are values, and no schemas."""

UNTITLED = "answer"
"""The name of a schema that has none."""

SAID: Mapping[str, tuple[type, str]] = {
    "description": (str, "a text"),
    "parameters": (dict, "a JSON schema"),
    "strict": (bool, "True or False"),
}
"""What may be said of a tool besides its name: of which type, and in words."""

COMBINED = frozenset({"allOf", "oneOf", "not", "if"})
"""With one of these, what an object may be is said by several schemas, or by what it may not be."""

COMBINING = ("anyOf", "oneOf", "allOf")
"""Below these keys of a JSON schema stand schemas for the same value."""


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
        SchemaError: Its arguments' schema is none.
    """
    check_nesting(ToolError, "A tool", value)
    if isinstance(value, type) and not (_is_described(value) or is_dataclass(value)):
        raise ToolError(
            f"A tool must be a function, a Pydantic class, a TypedDict, a BaseTool or a schema, "
            f"but {_shown(value)} is another class: make a function of it that has typed arguments."
        )
    try:
        function = _as_function(value, strict)
        name = function.get("name")
        is_tool = isinstance(name, str) and bool(name.strip())
    except (SchemaError, ToolError):
        raise
    except Exception as error:  # whatever a signature or class can make the conversion raise
        raise ToolError(
            "A tool must be a function, a Pydantic class, a BaseTool or a schema, but "
            f"{_shown(value)} can't be read as one: {_reason(value, error)}. Give it a name, a "
            "description and typed arguments."
        ) from (error if _is_code(value) else None)
    if not is_tool:
        raise ToolError(
            "A tool must be one that the caller runs, a function with a name, not "
            f"{_shown(value)}: this model has no tools of its own."
        )
    if not is_of_objects(function["parameters"]):
        check_shapes(function["parameters"])  # a type that is none isn't something else
        raise ToolError(
            "A tool's arguments must be an object, as they have names, but those of "
            f"{_shown(value)} may be something else: put it into an object, as a property."
        )
    return {"type": "function", "function": function}


def schema_tool(value: Any, strict: bool | None = None) -> dict[str, Any]:
    """A Pydantic class, a TypedDict or a JSON schema as a tool whose arguments it describes.

    A schema may be wrapped as in a ``response_format`` of OpenAI's.

    Raises:
        SchemaError: It is none of these.
    """
    check_nesting(SchemaError, "A schema", value)
    value = _unwrapped(value)
    if not (_is_described(value) or _is_saying(value)):
        raise _no_schema(value, "it is neither a class with fields nor a dict that says anything")
    if isinstance(value, Mapping) and value.keys().isdisjoint((*WRAPPING, "schema")):
        # Of a tool another type would say that a provider runs it.
        check_shapes({key: value[key] for key in ("type",) if key in value})
    try:
        function = _as_function(_titled(value), strict)
    except (SchemaError, ToolError) as error:
        raise SchemaError(str(error)) from None
    except Exception as error:  # whatever a class can make the conversion raise
        raise _no_schema(value, _reason(value, error)) from (error if _is_code(value) else None)
    if not isinstance(function["name"], str):
        check_shapes(value if isinstance(value, Mapping) else {})
        raise _no_schema(value, f"its name is {quoted(function['name'])}")
    return {"type": "function", "function": function}


def as_schema(value: Any) -> Mapping[str, Any]:
    """A Pydantic class, a TypedDict or a JSON schema as a JSON schema with a title.

    Raises:
        SchemaError: It is none of these.
    """
    function = schema_tool(value)["function"]
    described = {"description": function["description"]} if function["description"] else {}
    return {"title": function["name"], **described, **function["parameters"]}


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


def as_tools(value: Any, strict: bool | None = None) -> tuple[dict[str, Any], ...]:
    """Tools as OpenAI's schemas; None for none.

    Raises:
        ToolError: One of them can't be made one.
    """
    if value is None:
        return ()
    is_list = isinstance(value, (Sequence, Set, ValuesView)) and not isinstance(value, (str, bytes))
    if not is_list:
        raise ToolError(f"tools must be a list of tools, not {quoted(value)}: put it in a list.")
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
        kind = value.get("type")
        if isinstance(kind, str) and kind in CHOICES:
            return CHOICES[kind]
    raise ToolError(
        f"tool_choice must be 'auto', 'any', 'none', a bool or a tool's name, not {quoted(value)}: "
        "use one of those."
    )


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


def check_choice(choice: str, tools: Sequence[Mapping[str, Any]]) -> None:
    """Refuse a choice of a tool that isn't there, with `ToolError`."""
    names = [tool["function"]["name"] for tool in tools]
    if choice in (AUTO, NONE) or (choice == ANY and names) or choice in names:
        return
    if not names:
        raise ToolError(
            f"A tool can be chosen only where there are some, but tool_choice is {quoted(choice)} "
            "and there are none: pass tools by bind_tools, or leave tool_choice out."
        )
    raise ToolError(
        f"tool_choice must name one of the tools, which are {', '.join(names)}, not "
        f"{quoted(choice)}: bind the tool, or choose 'auto'."
    )


def _is_code(value: Any) -> bool:
    """Whether it is a program's code, which quotes no user; a dict may have come from anywhere."""
    return callable(value) or isinstance(value, BaseTool)


def _shown(value: Any) -> str:
    """What is no tool or schema, as an error may show it."""
    name = getattr(value, "__name__", None) if _is_code(value) else None
    return quoted(value if name is None else name)


def _reason(value: Any, error: Exception) -> str:
    return message_of(error) if _is_code(value) else kind_of(error)


def _no_schema(value: Any, reason: str) -> SchemaError:
    return SchemaError(
        "A schema must be a Pydantic class, a TypedDict or a JSON schema that says what is valid, "
        f"but {_shown(value)} can't be read as one: {reason}. Use one of those{_wrap(value)}."
    )


def _wrap(value: Any) -> str:
    """How a type that says what is valid becomes a class that can be read, if it is one."""
    is_class = isinstance(value, type) and value is not object and not _is_described(value)
    is_type = get_origin(value) is not None or is_class
    return ", such as RootModel of that type, or a class with a field of it" if is_type else ""


def _check_function(function: Mapping[str, Any]) -> None:
    """Refuse what tools can't be described by.

    Raises:
        ToolError: Something that is said of the tool is of another kind than it must be.
        SchemaError: The schema of its arguments is none.
    """
    for key, (kind, words) in SAID.items():
        if key in function and not isinstance(function[key], kind):
            raise ToolError(
                f"{key} of {quoted(function['name'])} must be {words}, not "
                f"{quoted(function[key])}: mend it, or leave it out."
            )
    check_shapes(function["parameters"], quoted(function["name"]))


def _is_described(value: Any) -> bool:
    """Whether it is a class that says which fields its objects have."""
    is_class = isinstance(value, type) and is_basemodel_subclass(value)
    return is_class or is_typeddict(value)


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
    if not _is_json_schema(value):
        return value
    name = value.get("name")
    return {"title": name if isinstance(name, str) else UNTITLED, **value}


def _is_json_schema(value: Any) -> bool:
    """Whether a dict says itself what is valid, whatever other keys it has, ``name`` included."""
    if not isinstance(value, Mapping) or not value.keys().isdisjoint(WRAPPING):
        return False
    kind = value.get("type")
    if isinstance(kind, str) and kind not in TYPES:
        return False
    return "title" in value or not value.keys().isdisjoint(SAYING)


def _as_function(value: Any, strict: bool | None) -> dict[str, Any]:
    """The function of a tool, by OpenAI's schema: always with a description and parameters.

    LangChain's conversion reads what isn't a class or a JSON schema. Of these it would multiply
    what is shared, cut what goes round in circles, and drop what lists no properties.

    Raises:
        ToolError: What is said of the tool is of another kind than it must be.
        SchemaError: The schema of its arguments is none.
        ValueError: JSON can't write it.
    """
    said = {key: part for key, part in _described(value).items() if part is not None}
    empty = {"type": "object", "properties": {}}
    function: dict[str, Any] = as_json(
        {"name": None, "description": "", "parameters": empty, **said}
    )
    _check_function(function)
    function["parameters"] = everywhere(function["parameters"], _with_objects)
    if strict is None or function["name"] is None:
        return function
    return {**function, "strict": strict, "parameters": _closed(function["parameters"], strict)}


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


def _with_objects(schema: dict[str, Any], place: str) -> dict[str, Any]:
    """A schema whose properties have objects for true and false, as templates read them as such."""
    listed = schema.get("properties")
    if not isinstance(listed, Mapping):
        return schema
    objects: dict[bool, Any] = {True: {}, False: {"not": {}}}
    written = {
        name: objects[each] if isinstance(each, bool) else each for name, each in listed.items()
    }
    return {**schema, "properties": written}


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
    if _is_json_schema(value):
        name = value.get("title", value.get("name"))
        return _named(value, name, value.get("description", ""))
    if "type" in value and value["type"] not in OWN_TOOLS:
        return {}  # one that a provider would run
    if isinstance(value.get("inputSchema"), Mapping):
        described = {key: value[key] for key in ("description", "strict") if key in value}
        return {"name": value.get("name"), **described, "parameters": value["inputSchema"]}
    _check_arguments_read(value)
    return dict(convert_to_openai_function(dict(value)))


def _check_arguments_read(tool: Mapping[str, Any]) -> None:
    """Refuse a tool whose arguments stand where nobody reads them, with `ToolError`."""
    if not tool.keys().isdisjoint(WRAPPING):
        return
    said = (key for key, value in tool.items() if _is_json_schema(value))
    if (key := next(said, None)) is not None:
        raise ToolError(
            f"A tool's arguments must be called 'parameters', not {quoted(key)}, where nobody "
            "reads them: rename that."
        )


def _named(schema: Mapping[str, Any], name: Any, description: Any) -> dict[str, Any]:
    """A function whose arguments a schema describes; what it is called is said once."""
    said = ("title", "name", "description", "strict")
    parameters = {key: _untitled(part) for key, part in schema.items() if key not in said}
    return {"name": name, "description": description, "parameters": parameters}


def _untitled(schema: Any) -> Any:
    """Without the titles that Pydantic makes of names: they would only lengthen the prompt.

    A ``title`` in what a schema holds as a value, and doesn't say of itself, is left.
    """
    if isinstance(schema, list):
        return [_untitled(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: value if key in VALUES else _untitled(value)
        for key, value in schema.items()
        if key != "title" or not isinstance(value, str)
    }
