"""From an answer's text to its parts: what is said, what is thought, which tools are called.

Text comes in pieces of any size and parts go out as soon as they are certain. A call that can't
be read stays in the answer word for word, marked as broken.

This module knows texts and response templates: nothing of tokens, prompts or LangChain.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

THOUGHTS = frozenset({"reasoning_content", "reasoning", "thinking"})
"""What response templates call thoughts."""

NAMED = re.compile(r"\s*([\w.-]+)\s*(?:\[CALL_ID\]\w+)?(?:\[ARGS\])?\s*(?=\{)")
"""A name in front of its arguments: Mistral's later way of writing a call."""


@dataclass(frozen=True)
class Call:
    """One call of a tool.

    Attributes:
        name: The tool; None if the call is broken.
        arguments: JSON of an object; of a broken call all that was written.
    """

    name: str | None
    arguments: str


@dataclass(frozen=True)
class Reply:
    """What a piece of text adds to an answer."""

    text: str = ""
    thought: str = ""
    calls: tuple[Call, ...] = ()

    def __bool__(self) -> bool:
        """Whether it adds anything."""
        return bool(self.text or self.thought or self.calls)

    def __add__(self, other: Reply) -> Reply:
        """Both, one after the other."""
        return Reply(
            self.text + other.text, self.thought + other.thought, (*self.calls, *other.calls)
        )


class PlainReader:
    """Takes all text for what is said."""

    def feed(self, text: str) -> Reply:
        """Add text; returns what it adds to the answer."""
        return Reply(text=text)

    def finish(self) -> Reply:
        """End the answer; returns what was held back."""
        return Reply()


class Reader:
    """Takes one answer apart by a response template.

    White space around calls and thoughts is dropped, as templates write their own.
    """

    def __init__(
        self,
        tokenizer: Any,
        template: Mapping[str, Any],
        prefix: str = "",
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        """Start reading where ``prefix``, the end of the prompt, leaves off."""
        self._tokenizer, self._template = tokenizer, dict(template)
        self._tools = [dict(tool) for tool in tools]
        self._parser = self._start(prefix)
        field = template["fields"].get("tool_calls", {})
        self._is_marked = not field.get("open_pattern", "").startswith(r"\A")
        self._opening = field.get("open")
        self._region = ""  # of the call or thought that is open: what was written
        self._text, self._thought = Trimmed(), Trimmed()

    def feed(self, text: str) -> Reply:
        """Add text; returns what is certain now."""
        found = Reply()
        for character in text:
            try:
                events = self._parser.feed(character)
            except (ValueError, KeyError):
                found += self._recover()
            else:
                found += self._read(events)
        return found

    def finish(self) -> Reply:
        """End the answer; returns what was held back."""
        try:
            _, events = self._parser.finalize()
        except (ValueError, KeyError):
            return self._recover()
        return self._read(events) + Reply(text=self._text.rest())

    def _read(self, events: Sequence[Mapping[str, Any]]) -> Reply:
        return sum((self._event(event) for event in events), Reply())

    def _event(self, event: Mapping[str, Any]) -> Reply:
        kind, field = event["type"], event["field"]
        if field == "tool_calls":
            return self._call_event(kind, event)
        if kind == "region_close" and field in THOUGHTS:
            self._text, self._thought = Trimmed(), Trimmed()
        if kind != "region_chunk":
            return Reply()
        if field in THOUGHTS:
            return Reply(thought=self._thought.feed(event["text"]))
        return Reply(text=self._text.feed(event["text"]))

    def _call_event(self, kind: str, event: Mapping[str, Any]) -> Reply:
        if kind == "region_open":
            self._region = ""
        elif kind == "region_chunk":
            self._region += event["text"]
        else:
            self._text = Trimmed()
            return self._called(event["value"])
        return Reply()

    def _called(self, value: Any) -> Reply:
        calls = list(read_calls(value)) if isinstance(value, str) else list(_calls_of(value))
        if calls:
            return Reply(calls=tuple(calls))
        if self._is_marked:
            return Reply(calls=(self._broken(),))
        return Reply(text=self._text.feed(self._region))  # JSON, but not meant as a call

    def _broken(self) -> Call:
        """The open call word for word, and so that nobody takes it for JSON of arguments."""
        opening = self._opening if isinstance(self._opening, str) else "tool call: "
        return Call(None, opening + self._region)

    def _start(self, prefix: str) -> Any:
        return self._tokenizer.get_response_parser(self._template, prefix=prefix, tools=self._tools)

    def _recover(self) -> Reply:
        """Go on after a call that the template's own parser can't read."""
        broken = self._broken()
        self._parser, self._region, self._text = self._start(""), "", Trimmed()
        return Reply(calls=(broken,))


class Trimmed:
    """A text without white space at its start; that at its end is held back."""

    def __init__(self) -> None:
        """Start without text."""
        self._blank = ""
        self._is_empty = True

    def feed(self, text: str) -> str:
        """Add text; returns what can be shown."""
        text = self._blank + text
        text = text.lstrip() if self._is_empty else text
        shown = text.rstrip()
        self._blank = text[len(shown) :]
        self._is_empty = self._is_empty and not shown
        return shown

    def rest(self) -> str:
        """What was held back."""
        return self._blank


def read_calls(text: str) -> Iterator[Call]:
    """The calls that a text is made of; none if any part of it isn't one.

    Calls are JSON objects with a name and ``arguments`` or ``parameters``, one or several, or in
    a list; or names in front of their arguments.
    """
    values = _values(text)
    calls = [call for value in values or () for call in _calls_of(value)]
    if values and len(calls) == sum(len(v) if isinstance(v, list) else 1 for v in values):
        yield from calls


def _values(text: str) -> list[Any] | None:
    decoder, values, place = json.JSONDecoder(), [], 0
    while rest := text[place:].lstrip(" \t\r\n;"):
        start = len(text) - len(rest)
        named = NAMED.match(rest)
        begin = start + (named.end() if named else 0)
        try:
            value, place = decoder.raw_decode(text, begin)
        except (ValueError, RecursionError):
            return None
        values.append({"name": named[1], "arguments": value} if named else value)
    return values


def _calls_of(value: Any) -> Iterator[Call]:
    for item in value if isinstance(value, list) else [value]:
        function = item.get("function", item) if isinstance(item, dict) else {}
        if not isinstance(function, dict):
            continue
        name = function.get("name")
        arguments = function.get("arguments", function.get("parameters", {}))
        if isinstance(arguments, str):
            arguments = _decoded(arguments)
        if isinstance(name, str) and name and isinstance(arguments, dict):
            yield Call(name, json.dumps(arguments, ensure_ascii=False))


def _decoded(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None
