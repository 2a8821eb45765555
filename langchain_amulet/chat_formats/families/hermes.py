"""Hermes, Qwen and many others: JSON between tags.

::

    <tool_call>
    {"name": "weather", "arguments": {"city": "Rome"}}
    </tool_call>

Taken, too, where a chat template writes no calls and speaks of none that any family knows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.json_calls import JsonCallFormat, JsonCallShape

SHAPE = JsonCallShape(
    before='<tool_call>\n{"name": "',
    middle='", "arguments": ',
    after="}\n</tool_call>",
    between='}\n</tool_call>\n<tool_call>\n{"name": "',
)
"""As Hermes writes calls."""


@dataclass(frozen=True)
class Hermes(JsonCallFormat):
    """JSON between tags, a pair of them for each call."""

    name: ClassVar[str] = "hermes"
    mark: ClassVar[str] = "<tool_call>"

    shape: JsonCallShape = SHAPE
