"""Apertus: a list of objects, each with the name of a tool for its only key.

::

    <|tools_prefix|>[{"weather": {"city": "Rome"}}]<|tools_suffix|>
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.json_calls import JsonCallFormat, JsonCallShape

SHAPE = JsonCallShape(
    before='<|tools_prefix|>[{"',
    middle='": ',
    after="}]<|tools_suffix|>",
    between='}, {"',
)
"""As Apertus writes calls."""


@dataclass(frozen=True)
class Apertus(JsonCallFormat):
    """A list of objects between tokens."""

    name: ClassVar[str] = "apertus"
    mark: ClassVar[str] = "<|tools_prefix|>"

    shape: JsonCallShape = SHAPE
