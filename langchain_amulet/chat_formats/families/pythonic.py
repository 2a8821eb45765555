"""Llama 3.2 and 4 as small models: an answer that begins with a list of calls in Python.

::

    [weather(city="Rome"), clock()]
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.chat_formats.python_calls import PythonCallFormat, PythonShape

SHAPE = PythonShape(before="[", after="]", between=", ")
"""As Llama 4 writes calls."""


@dataclass(frozen=True)
class Pythonic(PythonCallFormat):
    """A list of calls in Python, with which an answer has to begin, or that markers mark."""

    name: ClassVar[str] = "pythonic"

    shape: PythonShape = SHAPE

    @classmethod
    def is_shaped(cls, shape: PythonShape) -> bool:
        """Whether something stands before calls that tells them from text."""
        return bool(shape.before.strip())
