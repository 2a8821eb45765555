"""Qwen3-Coder, Qwen3.5, Nemotron 3 and Step 3.5: a tag for each argument, on lines of their own.

::

    <tool_call>
    <function=weather>
    <parameter=city>
    Rome
    </parameter>
    </function>
    </tool_call>
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.tagged_calls import TaggedCallFormat, TaggedShape

SHAPE = TaggedShape(
    before="<tool_call>\n<function=",
    middle=">\n",
    key="<parameter=",
    value=">\n",
    end="\n</parameter>\n",
    after="</function>\n</tool_call>",
    between="</function>\n</tool_call>\n<tool_call>\n<function=",
)
"""As Qwen3-Coder writes calls."""


@dataclass(frozen=True)
class QwenCoder(TaggedCallFormat):
    """Tags that name a tool, and in it those that name its arguments."""

    name: ClassVar[str] = "qwen_coder"
    mark: ClassVar[str] = "<tool_call>\n<function="

    shape: TaggedShape = SHAPE
