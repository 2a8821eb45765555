"""The tools that a call may make use of, and which of them it must, in every form, as one each.

This module knows what callers say of tools: nothing of how a function is described, nor of prompts,
grammars or models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set, ValuesView
from dataclasses import is_dataclass
from typing import Any

from langchain_amulet.chat_models.function_schema import (
    as_function,
    is_code,
    is_described,
    is_of_objects,
    reason,
    shown,
)
from langchain_amulet.errors import SchemaError, ToolError
from langchain_amulet.grammar.schema_shapes import check_shapes
from langchain_amulet.validation.json_data import check_nesting
from langchain_amulet.validation.wording import quoted

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


def as_tool(value: Any, strict: bool | None = None) -> dict[str, Any]:
    """A tool as OpenAI's schema: a function, a Pydantic class, a `BaseTool`, or a schema.

    Raises:
        ToolError: It can't be made one.
        SchemaError: Its arguments' schema is none.
    """
    check_nesting(ToolError, "A tool", value)
    if isinstance(value, type) and not (is_described(value) or is_dataclass(value)):
        raise ToolError(
            f"A tool must be a function, a Pydantic class, a TypedDict, a BaseTool or a schema, "
            f"but {shown(value)} is another class: make a function of it that has typed arguments."
        )
    try:
        function = as_function(value, strict)
        name = function.get("name")
        is_tool = isinstance(name, str) and bool(name.strip())
    except (SchemaError, ToolError):
        raise
    except Exception as error:  # whatever a signature or class can make the conversion raise
        raise ToolError(
            "A tool must be a function, a Pydantic class, a BaseTool or a schema, but "
            f"{shown(value)} can't be read as one: {reason(value, error)}. Give it a name, a "
            "description and typed arguments."
        ) from (error if is_code(value) else None)
    if not is_tool:
        raise ToolError(
            "A tool must be one that the caller runs, a function with a name, not "
            f"{shown(value)}: this model has no tools of its own."
        )
    if not is_of_objects(function["parameters"]):
        check_shapes(function["parameters"])  # a type that is none isn't something else
        raise ToolError(
            "A tool's arguments must be an object, as they have names, but those of "
            f"{shown(value)} may be something else: put it into an object, as a property."
        )
    return {"type": "function", "function": function}


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
