"""Calls in Python's way of writing, read while they are written: first a name, then its arguments.

This module knows the text between the markers of calls: nothing of tokens, prompts or LangChain.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_amulet.chat_formats.calls import Function, parameters_of
from langchain_amulet.chat_formats.literals import typed
from langchain_amulet.chat_formats.output_parser import OutputPart

BETWEEN = " \t\r\n,;[]"
"""What may stand between calls, the brackets of a list of them included."""

NAME = re.compile(r"[A-Za-z_][\w.-]*\Z")
CONSTANTS = {"true": True, "false": False, "null": None}
"""What JSON calls otherwise than Python."""


class PythonCallParser:
    """Reads the text between two markers of calls: `feed` it, then `finish` it.

    From where the text can't be read, all the rest belongs to a broken call, or is text where no
    marker said that it is a call.
    """

    def __init__(self, opening: str | None, functions: Sequence[Function] = ()) -> None:
        """Start with the text behind ``opening``; None where calls aren't marked.

        Args:
            opening: What a call without a name is given back.
            functions: The tools. Where calls aren't marked, only one of them can be called.
        """
        self._opening = opening
        self._parameters = {
            function["name"]: {each.name: each for each in parameters_of(function)}
            for function in functions
        }
        self._skipped = ""  # what stood in front of the call that is being read
        self._name = ""
        self._arguments: str | None = None  # once the bracket was seen that opens them
        self._depth, self._quote, self._is_escaped = 0, "", False
        self._is_lost = False
        self._has_calls = False

    def feed(self, text: str) -> list[OutputPart]:
        """Add text; returns what is certain now."""
        return [part for character in text for part in self._read(character)]

    def finish(self) -> list[OutputPart]:
        """End the text; returns what was held back."""
        if self._is_lost:
            return [OutputPart("broken")] if self._opening is not None else []
        if self._arguments is not None:
            return [OutputPart("arguments", self._arguments), OutputPart("broken")]
        is_over = self._has_calls and not self._name
        return [] if is_over else [*self._give_up(), *self._broken()]

    def _read(self, character: str) -> Iterator[OutputPart]:
        if self._is_lost:
            yield OutputPart("text" if self._opening is None else "arguments", character)
        elif self._arguments is not None:
            yield from self._within(character)
        elif character == "(" and self._is_call:
            yield OutputPart("call", self._name)
            self._arguments, self._depth, self._has_calls = "", 1, True
        elif character in BETWEEN and not self._name:
            self._skipped += character
        else:
            self._name += character
            if not NAME.match(self._name.rstrip()):
                yield from self._give_up()

    @property
    def _is_call(self) -> bool:
        is_known = self._opening is not None or self._name in self._parameters
        return is_known and bool(NAME.match(self._name))

    def _within(self, character: str) -> Iterator[OutputPart]:
        if self._quote:
            is_end = character == self._quote and not self._is_escaped
            self._is_escaped = character == "\\" and not self._is_escaped
            self._quote = "" if is_end else self._quote
        elif character in "\"'":
            self._quote = character
        else:
            self._depth += (character in "([{") - (character in ")]}")
        if self._depth:
            self._arguments = (self._arguments or "") + character
        else:
            yield from self._end()

    def _end(self) -> Iterator[OutputPart]:
        written = self._arguments or ""
        read = self._typed(arguments_in(written))
        self._name, self._skipped, self._arguments = "", "", None
        if read is None:
            yield OutputPart("arguments", written)
            yield OutputPart("broken")
        else:
            yield OutputPart("arguments", json.dumps(read, ensure_ascii=False))

    def _typed(self, read: dict[str, Any] | None) -> dict[str, Any] | None:
        """The arguments, with texts that were to be something else as that."""
        known = self._parameters.get(self._name, {})
        return read and {
            name: typed(value, known.get(name)) if isinstance(value, str) else value
            for name, value in read.items()
        }

    def _give_up(self) -> Iterator[OutputPart]:
        self._is_lost = True
        held = self._skipped + self._name
        if self._opening is None:
            yield OutputPart("text", held)
        else:
            yield OutputPart("call")
            yield OutputPart("arguments", self._opening + held)

    def _broken(self) -> list[OutputPart]:
        return [] if self._opening is None else [OutputPart("broken")]


def arguments_in(written: str) -> dict[str, Any] | None:
    """What stands between a call's parentheses, by its names; None if it can't be read."""
    try:
        # Within quotation marks models write lines as they are; outside of them lines are spaces.
        in_line = written.strip().replace("\n", "\\n" if _holds_lines(written) else " ")
        call = ast.parse(f"f({in_line})", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            return None
        values = {each.arg: _value(each.value) for each in call.keywords if each.arg}
        json.dumps(values)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        return None
    return values if len(values) == len(call.keywords) else None


def _holds_lines(written: str) -> bool:
    """Whether a line ends within quotation marks."""
    quote = ""
    for character in re.sub(r"\\.", "", written):
        if quote and character == "\n":
            return True
        quote = ("" if character == quote else quote) if quote else character * (character in "\"'")
    return False


def _value(node: ast.expr) -> Any:
    """What a literal says; a bare word is a text, as some models leave out quotation marks."""
    if isinstance(node, ast.Name):
        return CONSTANTS.get(node.id, node.id)
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(item) for item in node.elts]
    if isinstance(node, ast.Dict):
        keys = [_value(key) if key else None for key in node.keys]
        return {str(key): _value(item) for key, item in zip(keys, node.values, strict=True)}
    return ast.literal_eval(node)
