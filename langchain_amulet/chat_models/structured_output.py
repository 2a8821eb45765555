"""`with_structured_output`: a model's answer as an object, by one of three methods.

This module knows LangChain's runnables and parsers: nothing of grammars or decoding.
"""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Literal, get_args

from langchain_core.messages import AIMessage
from langchain_core.output_parsers import (
    BaseOutputParser,
    JsonOutputParser,
    PydanticOutputParser,
)
from langchain_core.output_parsers.openai_tools import (
    JsonOutputKeyToolsParser,
    PydanticToolsParser,
)
from langchain_core.outputs import Generation
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_amulet.chat_models.tools import as_schema, is_of_objects, schema_tool
from langchain_amulet.errors import SchemaError

Structure = Literal["function_calling", "json_schema", "json_mode"]
"""By a call of a tool, by JSON that the model is told of, or by JSON that the caller asks for."""


def structure_arguments(
    schema: Any, method: Structure, strict: bool | None
) -> tuple[dict[str, Any], BaseOutputParser[Any]]:
    """What a call must be given to answer by a schema, and who reads that answer.

    Raises:
        SchemaError: There is no such method, no schema where one is needed, or none that the
            method can hold an answer to.
    """
    if method not in get_args(Structure):
        raise SchemaError(
            f"method must be one of {', '.join(get_args(Structure))}, not {method!r}: use one of "
            "those."
        )
    if schema is None and method == "json_mode":
        return {"response_format": {"type": "json_object"}}, JsonOrCallParser()
    if schema is None:
        raise SchemaError(f"{method} needs a schema: pass one, or use method='json_mode'.")
    if method == "function_calling":
        arguments, parser = _by_tool(schema, strict)
    else:
        arguments, parser = _by_text(schema, method)
    traced = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
    return {**arguments, "ls_structured_output_format": traced}, parser


def with_more(arguments: dict[str, Any], more: dict[str, Any], method: Structure) -> dict[str, Any]:
    """What a call must be given, with further arguments.

    Raises:
        SchemaError: One of them is given by the method already.
    """
    if both := sorted(arguments.keys() & more.keys()):
        raise SchemaError(
            f"method={method!r} sets {', '.join(both)} by itself, so with_structured_output can't "
            "take that, too: leave it out; beside tools that may be called, use "
            "method='json_schema'."
        )
    return {**arguments, **more}


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
    tool = schema_tool(schema, strict)
    function = tool["function"]
    if not is_of_objects(function.get("parameters")):
        raise SchemaError(
            "By method='function_calling' an answer is the arguments of a call, which must be an "
            f"object, but by {schema!r} it may be something else: use method='json_schema'."
        )
    name = function["name"]
    arguments = {"tools": [tool], "tool_choice": name, "parallel_tool_calls": False}
    if is_pydantic(schema):
        return arguments, PydanticToolsParser(tools=[schema], first_tool_only=True)
    return arguments, JsonOutputKeyToolsParser(key_name=name, first_tool_only=True)


def _by_text(schema: Any, method: Structure) -> tuple[dict[str, Any], BaseOutputParser[Any]]:
    described = as_schema(schema)
    wanted: dict[str, Any] = {"type": "json_object", "schema": described}
    if method == "json_schema":
        named = {"name": described["title"], "schema": described}
        wanted = {"type": "json_schema", "json_schema": named}
    if is_pydantic(schema):
        return {"response_format": wanted}, ObjectOrCallParser(pydantic_object=schema)
    return {"response_format": wanted}, JsonOrCallParser()


class JsonOrCallParser(JsonOutputParser):
    """Reads JSON; None where the model calls a tool instead, which is no failure."""

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """What the answer's text says."""
        return None if _is_call(result) else super().parse_result(result, partial=partial)


class ObjectOrCallParser(JsonOrCallParser, PydanticOutputParser[Any]):
    """Reads objects of a Pydantic class; None where the model calls a tool instead."""


def _is_call(result: list[Generation]) -> bool:
    message = getattr(result[0], "message", None)
    return isinstance(message, AIMessage) and bool(message.tool_calls)


def is_pydantic(schema: Any) -> bool:
    """Whether answers become objects of a Pydantic class."""
    return isinstance(schema, type) and is_basemodel_subclass(schema)
