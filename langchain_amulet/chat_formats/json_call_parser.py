"""Calls in JSON read while they are written: first the name, then the arguments as they come.

A call begins to go out once its name and the bracket that opens its arguments were seen. From
there on the arguments are passed on letter by letter. What is written in another order, such as
arguments in front of the name or within a string, goes out when it is whole.

This module knows the text between the markers of calls: nothing of the markers themselves, of
tokens, prompts or LangChain.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from langchain_amulet.chat_formats.markup import pattern
from langchain_amulet.chat_formats.output_parser import OutputPart
from langchain_amulet.grammar.json_position import JsonPosition

SEPARATORS = " \t\r\n,;[]"
"""What may stand between calls, the brackets of a list of them included."""

NAMED = re.compile(r"\s*([\w.-]+)\s*")
"""A name in front of its arguments; the first group is the name."""

NAME_KEYS = ("name", "tool_name")

ASIDE = frozenset({*NAME_KEYS, "type", "id", "index", "call_id", "tool_call_id"})
"""What else a call's object may hold where there are no arguments."""

OPENED = re.compile(r'"(?:arguments|parameters)"\s{0,16}:\s{0,16}\{\Z')
"""A bracket that may open arguments."""

REACH = 64
"""How far back `OPENED` can begin."""

NONE = object()
"""Nothing, where None is something."""

PATHS = tuple((*outer, key) for outer in ((), ("function",)) for key in ("arguments", "parameters"))
"""Where arguments stand in a call's JSON."""


def named_call(before: str, middle: str, markers: Collection[str]) -> re.Pattern[str]:
    """A pattern for what stands in front of arguments where a name does; its group is the name.

    Args:
        before: The markup in front of the name, which may be missing.
        middle: The markup behind it.
        markers: What may stand in front of all, besides separators.
    """
    others = "".join(f"|{re.escape(marker)}" for marker in sorted(markers))
    skipped = rf"(?:[{re.escape(SEPARATORS)}}}]{others})*"
    # What the family writes in front of names is tried first, as names may look like its end.
    front = f"(?:{skipped}{pattern(before)}|{skipped})" if before.strip() else skipped
    return re.compile(rf"{front}([\w.-]+?){pattern(middle)}")


def whole_calls(value: Any, names: Collection[str] | None = None) -> Iterator[OutputPart]:
    """The calls that a decoded text is: an object, or a list. What is no call is left out.

    Args:
        value: What the text says.
        names: Tools that may be called without any word of arguments; None for any.
    """
    for item in value if isinstance(value, list) else [value]:
        function = _function(item)
        name = name_in(function)
        arguments = function.get("arguments", function.get("parameters", NONE))
        if arguments is NONE:
            is_call = names is None or (name in names and function.keys() <= ASIDE)
            arguments = {} if is_call else None
        if isinstance(arguments, str):
            arguments = _decoded(arguments)
        if name and isinstance(arguments, dict):
            yield OutputPart("call", name)
            yield OutputPart("arguments", json.dumps(arguments, ensure_ascii=False))


class JsonCallParser:
    """Reads the text between two markers of calls: `feed` it, then `finish` it.

    Calls are JSON objects with a name and ``arguments`` or ``parameters``, one or several, or in
    a list; or names in front of their arguments. From where the text can't be read, all the rest
    belongs to a broken call: the one that has begun, or one without a name.
    """

    def __init__(
        self,
        opening: str | None,
        named: re.Pattern[str] = NAMED,
        markers: Collection[str] = (),
        names: Collection[str] | None = None,
        is_keyed: bool = False,
    ) -> None:
        """Start with the text behind ``opening``, which a call without a name is given back.

        Args:
            opening: None where calls aren't marked. Without marks what can't be read is text,
                and names don't stand in front of arguments.
            named: What stands in front of arguments where a name does; its first group is the name.
            markers: What may stand around single calls, besides `SEPARATORS`.
            names: The tools that may be called in JSON without a word of arguments; None for any.
            is_keyed: Whether a call is an object whose only key is the name.
        """
        self._opening, self._named = opening, named
        self._names, self._is_keyed = names, is_keyed
        self._markers = sorted(markers, key=len, reverse=True)
        self._has_calls = False
        self._is_lost = False
        self._start_item()

    def feed(self, text: str) -> list[OutputPart]:
        """Add text; returns what is certain now."""
        return [part for character in text for part in self._read(character)]

    def finish(self) -> list[OutputPart]:
        """End the text; returns what was held back."""
        is_over = self._has_calls and not self._without_markers(self._item).strip(SEPARATORS)
        lost = [] if self._is_lost or is_over else [*self._give_up()]
        return [*lost, OutputPart("broken")] if self._is_lost and self._has_begun else lost

    def _read(self, character: str) -> Iterator[OutputPart]:
        self._item += character
        if self._is_lost:
            return self._pass_on()
        return self._within(character) if self._depth else self._before(character)

    def _start_item(self) -> None:
        """Begin what should become one call, and what stands in front of it."""
        self._item = ""
        self._start = 0  # of the item's JSON
        self._passed = 0  # how much of it has gone out or needn't
        self._has_begun = False  # whether its call has
        self._floor = 0  # the arguments are over when there are no more brackets open than these
        self._depth = 0  # how many brackets are open
        self._position = JsonPosition()

    def _before(self, character: str) -> Iterator[OutputPart]:
        """Read on in front of an item's JSON."""
        if character == "{":
            head = self._item[:-1]
            self._start, self._depth = len(head), 1
            named = self._named.fullmatch(head) if self._opening is not None else None
            if named:
                yield from self._begin(named[1])
            elif self._without_markers(head).strip(SEPARATORS):
                yield from self._give_up()
        elif self._opening is None and character not in SEPARATORS:
            yield from self._give_up()

    def _without_markers(self, head: str) -> str:
        for marker in self._markers:
            head = head.replace(marker, "")
        return head

    def _within(self, character: str) -> Iterator[OutputPart]:
        """Read on in an item's JSON."""
        was_argument = self._has_begun and self._depth > self._floor
        self._step(character)
        if was_argument:
            yield from self._pass_on()
        elif not self._has_begun and character == "{" and (name := self._name()):
            yield from self._begin(name)
        if self._depth == 0:
            yield from self._end_item()

    def _step(self, character: str) -> None:
        if not self._position.in_string:
            self._depth += (character in "{[") - (character in "}]")
        self._position = self._position.after(character.encode(errors="replace"))

    def _name(self) -> str | None:
        """The name of the call whose arguments were opened just now; None if they weren't."""
        if not self._is_keyed and not OPENED.search(self._item, max(0, len(self._item) - REACH)):
            return None
        inner = _decoded(self._item[self._start :] + "}" * self._depth)
        function: Mapping[str, Any] = {}
        path: tuple[str, ...] = ()
        while isinstance(inner, dict) and inner:
            function, key = inner, list(inner)[-1]
            path, inner = (*path, key), inner[key]
        if self._is_keyed and len(path) == 1:
            return path[0]
        return name_in(function) if path in PATHS else None

    def _begin(self, name: str) -> Iterator[OutputPart]:
        """Let a call begin whose arguments begin with the last character."""
        self._has_begun = True
        self._passed = len(self._item) - 1
        self._floor = self._depth - 1
        yield OutputPart("call", name)
        yield from self._pass_on()

    def _end_item(self) -> Iterator[OutputPart]:
        value = _decoded(self._item[self._start :])
        whole = () if self._has_begun else tuple(whole_calls(value, self._names))
        if whole or (self._has_begun and value is not None):
            self._has_calls = True
            self._start_item()
            return iter(whole)
        return self._give_up()

    def _give_up(self) -> Iterator[OutputPart]:
        """Give up reading from here on."""
        self._is_lost = True
        if self._opening is not None and not self._has_begun:
            self._has_begun = True
            yield OutputPart("call")
            yield OutputPart("arguments", self._opening)
        yield from self._pass_on()

    def _pass_on(self) -> Iterator[OutputPart]:
        """What was held back of the item, as it was written."""
        yield OutputPart("arguments" if self._has_begun else "text", self._item[self._passed :])
        self._passed = len(self._item)


def _function(value: Any) -> dict[str, Any]:
    """Where a call's name and arguments stand: in the object itself, or under ``function``."""
    function = value.get("function", value) if isinstance(value, dict) else None
    return function if isinstance(function, dict) else {}


def name_in(function: Mapping[str, Any]) -> str | None:
    """The tool that an object calls; None if it names none."""
    name = next((function[key] for key in NAME_KEYS if key in function), None)
    return name if isinstance(name, str) and name else None


def _decoded(text: str) -> Any:
    """What JSON says; None if it isn't any."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
