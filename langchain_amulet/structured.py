"""`with_structured_output`: a model's answer as an object, by one of three methods.

This module knows LangChain's runnables and parsers: nothing of grammars or decoding.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Literal, get_args

from langchain_core.output_parsers import (
    BaseOutputParser,
    JsonOutputParser,
    PydanticOutputParser,
)
from langchain_core.output_parsers.openai_tools import (
    JsonOutputKeyToolsParser,
    PydanticToolsParser,
)
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_amulet.errors import SchemaError
from langchain_amulet.tools import as_schema, as_tool

Structure = Literal["function_calling", "json_schema", "json_mode"]
"""By a call of a tool, by JSON that the model is told of, or by JSON that the caller asks for."""


def structure_arguments(
    schema: Any, method: Structure, strict: bool | None
) -> tuple[dict[str, Any], BaseOutputParser[Any]]:
    """What a call must be given to answer by a schema, and who reads that answer.

    Raises:
        SchemaError: There is no such method, or no schema where one is needed.
        ToolError: The schema can't be made a tool.
    """
    if method not in get_args(Structure):
        raise SchemaError(
            f"method must be one of {', '.join(get_args(Structure))}, not {method!r}: use one of "
            "those."
        )
    if schema is None and method == "json_mode":
        return {"response_format": {"type": "json_object"}}, JsonOutputParser()
    if schema is None:
        raise SchemaError(f"{method} needs a schema: pass one, or use method='json_mode'.")
    if method == "function_calling":
        arguments, parser = _by_tool(schema, strict)
    else:
        arguments, parser = _by_text(schema, method)
    traced = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
    return {**arguments, "ls_structured_output_format": traced}, parser


def assembled(
    model: Runnable[Any, Any], parser: BaseOutputParser[Any], include_raw: bool
) -> Runnable[Any, Any]:
    """The model with its reader, and with the raw answer if that is wanted."""
    if not include_raw:
        return model | parser
    parsed = RunnablePassthrough.assign(
        parsed=itemgetter("raw") | parser, parsing_error=lambda _: None
    )
    failed = RunnablePassthrough.assign(parsed=lambda _: None)
    reading = parsed.with_fallbacks([failed], exception_key="parsing_error")
    return RunnableMap(raw=model) | reading


def _by_tool(schema: Any, strict: bool | None) -> tuple[dict[str, Any], BaseOutputParser[Any]]:
    tool = as_tool(schema, strict)
    name = tool["function"]["name"]
    arguments = {"tools": [tool], "tool_choice": name, "parallel_tool_calls": False}
    if is_pydantic(schema):
        return arguments, PydanticToolsParser(tools=[schema], first_tool_only=True)
    return arguments, JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)


def _by_text(schema: Any, method: Structure) -> tuple[dict[str, Any], BaseOutputParser[Any]]:
    described = as_schema(schema)
    wanted: dict[str, Any] = {"type": "json_object", "schema": described}
    if method == "json_schema":
        named = {"name": described.get("title", "answer"), "schema": described}
        wanted = {"type": "json_schema", "json_schema": named}
    if is_pydantic(schema):
        return {"response_format": wanted}, PydanticOutputParser(pydantic_object=schema)
    return {"response_format": wanted}, JsonOutputParser()


def is_pydantic(schema: Any) -> bool:
    """Whether answers become objects of a Pydantic class."""
    return isinstance(schema, type) and is_basemodel_subclass(schema)
