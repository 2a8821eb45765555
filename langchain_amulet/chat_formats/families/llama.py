"""Llama 3 and 4: an answer that begins with JSON is a call.

::

    {"name": "weather", "parameters": {"city": "Rome"}}

A tag, ``<|python_tag|>``, may stand in front of it. Templates of Llama 4 write what is said along
with calls between two of them, which are there even where that is nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from langchain_amulet.chat_formats.json_calls import JsonCallFormat, JsonCallShape
from langchain_amulet.chat_formats.probe import TemplateSample
from langchain_amulet.chat_formats.regions import Bare, CallRegion

TAG = "<|python_tag|>"
"""What may stand in front of calls."""

EMPTY = "<|python_start|><|python_end|>"
"""What does in Llama 4's."""

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
        tag = EMPTY if self.shape.before.startswith(EMPTY) else TAG
        return Bare(_untagged(self.shape.before)[:1], tag)

    def markers(self, with_calls: bool) -> frozenset[str]:
        """The texts by which an answer is taken apart; those around what is said aren't shown."""
        return frozenset(each for each in super().markers(with_calls) if each not in EMPTY)

    @classmethod
    def learn(cls, sample: TemplateSample) -> Self | None:
        """The shape that a chat template gives to calls, if nothing else stands before them."""
        found = super().learn(sample)
        # A control token in front of all says which tag it is, and needn't be told again.
        return found and replace(found, tokens=frozenset())

    @classmethod
    def is_shaped(cls, shape: JsonCallShape) -> bool:
        """Whether calls begin with JSON."""
        return _untagged(shape.before).startswith(("{", "["))


def _untagged(before: str) -> str:
    return before.removeprefix(TAG).removeprefix(EMPTY).lstrip()
