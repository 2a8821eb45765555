"""Jamba, Apriel and Hunyuan: a list of JSON between tags.

::

    <tool_calls>[{"name": "weather", "arguments": {"city": "Rome"}}]</tool_calls>
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.json_calls import JsonCallFormat, JsonCallShape

SHAPE = JsonCallShape(
    before='<tool_calls>[{"name": "',
    middle='", "arguments": ',
    after="}]</tool_calls>",
    between='}, {"name": "',
)
"""As Jamba writes calls."""


@dataclass(frozen=True)
class Jamba(JsonCallFormat):
    """A list of JSON between tags."""

    name: ClassVar[str] = "jamba"
    mark: ClassVar[str] = "<tool_calls>"

    shape: JsonCallShape = SHAPE
