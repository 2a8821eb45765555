"""Mistral: calls behind a token, in a list as JSON or each with its name in front.

::

    [TOOL_CALLS][{"name": "weather", "arguments": {"city": "Rome"}}]
    [TOOL_CALLS]weather[ARGS]{"city": "Rome"}
    [TOOL_CALLS]weather[CALL_ID]Ab3dE5g7H[ARGS]{"city": "Rome"}
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from langchain_amulet.chat_formats.base import Function
from langchain_amulet.chat_formats.json_call_parser import JsonCallParser
from langchain_amulet.chat_formats.json_calls import JsonCallFormat, JsonCallShape
from langchain_amulet.chat_formats.output_parser import OutputParser
from langchain_amulet.chat_formats.probe import TemplateSample
from langchain_amulet.chat_formats.regions import CallRegion, Marked

OPENING = "[TOOL_CALLS]"

SHAPE = JsonCallShape(
    before=f'{OPENING}[{{"name": "',
    middle='", "arguments": ',
    after="}]",
    between='}, {"name": "',
)
"""As Mistral 7B v0.3 and Nemo write calls."""

NAMED = re.compile(r"\s*([\w.-]+)\s*(?:\[CALL_ID\]\w+)?(?:\[ARGS\])?\s*")
"""A name in front of its arguments, as later models write it."""


@dataclass(frozen=True)
class Mistral(JsonCallFormat):
    """Calls behind a token; whatever follows it belongs to them."""

    name: ClassVar[str] = "mistral"

    shape: JsonCallShape = SHAPE

    @property
    def region(self) -> CallRegion:
        """The token in front of each call, or of a list of them."""
        return Marked(OPENING)

    def markers(self, with_calls: bool) -> frozenset[str]:
        """The texts by which an answer is taken apart, those within a call included."""
        within = frozenset({"[CALL_ID]", "[ARGS]"}) if with_calls else frozenset()
        return super().markers(with_calls) | within

    def call_parser(self, functions: Sequence[Function]) -> OutputParser:
        """What reads a list of calls in JSON, or one with its name in front."""
        return JsonCallParser(OPENING, NAMED)

    @classmethod
    def learn(cls, sample: TemplateSample) -> Self | None:
        """The shape that a chat template with this token gives to calls."""
        shape = JsonCallShape.learn(sample)
        return cls(shape) if shape and OPENING in shape.before else None
