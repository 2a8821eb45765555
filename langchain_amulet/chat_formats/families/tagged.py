"""Whatever else has a tag for each argument, such as MiniCPM's.

::

    <function name="weather"><param name="city">Rome</param></function>

Which tags these are only the chat template tells.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.tagged_calls import TaggedCallFormat, TaggedShape

SHAPE = TaggedShape(
    before='<function name="',
    middle='">',
    key='<param name="',
    value='">',
    end="</param>",
    after="</function>",
    between='</function>\n<function name="',
)
"""As MiniCPM 5 writes calls."""


@dataclass(frozen=True)
class Tagged(TaggedCallFormat):
    """Tags that the chat template has told."""

    name: ClassVar[str] = "tagged"

    shape: TaggedShape = SHAPE
