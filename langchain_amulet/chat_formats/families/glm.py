"""GLM 4.5 and later: a tag for each argument's name and one for its value.

::

    <tool_call>weather
    <arg_key>city</arg_key>
    <arg_value>Rome</arg_value>
    </tool_call>
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.tagged_calls import TaggedCallFormat, TaggedShape

SHAPE = TaggedShape(
    before="<tool_call>",
    middle="\n",
    key="<arg_key>",
    value="</arg_key>\n<arg_value>",
    end="</arg_value>\n",
    after="</tool_call>",
    between="</tool_call>\n<tool_call>",
)
"""As GLM 4.5 writes calls."""


@dataclass(frozen=True)
class Glm(TaggedCallFormat):
    """Names and values in tags of the same kinds, behind the name of the tool."""

    name: ClassVar[str] = "glm"
    mark: ClassVar[str] = "<arg_key>"

    shape: TaggedShape = SHAPE
