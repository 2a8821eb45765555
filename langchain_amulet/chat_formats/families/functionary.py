"""Functionary 3.1, and Llama 3.1 as its makers once told it to: JSON in a tag that names the tool.

::

    <function=weather>{"city": "Rome"}</function>
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.json_calls import JsonCallFormat, JsonCallShape

SHAPE = JsonCallShape(
    before="<function=",
    middle=">",
    after="</function>",
    between="</function><function=",
)
"""As Functionary 3.1 writes calls."""


@dataclass(frozen=True)
class Functionary(JsonCallFormat):
    """A tag for each call, whose name is the tool's."""

    name: ClassVar[str] = "functionary"
    mark: ClassVar[str] = "<function=NAME>"

    shape: JsonCallShape = SHAPE
