"""Calls with a tag for each argument, read while they are written: one argument at a time.

This module knows the text between the markers of calls: nothing of tokens, prompts or LangChain.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from langchain_amulet.chat_formats.argumentwise_parser import ArgumentwiseParser
from langchain_amulet.chat_formats.calls import Function
from langchain_amulet.chat_formats.json_call_parser import named_call
from langchain_amulet.chat_formats.literals import typed
from langchain_amulet.chat_formats.markup import pattern
from langchain_amulet.chat_formats.output_parser import OutputPart

CDATA = re.compile(r"\A<!\[CDATA\[(.*)\]\]>\Z", re.DOTALL)
"""A text as XML quotes it."""


class TaggedCallParser(ArgumentwiseParser):
    """Reads the text between two markers of calls: `feed` it, then `finish` it.

    A value ends at the tag behind it that another argument or the call's end follows, so that texts
    may hold tags.
    """

    def __init__(
        self,
        opening: str,
        *,
        before: str,
        middle: str,
        key: str,
        values: tuple[str, str | None],
        end: str,
        after: str,
        functions: Sequence[Function] = (),
    ) -> None:
        """Start with the text behind ``opening``.

        Args:
            opening: What a call without a name is given back.
            before: The markup in front of a call's name.
            middle: That behind it.
            key: That in front of an argument's name.
            values: That in front of its value, and that in front of one which is a text if that is
                told so.
            end: That behind a value.
            after: That behind a call, without the marker that closes all.
            functions: The tools, which say of what types arguments are.
        """
        super().__init__(opening, functions)
        over = pattern(after) if after.strip() else r"\s*\Z"
        follows = rf"(?=\s*{_start(key)}|{over if after.strip() else 'NEVER'})"
        self._head, self._last_head = _pair(named_call(before, middle, ()).pattern, follows, over)
        value, text = values
        told = f"(?P<text>{_before_value(text)})|" if text is not None else ""
        argument = (
            rf"{pattern(key)}(?P<key>.+?)(?:{told}{_before_value(value)})(?P<value>.*?)"
            rf"{_behind_value(end)}"
        )
        self._argument, self._last_argument = _pair(argument, follows, over)
        self._is_typed = text is not None
        self._over = re.compile(over)
        self._has_mark_behind = bool(after.strip())

    def _next(self, is_over: bool) -> OutputPart | None:
        if self._name is None:
            head = (self._last_head if is_over else self._head).match(self._held)
            return self._begin(head[1], head.end()) if head else None
        argument = (self._last_argument if is_over else self._argument).match(self._held)
        if argument:
            return self._pass_on(self._read(argument), argument.end())
        over = self._over.match(self._held) if is_over or self._has_mark_behind else None
        return self._end(over.end()) if over else None

    def _read(self, argument: re.Match[str]) -> dict[str, Any]:
        name = argument["key"].strip()
        value: Any = CDATA.sub(r"\1", argument["value"])
        if not (self._is_typed and argument["text"] is not None):
            value = typed(value, self._parameter(name), is_other=self._is_typed)
        return {name: value}


def _pair(first: str, follows: str, over: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A pattern for what something follows, and one where the text may be over, too."""
    return (
        re.compile(first + follows, re.DOTALL),
        re.compile(f"{first}(?:{follows}|(?={over}))", re.DOTALL),
    )


def _start(markup: str) -> str:
    return pattern(markup).strip() or "NEVER"


def _before_value(markup: str) -> str:
    """A pattern for the markup in front of a value, of whose white space some may be missing."""
    core = markup.rstrip()
    return f"{pattern_exact(core)}(?:{re.escape(markup[len(core) :])})?"


def _behind_value(markup: str) -> str:
    core = markup.lstrip()
    space = markup[: len(markup) - len(core)]
    return rf"(?:{re.escape(space)})?{pattern_exact(core.rstrip())}\s*"


def pattern_exact(markup: str) -> str:
    """A pattern for the markup, with no white space of its own at either end."""
    return pattern(markup).removeprefix(r"\s*").removesuffix(r"\s*")
