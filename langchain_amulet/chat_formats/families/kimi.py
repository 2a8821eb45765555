"""Kimi K2: calls known by ids in which the tools are named and counted, with JSON behind.

::

    <|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0
    <|tool_call_argument_begin|>{"city": "Rome"}<|tool_call_end|><|tool_calls_section_end|>

It is all one line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.json_calls import JsonCallFormat, JsonCallShape
from langchain_amulet.chat_formats.markup import NUMBER

SHAPE = JsonCallShape(
    before="<|tool_calls_section_begin|><|tool_call_begin|>functions.",
    middle=f":{NUMBER}<|tool_call_argument_begin|>",
    after="<|tool_call_end|><|tool_calls_section_end|>",
    between="<|tool_call_end|><|tool_call_begin|>functions.",
)
"""As Kimi K2 writes calls."""


@dataclass(frozen=True)
class Kimi(JsonCallFormat):
    """An id that holds the name, and JSON, between tokens."""

    name: ClassVar[str] = "kimi"
    mark: ClassVar[str] = "<|tool_calls_section_begin|>"

    shape: JsonCallShape = SHAPE
