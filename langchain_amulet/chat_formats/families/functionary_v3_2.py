"""Functionary 3.2: an answer is several messages, each behind the name of who is to have it.

::

    all
    Let me see.>>>weather
    {"city": "Rome"}>>>clock
    {}

The mark in front of the first is the prompt's. What is for ``all`` is said, all else is a call.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from langchain_amulet.chat_formats.base import ANYTHING, ChatFormat, OutputSpec
from langchain_amulet.chat_formats.calls import Function, FunctionCall, arguments_schema
from langchain_amulet.chat_formats.literals import is_object
from langchain_amulet.chat_formats.output_parser import OutputParser, OutputPart, WhiteSpace, joined
from langchain_amulet.chat_formats.probe import NAMES, TemplateSample
from langchain_amulet.chat_formats.regions import CallRegion, Marked
from langchain_amulet.chat_formats.shapes import PROBE
from langchain_amulet.grammar import GrammarCompiler, json_rule

MARK, EVERYBODY = ">>>", "all\n"
FOR_TOOLS = r"([\w.-]+)\n(?=\s*\{)"
"""Whom a call is for. Three brackets in front of anything else are text, as Python's prompt is."""

BEGUN = r"(?:[\w.-]*|[\w.-]+\n\s*)\Z"
"""The end of a text that may still become a name with what has to stand behind it."""

MAY_BE_FIRST = re.compile(rf"\s*(?:>{{1,2}}\Z|(?:{MARK})?{BEGUN})")
MAY_BE_NEXT = re.compile(rf">{{1,2}}\Z|{MARK}{BEGUN}")


@dataclass(frozen=True)
class FunctionaryV32(ChatFormat):
    """Messages for everybody and for tools."""

    name: ClassVar[str] = "functionary_v3_2"
    mark: ClassVar[str] = f"{MARK}all"
    region: ClassVar[CallRegion] = Marked(MARK)

    def write_calls(self, calls: Sequence[FunctionCall]) -> str:
        """A message for each call."""
        return "".join(
            f"{MARK}{call.name}\n{json.dumps(call.arguments, ensure_ascii=False)}" for call in calls
        )

    def call_grammar(
        self, functions: Sequence[Function], several: bool, compiler: GrammarCompiler
    ) -> str:
        """Messages for tools as rules; the mark in front of the first is the prompt's."""
        calls = (
            f"{compiler.spell(function['name'] + chr(10))} {json_rule(arguments_schema(function))}"
            for function in functions
        )
        more = f" ({compiler.spell(MARK)} call)*" if several else ""
        return f"calls: call{more}\ncall: {' | '.join(calls)}"

    def call_parser(self, functions: Sequence[Function]) -> OutputParser:
        """What reads messages, calls among them."""
        return MessageParser(bool(functions))

    def parser(
        self, start: str, functions: Sequence[Function] = (), is_structured: bool = False
    ) -> OutputParser:
        """What takes an answer apart."""
        return MessageParser(bool(functions))

    def grammar(self, output: OutputSpec, compiler: GrammarCompiler, is_thinking: bool) -> str:
        """The grammar of a whole answer: calls, or a message for everybody."""
        said = ANYTHING if output.schema is None else json_rule(output.schema)
        choices = [] if output.must_call else [f"{compiler.spell(EVERYBODY)} {said}"]
        choices += ["calls"] if output.functions else []
        lines = [f"start: {' | '.join(choices)}"]
        if output.functions:
            lines.append(self.call_grammar(output.functions, output.several, compiler))
        return "\n".join(lines)

    @classmethod
    def learn(cls, sample: TemplateSample) -> Self | None:
        """The family, if a chat template writes a call behind the mark with which it prompts."""
        written = sample.one_call.removeprefix(MARK)
        called = re.match(rf'{NAMES[0]}\n\{{"{PROBE}": ?"{PROBE}"\}}', written)
        is_prompted = sample.template.generation_prompt.endswith(MARK)
        return cls() if called and is_prompted else None


class MessageParser:
    """Takes one answer apart: `feed` it all of the text, then `finish` it."""

    def __init__(self, has_functions: bool) -> None:
        """Start an answer behind the mark that its prompt ends with.

        Args:
            has_functions: Whether there may be calls. Without any a message for a tool is text.
        """
        name = rf"(?:{EVERYBODY}|{FOR_TOOLS})" if has_functions else f"{EVERYBODY}()"
        self._first = re.compile(rf"\s*(?:{MARK})?{name}")
        self._next = re.compile(f"{MARK}{name}")
        self._held = ""
        self._kind: str | None = None  # of the message that is being read; None in front of all
        self._arguments = ""
        self._space = WhiteSpace()

    def feed(self, text: str) -> list[OutputPart]:
        """Add text; returns what is certain now."""
        self._held += text
        return joined(self._space.dropped_from(self._parts(is_over=False)))

    def finish(self) -> list[OutputPart]:
        """End the answer; returns what was held back."""
        parts = [*self._space.dropped_from(self._parts(is_over=True))]
        return joined([*parts, *self._end(), *self._space.finish()])

    def _parts(self, is_over: bool) -> Iterator[OutputPart]:
        if self._kind is None:
            first = self._first.match(self._held)
            if first is None and not is_over and MAY_BE_FIRST.match(self._held):
                return
            yield from self._begin(first)
        while following := self._next.search(self._held):
            yield from self._pass_on(following.start())
            yield from self._end()
            yield from self._begin(self._next.match(self._held))
        begun = MAY_BE_NEXT.search(self._held)
        yield from self._pass_on(begun.start() if begun else len(self._held))
        if is_over and not (self._kind == "arguments" and is_object(self._arguments)):
            yield from self._pass_on(len(self._held))  # else it is a call that was cut off

    def _begin(self, head: re.Match[str] | None) -> Iterator[OutputPart]:
        """Enter the message that this stands in front of; an answer without any is said."""
        self._held = self._held[head.end() if head else 0 :]
        called = head[1] if head else None
        self._kind, self._arguments = "arguments" if called else "text", ""
        if called:
            yield OutputPart("call", called)

    def _pass_on(self, size: int) -> Iterator[OutputPart]:
        text, self._held = self._held[:size], self._held[size:]
        if self._kind == "arguments":
            self._arguments += text
            yield OutputPart("arguments", text)
        else:
            yield OutputPart("text", text)

    def _end(self) -> Iterator[OutputPart]:
        if self._kind == "arguments" and not is_object(self._arguments):
            yield OutputPart("broken")
