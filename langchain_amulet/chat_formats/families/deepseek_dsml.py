"""DeepSeek V3.2 and V4: tags that say of each argument whether it is a text.

::

    <｜DSML｜function_calls>
    <｜DSML｜invoke name="weather">
    <｜DSML｜parameter name="city" string="true">Rome</｜DSML｜parameter>
    </｜DSML｜invoke>
    </｜DSML｜function_calls>
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.tagged_calls import TaggedCallFormat, TaggedShape

SHAPE = TaggedShape(
    before='<｜DSML｜function_calls>\n<｜DSML｜invoke name="',
    middle='">\n',
    key='<｜DSML｜parameter name="',
    value='" string="false">',
    end="</｜DSML｜parameter>\n",
    after="</｜DSML｜invoke>\n</｜DSML｜function_calls>",
    between='</｜DSML｜invoke>\n<｜DSML｜invoke name="',
    text='" string="true">',
)
"""As DeepSeek V3.2 writes calls."""


@dataclass(frozen=True)
class DeepSeekDsml(TaggedCallFormat):
    """Tags with names and types as attributes."""

    name: ClassVar[str] = "deepseek_dsml"
    mark: ClassVar[str] = "<｜DSML｜"

    shape: TaggedShape = SHAPE
