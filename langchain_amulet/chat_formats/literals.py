"""Values as models write them without saying of what type they are: JSON, Python's, or texts.

This module knows how values are spelled: nothing of how calls are marked.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Collection
from typing import Any

from langchain_amulet.chat_formats.calls import Parameter

MOST = 100_000
"""Longer than so many characters nothing is taken for Python's."""


def typed(text: str, parameter: Parameter | None, is_other: bool = False) -> Any:
    """What an argument says that stands in an answer without quotation marks.

    Args:
        text: How it was written.
        parameter: What the tool takes; None if it takes no such argument.
        is_other: Whether it was told to be no text.
    """
    types = parameter.types if parameter else frozenset[str]()
    if types == {"string"} or (parameter is None and not is_other):
        return text
    choices = (parameter.schema if parameter else {}).get("enum", ())
    return text if text in choices else literal(text, types)


def literal(text: str, types: Collection[str] = ()) -> Any:
    """What a text says as JSON, else as Python, else the text itself.

    Args:
        text: How the value was written.
        types: The types of JSON that it may have; none for any. What has another one is text, if
            it may be text.
    """
    found = _value(text.strip())
    is_wanted = not types or type_of(found) in types or {type_of(found), *types} >= {"number"}
    return found if is_wanted or "string" not in types else text


def is_object(text: str) -> bool:
    """Whether a text is an object in JSON."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def type_of(value: Any) -> str:
    """The type of JSON that a value has."""
    if isinstance(value, bool):
        return "boolean"
    kinds = {str: "string", int: "integer", float: "number", list: "array", dict: "object"}
    return kinds.get(type(value), "null")


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        value = ast.literal_eval(text) if len(text) < MOST else text
        return json.loads(json.dumps(value))
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return text
