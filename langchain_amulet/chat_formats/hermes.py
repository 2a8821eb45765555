"""Hermes, Qwen and many others: JSON between tags.

::

    <tool_call>
    {"name": "weather", "arguments": {"city": "Rome"}}
    </tool_call>

Taken, too, where a chat template writes no calls that any family knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from langchain_amulet.chat_formats.base import Function
from langchain_amulet.chat_formats.json_call_parser import JsonCallParser
from langchain_amulet.chat_formats.json_calls import JsonCallFormat, JsonCallShape
from langchain_amulet.chat_formats.output_parser import OutputParser
from langchain_amulet.chat_formats.probe import TemplateSample
from langchain_amulet.chat_formats.regions import CallRegion, Marked

OPENING, CLOSING = "<tool_call>", "</tool_call>"

SHAPE = JsonCallShape(
    before=f'{OPENING}\n{{"name": "',
    middle='", "arguments": ',
    after=f"}}\n{CLOSING}",
    between=f'}}\n{CLOSING}\n{OPENING}\n{{"name": "',
)
"""As Hermes writes calls."""


@dataclass(frozen=True)
class Hermes(JsonCallFormat):
    """JSON between tags, a pair of them for each call."""

    name: ClassVar[str] = "hermes"

    shape: JsonCallShape = SHAPE

    @property
    def region(self) -> CallRegion:
        """The tags."""
        return Marked(OPENING, CLOSING)

    def call_parser(self, functions: Sequence[Function]) -> OutputParser:
        """What reads a call in JSON."""
        return JsonCallParser(OPENING)

    @classmethod
    def learn(cls, sample: TemplateSample) -> Self | None:
        """The shape that a chat template with these tags gives to calls."""
        shape = JsonCallShape.learn(sample)
        return cls(shape) if shape and OPENING in shape.before else None
