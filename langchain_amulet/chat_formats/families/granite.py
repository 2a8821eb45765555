"""Granite 3: a list of JSON behind a token; later ones write as Hermes.

::

    <|tool_call|>[{"name": "weather", "arguments": {"city": "Rome"}}]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.json_calls import JsonCallFormat, JsonCallShape

SHAPE = JsonCallShape(
    before='<|tool_call|>[{"name": "',
    middle='", "arguments": ',
    after="}]",
    between='}, {"name": "',
)
"""As Granite 3.1 writes calls."""


@dataclass(frozen=True)
class Granite(JsonCallFormat):
    """A list of JSON, or of calls, behind a token."""

    name: ClassVar[str] = "granite"
    mark: ClassVar[str] = "<|tool_call|>"

    shape: JsonCallShape = SHAPE
