"""Whatever a tokenizer says itself of its model's answers, in a response template.

That is a description of regions that the transformers library reads answers by. It says how answers
are read, and nothing of how calls are written, so that is left to another format.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from transformers.utils.chat_parsing import ResponseParser

from langchain_amulet.chat_formats.base import ChatFormat
from langchain_amulet.chat_formats.calls import Function, FunctionCall
from langchain_amulet.chat_formats.families.hermes import Hermes
from langchain_amulet.chat_formats.json_call_parser import JsonCallParser, whole_calls
from langchain_amulet.chat_formats.output_parser import (
    OutputParser,
    OutputPart,
    WhiteSpace,
    broken_call,
    joined,
)
from langchain_amulet.chat_formats.regions import CallRegion
from langchain_amulet.grammar import GrammarCompiler

THOUGHTS = frozenset({"reasoning_content", "reasoning", "thinking"})
"""What response templates call thoughts."""


@dataclass(frozen=True)
class OwnResponseTemplate(ChatFormat):
    """Reads answers with calls by a response template, and writes calls as another format does.

    Attributes:
        template: The response template.
        written: How calls are written, and answers without tools are read.
        ends: The texts of tokens that end answers, which otherwise aren't shown.
    """

    name: ClassVar[str] = "response_template"

    template: Mapping[str, Any] = field(hash=False)
    written: ChatFormat = field(default_factory=Hermes)
    ends: tuple[str, ...] = ()

    @property
    def region(self) -> CallRegion:
        """Where calls stand as they are written."""
        return self.written.region

    @property
    def call_example(self) -> str:
        """A call as it is written."""
        return self.written.call_example

    def markers(self, with_calls: bool) -> frozenset[str]:
        """What looks like a marker in the response template, besides those of what is written."""
        fields = json.dumps(self.template, ensure_ascii=False) if with_calls else ""
        fields = _unescaped(fields)
        found = re.findall(r"<[^<>\s]+>|\[[^\[\]\s]+\]", fields)
        return self.written.markers(with_calls) | super().markers(with_calls) | frozenset(found)

    def write_calls(self, calls: Sequence[FunctionCall]) -> str:
        """An answer of these calls."""
        return self.written.write_calls(calls)

    def call_grammar(
        self, functions: Sequence[Function], several: bool, compiler: GrammarCompiler
    ) -> str:
        """An answer of calls as rules of a grammar."""
        return self.written.call_grammar(functions, several, compiler)

    def call_parser(self, functions: Sequence[Function]) -> OutputParser:
        """What reads calls as they are written."""
        return self.written.call_parser(functions)

    def parser(
        self, start: str, functions: Sequence[Function] = (), is_structured: bool = False
    ) -> OutputParser:
        """What takes an answer apart: by the response template if it may have calls in it."""
        if not functions:
            return super().parser(start, (), is_structured)
        return ResponseTemplateParser(self.template, start, functions, self.ends)


class ResponseTemplateParser:
    """Takes one answer apart by a response template.

    White space around calls and thoughts is dropped, as chat templates write their own. Calls go
    out bit by bit where the template leaves them as text, and whole where it decodes them itself.
    """

    def __init__(
        self,
        template: Mapping[str, Any],
        start: str,
        functions: Sequence[Function],
        ends: Sequence[str] = (),
    ) -> None:
        """Start reading where ``start``, the end of the prompt, leaves off.

        Args:
            template: The response template.
            start: The end of the prompt.
            functions: The tools that may be called.
            ends: Texts that the answer may have ended with, and that aren't fed.
        """
        self._template = dict(template)
        self._functions: list[Any] = [dict(each) for each in functions]
        self._parser = self._parser_after(start)
        calls = template["fields"].get("tool_calls", {})
        self._is_decoded = calls.get("content", "text") != "text"
        self._opening = _opening(calls)
        self._end = next((each for each in ends if each in _closing(calls)), "")
        self._region = ""  # the text of the call that is open, where the template decodes it
        self._is_open = False  # whether one is
        self._calls = JsonCallParser(self._opening)
        self._space = WhiteSpace()

    def feed(self, text: str) -> list[OutputPart]:
        """Add text; returns what is certain now."""
        # Letter by letter, so that of a text that can't be read always the same is lost.
        return joined(part for character in text for part in self._read(character))

    def finish(self) -> list[OutputPart]:
        """End the answer; returns what was held back."""
        try:
            # A call may be closed by what ends the answer, too.
            events = self._parser.feed(self._end) if self._is_open else []
            _, more = self._parser.finalize()
        except (ValueError, KeyError):
            return joined(self._space.dropped_from(self._unread()))
        return joined([*self._parts([*events, *more]), *self._space.finish()])

    def _read(self, character: str) -> Iterator[OutputPart]:
        try:
            events = self._parser.feed(character)
        except (ValueError, KeyError):  # the library's parser can't read a call
            self._parser = self._parser_after("")
            return self._space.dropped_from(self._unread())
        return self._parts(events)

    def _parts(self, events: Sequence[Mapping[str, Any]]) -> Iterator[OutputPart]:
        return self._space.dropped_from(part for event in events for part in self._event(event))

    def _event(self, event: Mapping[str, Any]) -> Iterable[OutputPart]:
        kind, name = event["type"], event["field"]
        if name == "tool_calls":
            return self._decoded_call(event) if self._is_decoded else self._written_call(event)
        if kind == "region_close" and name in THOUGHTS:
            self._space.forget()
        if kind != "region_chunk":
            return ()
        return [OutputPart("thought" if name in THOUGHTS else "text", event["text"])]

    def _written_call(self, event: Mapping[str, Any]) -> Iterable[OutputPart]:
        """Calls that the template leaves as text."""
        if event["type"] == "region_open":
            self._calls = JsonCallParser(self._opening)
        elif event["type"] == "region_chunk":
            return self._calls.feed(event["text"])
        else:
            return self._calls.finish()
        return ()

    def _decoded_call(self, event: Mapping[str, Any]) -> Iterable[OutputPart]:
        """Calls that the template decodes itself once they are whole."""
        self._is_open = event["type"] != "region_close"
        if event["type"] == "region_open":
            self._region = ""
        elif event["type"] == "region_chunk":
            self._region += event["text"]
        else:
            return tuple(whole_calls(event["value"])) or self._unread()
        return ()

    def _unread(self) -> list[OutputPart]:
        """What stands where a call was expected, word for word."""
        if self._opening is None:
            return [OutputPart("text", self._region)]
        return broken_call(self._opening + self._region)

    def _parser_after(self, start: str) -> ResponseParser:
        return ResponseParser(self._template, prefix=start, tools=self._functions)


def _unescaped(pattern: str) -> str:
    """A pattern with markers in it as they are written."""
    return re.sub(r"\\+(?=\W)", "", pattern)


def _closing(field: Mapping[str, Any]) -> str:
    """What calls end with, markers as they are written."""
    return _unescaped(str(field.get("close_pattern", field.get("close", ""))))


def _opening(field: Mapping[str, Any]) -> str | None:
    """What calls without a name are to begin with; None if the template has no mark for calls."""
    if field.get("open_pattern", "").startswith(r"\A"):
        return None
    opening = field.get("open")
    return opening if isinstance(opening, str) else "tool call: "
