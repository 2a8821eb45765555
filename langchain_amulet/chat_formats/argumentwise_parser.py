"""Calls whose arguments are read one at a time, each once it is whole.

This module knows what has gone out of a call: nothing of how a family marks arguments.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_amulet.chat_formats.calls import Function, Parameter, parameters_of
from langchain_amulet.chat_formats.json_call_parser import SEPARATORS
from langchain_amulet.chat_formats.output_parser import OutputPart, broken_call


class ArgumentwiseParser(ABC):
    """Reads the text between two markers of calls: `feed` it, then `finish` it.

    A subclass says by `_next` what the text that is held back begins with. What it can't read
    belongs to a broken call.
    """

    def __init__(self, opening: str, functions: Sequence[Function] = ()) -> None:
        """Start with the text behind ``opening``.

        Args:
            opening: What a call without a name is given back.
            functions: The tools, which say of what types arguments are.
        """
        self._opening = opening
        self._parameters = {
            function["name"]: {each.name: each for each in parameters_of(function)}
            for function in functions
        }
        self._held = ""
        self._has_calls = False
        self._name: str | None = None  # of the call that has begun
        self._written = 0  # how many of its arguments have gone out

    def feed(self, text: str) -> list[OutputPart]:
        """Add text; returns what is certain now."""
        self._held += text
        return list(self._parts(is_over=False))

    def finish(self) -> list[OutputPart]:
        """End the text; returns what was held back."""
        parts = list(self._parts(is_over=True))
        if self._name is not None:
            return [*parts, OutputPart("arguments", self._held), OutputPart("broken")]
        if self._held.strip(SEPARATORS) or not self._has_calls:
            return [*parts, *broken_call(self._opening + self._held)]
        return parts

    @abstractmethod
    def _next(self, is_over: bool) -> OutputPart | None:
        """Read on by a call's head, an argument or a call's end; None if none of them is certain.

        Args:
            is_over: Whether there is no more text.
        """

    def _parts(self, is_over: bool) -> Iterator[OutputPart]:
        while (part := self._next(is_over)) is not None:
            yield part

    def _parameter(self, name: str) -> Parameter | None:
        """What the tool that is called takes by this name; None if that isn't known."""
        return self._parameters.get(self._name or "", {}).get(name)

    def _begin(self, name: str, size: int) -> OutputPart:
        """Let a call begin, whose head has so many characters."""
        self._held = self._held[size:]
        self._name, self._has_calls, self._written = name, True, 0
        return OutputPart("call", name)

    def _pass_on(self, arguments: Mapping[str, Any], size: int) -> OutputPart:
        """Let arguments go out, which have so many characters."""
        self._held = self._held[size:]
        written = json.dumps(arguments, ensure_ascii=False)[1:-1]
        before = "" if not arguments else ", " if self._written else "{"
        self._written += len(arguments)
        return OutputPart("arguments", before + written)

    def _end(self, size: int) -> OutputPart:
        """End the call by so many characters."""
        self._held = self._held[size:]
        self._name = None
        return OutputPart("arguments", "}" if self._written else "{}")
