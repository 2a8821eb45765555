"""`with_structured_output`: a model's answer as an object, by one of three methods.

This module knows LangChain's runnables and parsers: nothing of grammars or decoding.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from operator import itemgetter
from typing import Any, Literal, get_args

from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from langchain_core.output_parsers import BaseOutputParser, JsonOutputParser
from langchain_core.output_parsers.openai_tools import JsonOutputKeyToolsParser
from langchain_core.outputs import Generation
from langchain_core.runnables import Runnable, RunnableMap, RunnablePassthrough
from langchain_core.utils.function_calling import convert_to_json_schema
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import BaseModel

from langchain_amulet.chat_models.answer_schema import as_schema, schema_tool
from langchain_amulet.chat_models.function_schema import is_of_objects
from langchain_amulet.chat_models.settings import CallSettings
from langchain_amulet.errors import ConfigurationError, SchemaError
from langchain_amulet.validation.checks import as_flag
from langchain_amulet.validation.wording import nearest, quoted

logger = logging.getLogger(__name__)

Structure = Literal["function_calling", "json_schema", "json_mode"]
"""By a call of a tool, by JSON that the model is told of, or by JSON that the caller asks for."""


OWN_NAMES = ("schema", "include_raw", "strict", "allow_truncated")
"""What ``with_structured_output`` takes that no call does."""


def structure_arguments(
    schema: Any, method: Structure, strict: bool | None, allow_truncated: bool = True
) -> tuple[dict[str, Any], BaseOutputParser[Any]]:
    """What a call must be given to answer by a schema, and who reads that answer.

    Raises:
        SchemaError: There is no such method, no schema where one is needed, or none that the
            method can hold an answer to.
    """
    if not isinstance(method, str) or method not in get_args(Structure):
        raise SchemaError(
            f"method must be one of {', '.join(get_args(Structure))}, not {quoted(method)}: use "
            "one of those."
        )
    if schema is None and method == "json_mode":
        free = {"response_format": {"type": "json_object"}}
        return free, TextParser(allow_truncated=allow_truncated)
    if schema is None:
        raise SchemaError(f"{method} needs a schema: pass one, or use method='json_mode'.")
    if method == "function_calling":
        tool = schema_tool(schema, strict)
        arguments, read = _by_tool(schema, tool)
    else:
        tool = schema_tool(schema)
        arguments, read = _by_text(schema, as_schema(tool), method)
    traced = {"kwargs": {"method": method, "strict": strict}, "schema": _traceable(schema, tool)}
    takes_truncated = as_flag("allow_truncated", allow_truncated)
    parser = read.model_copy(update={"allow_truncated": takes_truncated})
    return {**arguments, "ls_structured_output_format": traced}, parser


def _traceable(schema: Any, tool: dict[str, Any]) -> Any:
    """The schema for tracers, to whom LangChain shows it in its own form, if it knows one."""
    try:
        return convert_to_json_schema(schema)
    except Exception:  # whatever a class can make the conversion raise; ours took it
        return tool


def check_own_names(more: Iterable[str]) -> None:
    """Refuse arguments that are called nearly as one of ``with_structured_output`` itself.

    Raises:
        ConfigurationError: One is: by a call it would be refused as none of its settings.
    """
    for name in set(more) - CallSettings.model_fields.keys():
        if (meant := nearest(name.casefold(), OWN_NAMES, least=0.8)) is not None:
            raise ConfigurationError(
                f"{quoted(name)} is unknown to with_structured_output: did you mean {meant!r}? Use "
                f"one of {', '.join(OWN_NAMES)}, or a call's setting."
            )


def with_more(arguments: dict[str, Any], more: dict[str, Any], method: Structure) -> dict[str, Any]:
    """What a call must be given, with further arguments.

    Raises:
        SchemaError: One of them is given by the method already.
    """
    if both := sorted(arguments.keys() & more.keys()):
        raise SchemaError(
            f"method={quoted(method)} sets {', '.join(both)} by itself, so "
            "with_structured_output can't "
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
    # A map hands no arguments on to what is in it, but a sequence does to its first step.
    return model | RunnableMap(raw=RunnablePassthrough()) | reading


def _by_tool(
    schema: Any, tool: Mapping[str, Any]
) -> tuple[dict[str, Any], CallParser | TextParser]:
    function = tool["function"]
    if not is_of_objects(function.get("parameters")):
        raise SchemaError(
            "By method='function_calling' an answer is the arguments of a call, which must be an "
            f"object, but by {quoted(schema)} it may be something else: use method='json_schema'."
        )
    name = function["name"]
    arguments = {"tools": [tool], "tool_choice": name, "parallel_tool_calls": False}
    return arguments, CallParser(key_name=name, first_tool_only=True, reader=_class_of(schema))


def _by_text(
    schema: Any, described: Mapping[str, Any], method: Structure
) -> tuple[dict[str, Any], CallParser | TextParser]:
    wanted: dict[str, Any] = {"type": "json_object", "schema": described}
    if method == "json_schema":
        named = {"name": described["title"], "schema": described}
        wanted = {"type": "json_schema", "json_schema": named}
    return {"response_format": wanted}, TextParser(reader=_class_of(schema))


class CallParser(JsonOutputKeyToolsParser):
    """Reads the arguments of a call.

    Attributes:
        reader: The Pydantic class that they become an object of; None for a dict.
        allow_truncated: Whether to take what was brought to its end as tokens ran out.
    """

    reader: type[Any] | None = None
    allow_truncated: bool = True

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """What the call's arguments say; None where there is no call."""
        _check_whole(result, self.allow_truncated)
        return _object(self.reader, super().parse_result(result, partial=partial), partial)


class TextParser(JsonOutputParser):
    """Reads JSON; None where the model calls a tool instead, which is no failure.

    Attributes:
        reader: The Pydantic class that it becomes an object of; None for what JSON says.
        allow_truncated: Whether to take what was brought to its end as tokens ran out.
    """

    reader: type[Any] | None = None
    allow_truncated: bool = True

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """What the answer's text says."""
        if _is_call(result):
            return None
        _check_whole(result, self.allow_truncated)
        return _object(self.reader, super().parse_result(result, partial=partial), partial)


def _object(reader: type[Any] | None, value: Any, is_partial: bool) -> Any:
    """What JSON says as an object of a class; None where it isn't whole yet.

    A class is given JSON, not what Python made of it: a strict one takes dates from it only.
    """
    if reader is None or value is None:
        return value
    try:
        if issubclass(reader, BaseModel):
            return reader.model_validate_json(json.dumps(value))
        return reader.parse_obj(value)  # of pydantic's first version
    except Exception as error:  # whatever a validator of the class raises
        if is_partial:
            return None
        raise OutputParserException(
            f"{reader.__name__} doesn't take the answer: {error}", llm_output=json.dumps(value)
        ) from error


def _check_whole(result: list[Generation], allow_truncated: bool) -> None:
    """Tell of an answer that was brought to its end as tokens ran out, or refuse it."""
    message = getattr(result[0], "message", None)
    metadata = message.response_metadata if isinstance(message, AIMessage) else {}
    if metadata.get("finish_reason") != "length":
        return
    if not allow_truncated:
        raise OutputParserException(
            "An answer must be whole by itself, but max_tokens ran out, and this one was brought "
            "to a valid end: raise max_tokens, or bound the schema's texts and lists.",
            llm_output=result[0].text,
        )
    logger.warning(
        "max_tokens ran out, so an object was brought to a valid end: raise max_tokens, bound the "
        "schema's texts and lists, or refuse such objects by allow_truncated=False."
    )


def _is_call(result: list[Generation]) -> bool:
    message = getattr(result[0], "message", None)
    return isinstance(message, AIMessage) and bool(message.tool_calls)


def _class_of(schema: Any) -> type[Any] | None:
    """The Pydantic class that answers become objects of."""
    return schema if isinstance(schema, type) and is_basemodel_subclass(schema) else None
