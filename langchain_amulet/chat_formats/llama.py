"""Llama 3, xLAM and others: an answer that begins with JSON is calls.

::

    {"name": "weather", "parameters": {"city": "Rome"}}

A tag, ``<|python_tag|>``, may stand in front of it.
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
from langchain_amulet.chat_formats.regions import Bare, CallRegion

TAG = "<|python_tag|>"

SHAPE = JsonCallShape(before='{"name": "', middle='", "parameters": ', after="}")
"""As Llama 3 writes calls, one to an answer."""


@dataclass(frozen=True)
class Llama(JsonCallFormat):
    """JSON without marks, with which an answer has to begin."""

    name: ClassVar[str] = "llama"

    shape: JsonCallShape = SHAPE

    @property
    def region(self) -> CallRegion:
        """The bracket that calls begin with: that of an object, or of a list of them."""
        return Bare(self.shape.before.removeprefix(TAG).lstrip()[:1], TAG)

    def call_parser(self, functions: Sequence[Function]) -> OutputParser:
        """What reads calls in JSON, and text behind them."""
        return JsonCallParser(None)

    @classmethod
    def learn(cls, sample: TemplateSample) -> Self | None:
        """The shape that a chat template gives to calls, if nothing else stands before them."""
        shape = JsonCallShape.learn(sample)
        is_bare = shape and shape.before.removeprefix(TAG).lstrip().startswith(("{", "["))
        return cls(shape) if shape and is_bare else None
