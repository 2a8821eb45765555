"""Whatever else is JSON between markers of the model's own, such as InternLM's and Nemotron Nano's.

::

    <TOOLCALL>[{"name": "weather", "arguments": {"city": "Rome"}}]</TOOLCALL>
    <|calls|><|call|>weather<|args|>{"city": "Rome"}<|end|><|done|>

Which markers these are only the chat template tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.json_calls import JsonCallFormat, JsonCallShape

SHAPE = JsonCallShape(
    before='<TOOLCALL>[{"name": "',
    middle='", "arguments": ',
    after="}]</TOOLCALL>",
    between='}, {"name": "',
)
"""As Nemotron Nano 2 writes calls."""


@dataclass(frozen=True)
class Delimited(JsonCallFormat):
    """JSON, or names in front of JSON, between markers that the chat template has told."""

    name: ClassVar[str] = "delimited"

    shape: JsonCallShape = SHAPE

    @classmethod
    def is_shaped(cls, shape: JsonCallShape) -> bool:
        """Whether calls begin with a marker."""
        return bool(shape.lead)
