"""Command R7B and A: a list of JSON between tokens, in words of its own.

::

    <|START_ACTION|>[
        {"tool_call_id": "0", "tool_name": "weather", "parameters": {"city": "Rome"}}
    ]<|END_ACTION|>
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.json_calls import JsonCallFormat, JsonCallShape
from langchain_amulet.chat_formats.markup import NUMBER

SHAPE = JsonCallShape(
    before=f'<|START_ACTION|>[\n    {{"tool_call_id": "{NUMBER}", "tool_name": "',
    middle='", "parameters": ',
    after="}\n]<|END_ACTION|>",
    between=f'}},\n    {{"tool_call_id": "{NUMBER}", "tool_name": "',
)
"""As Command R7B writes calls."""


@dataclass(frozen=True)
class Command(JsonCallFormat):
    """A list of numbered calls between tokens."""

    name: ClassVar[str] = "command"
    mark: ClassVar[str] = "<|START_ACTION|>"

    shape: JsonCallShape = SHAPE
