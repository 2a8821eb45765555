"""OLMo 3: calls in Python between tags, each on a line of its own.

::

    <function_calls>
    weather(city="Rome")
    </function_calls>
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.python_calls import PythonCallFormat, PythonShape

SHAPE = PythonShape(before="<function_calls>\n", after="\n</function_calls>", between="\n")
"""As OLMo 3 writes calls."""


@dataclass(frozen=True)
class Olmo(PythonCallFormat):
    """Lines of Python between tags."""

    name: ClassVar[str] = "olmo"
    mark: ClassVar[str] = "<function_calls>"

    shape: PythonShape = SHAPE
