"""Seed-OSS: a tag for each argument, on a line of its own.

::

    <seed:tool_call>
    <function=weather>
    <parameter=city>Rome</parameter>
    </function>
    </seed:tool_call>
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.tagged_calls import TaggedCallFormat, TaggedShape

SHAPE = TaggedShape(
    before="<seed:tool_call>\n<function=",
    middle=">\n",
    key="<parameter=",
    value=">",
    end="</parameter>\n",
    after="</function>\n</seed:tool_call>",
    between="</function>\n</seed:tool_call>\n<seed:tool_call>\n<function=",
)
"""As Seed-OSS writes calls."""


@dataclass(frozen=True)
class SeedOss(TaggedCallFormat):
    """Tags that name a tool, and in it those that name its arguments."""

    name: ClassVar[str] = "seed_oss"
    mark: ClassVar[str] = "<seed:tool_call>"

    shape: TaggedShape = SHAPE
