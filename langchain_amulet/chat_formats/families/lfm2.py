"""LFM2: a list of calls in Python between tokens.

::

    <|tool_call_start|>[weather(city="Rome")]<|tool_call_end|>
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.python_calls import PythonCallFormat, PythonShape

SHAPE = PythonShape(before="<|tool_call_start|>[", after="]<|tool_call_end|>", between=", ")
"""As LFM2 writes calls."""


@dataclass(frozen=True)
class Lfm2(PythonCallFormat):
    """A list of calls in Python between tokens."""

    name: ClassVar[str] = "lfm2"
    mark: ClassVar[str] = "<|tool_call_start|>"

    shape: PythonShape = SHAPE
