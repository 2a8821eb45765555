"""DeepSeek, Jamba, Command R, Apertus and others: JSON between markers of the model's own.

::

    <tool_calls>[{"name": "weather", "arguments": {"city": "Rome"}}]</tool_calls>
    <|calls|><|call|>weather<|args|>{"city": "Rome"}<|end|><|done|>

Which markers these are only the chat template tells.
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
from langchain_amulet.chat_formats.probe import CALL_IDS, TemplateSample
from langchain_amulet.chat_formats.regions import CallRegion, Marked

SHAPE = JsonCallShape(
    before='<tool_calls>[{"name": "',
    middle='", "arguments": ',
    after="}]</tool_calls>",
    between='}, {"name": "',
)
"""As Jamba writes calls."""

LEAD = re.compile(r"(.*?)\s*(?:\[\s*)?(?:\{.*)?", re.DOTALL)
"""What precedes a call's name: in the first group the markers, then JSON if there is any."""

BRACKETS = "}], \t\r\n"
"""What JSON ends with, and what separates it."""


@dataclass(frozen=True)
class Delimited(JsonCallFormat):
    """JSON, or names in front of JSON, between markers that the chat template has told.

    Attributes:
        opening: The marker that calls begin with.
        closing: The marker that they end with; empty if they end with the answer.
        tokens: Which of the markers, and of those around single calls, are control tokens.
    """

    name: ClassVar[str] = "delimited"

    shape: JsonCallShape = SHAPE
    opening: str = "<tool_calls>"
    closing: str = "</tool_calls>"
    tokens: frozenset[str] = frozenset()

    @property
    def region(self) -> CallRegion:
        """The outermost markers."""
        return Marked(self.opening, self.closing)

    def markers(self, with_calls: bool) -> frozenset[str]:
        """The texts by which an answer is taken apart, those around single calls included."""
        return super().markers(with_calls) | (self.tokens if with_calls else frozenset())

    def call_parser(self, functions: Sequence[Function]) -> OutputParser:
        """What reads the calls between the outermost markers."""
        middle = re.escape(self.shape.middle.strip())
        for made_up in CALL_IDS:  # a template that writes ids has written this one
            middle = middle.replace(made_up, r"\w+")
        named = re.compile(rf"\s*([\w.-]+)\s*{middle}\s*")
        return JsonCallParser(self.opening, named, self._around_calls)

    @property
    def _around_calls(self) -> frozenset[str]:
        """The markers around single calls."""
        shape = self.shape
        texts = (
            _lead(shape.before).removeprefix(self.opening),
            _lead((shape.between or "").lstrip(BRACKETS)),
            shape.after.lstrip(BRACKETS).removesuffix(self.closing),
        )
        return frozenset(marker for text in texts for marker in text.split())

    @classmethod
    def learn(cls, sample: TemplateSample) -> Self | None:
        """The shape that a chat template gives to calls, and the markers in it."""
        shape = JsonCallShape.learn(sample)
        lead = _lead(shape.before) if shape else ""
        if shape is None or not lead:
            return None
        end = shape.after.lstrip(BRACKETS)
        tokens = sample.controls_in(f"{lead}{shape.middle}{shape.between}{end}")
        # A marker that is a token tells where calls are while they are decoded, so it is better
        # than all of what stands there.
        opening = max((token for token in tokens if lead.startswith(token)), key=len, default=lead)
        closing = max((token for token in tokens if end.endswith(token)), key=len, default=end)
        return cls(shape, opening, closing, frozenset(tokens))


def _lead(before: str) -> str:
    """The markers in front of a call, without the beginning of its JSON."""
    found = LEAD.fullmatch(before)
    return found[1] if found else ""
