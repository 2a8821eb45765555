"""MiniMax M2: tags whose attributes name the tools and arguments, in one pair for all calls.

::

    <minimax:tool_call>
    <invoke name="weather">
    <parameter name="city">Rome</parameter>
    </invoke>
    </minimax:tool_call>
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.tagged_calls import TaggedCallFormat, TaggedShape

SHAPE = TaggedShape(
    before='<minimax:tool_call>\n<invoke name="',
    middle='">\n',
    key='<parameter name="',
    value='">',
    end="</parameter>\n",
    after="</invoke>\n</minimax:tool_call>",
    between='</invoke>\n<invoke name="',
)
"""As MiniMax M2 writes calls."""


@dataclass(frozen=True)
class MiniMax(TaggedCallFormat):
    """Tags with the names as attributes."""

    name: ClassVar[str] = "minimax"
    mark: ClassVar[str] = "<minimax:tool_call>"

    shape: TaggedShape = SHAPE
