"""Phi-4-mini: a list of JSON between tokens.

::

    <|tool_call|>[{"name": "weather", "arguments": {"city": "Rome"}}]<|/tool_call|>

Its chat template writes tools and no calls; the tokens are in its vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.json_calls import JsonCallFormat, JsonCallShape

SHAPE = JsonCallShape(
    before='<|tool_call|>[{"name": "',
    middle='", "arguments": ',
    after="}]<|/tool_call|>",
    between='}, {"name": "',
)
"""As Phi-4-mini writes calls."""


@dataclass(frozen=True)
class Phi(JsonCallFormat):
    """A list of JSON between tokens."""

    name: ClassVar[str] = "phi"
    mark: ClassVar[str] = "<|/tool_call|>"

    shape: JsonCallShape = SHAPE
