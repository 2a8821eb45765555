"""xLAM: an answer that begins with a list of JSON is calls.

::

    [{"name": "weather", "arguments": {"city": "Rome"}}]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.families.llama import Llama
from langchain_amulet.chat_formats.json_calls import JsonCallShape

SHAPE = JsonCallShape(
    before='[{"name": "',
    middle='", "arguments": ',
    after="}]",
    between='}, {"name": "',
)
"""As xLAM writes calls."""


@dataclass(frozen=True)
class XLam(Llama):
    """A list of JSON without marks, with which an answer has to begin."""

    name: ClassVar[str] = "xlam"

    shape: JsonCallShape = SHAPE

    @classmethod
    def is_shaped(cls, shape: JsonCallShape) -> bool:
        """Whether calls begin with a list."""
        return shape.before.lstrip().startswith("[")
