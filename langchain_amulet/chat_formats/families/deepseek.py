"""DeepSeek V3, R1 and V3.1: names in front of JSON, between tokens.

::

    <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{"city": "Rome"}
    <｜tool▁call▁end｜><｜tool▁calls▁end｜>

R1 writes a kind in front of the name, and its JSON in a code block.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.json_calls import JsonCallFormat, JsonCallShape

SHAPE = JsonCallShape(
    before="<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>",
    middle="<｜tool▁sep｜>",
    after="<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
    between="<｜tool▁call▁end｜><｜tool▁call▁begin｜>",
)
"""As DeepSeek V3.1 writes calls."""


@dataclass(frozen=True)
class DeepSeek(JsonCallFormat):
    """A name and JSON between tokens."""

    name: ClassVar[str] = "deepseek"
    mark: ClassVar[str] = "<｜tool▁calls▁begin｜>"

    shape: JsonCallShape = SHAPE
