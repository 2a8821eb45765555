"""gpt-oss: an answer is several messages, and a channel says what each is.

::

    <|channel|>analysis<|message|>They ask for the weather.<|end|>
    <|start|>assistant to=functions.weather<|channel|>commentary json<|message|>{"city": "Rome"}
    <|call|>

    <|channel|>final<|message|>It is sunny.<|return|>

What is in the channel ``analysis`` is a thought, a message to a function is a call of it, and all
else is said. An answer begins within a message's head, which its prompt has opened.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Self

from langchain_amulet.chat_formats.base import ANYTHING, ChatFormat, OutputSpec
from langchain_amulet.chat_formats.calls import Function, FunctionCall, arguments_schema
from langchain_amulet.chat_formats.literals import is_object
from langchain_amulet.chat_formats.output_parser import (
    OutputParser,
    OutputPart,
    broken_call,
    joined,
)
from langchain_amulet.chat_formats.probe import TemplateSample
from langchain_amulet.chat_formats.regions import CallRegion, Marked, Thinking, unsettled
from langchain_amulet.grammar import GrammarCompiler, json_rule

MESSAGE, CHANNEL, END = "<|message|>", "<|channel|>", "<|end|>"
RECIPIENT = " to=functions."
HEAD = f"{CHANNEL}commentary json{MESSAGE}"
"""What stands between a call's name and its arguments."""

ENDS = (END, "<|call|>", "<|return|>")
"""What ends a message."""

NAME = re.compile(r"to=(?:functions\.)?([\w.-]+)")
LONGEST_HEAD = 200
"""More than so many characters are no message's head."""

ANALYSIS = Thinking(f"{CHANNEL}analysis{MESSAGE}", END)


@dataclass(frozen=True)
class GptOss(ChatFormat):
    """Messages in channels.

    Attributes:
        start: The token in front of each message.
    """

    name: ClassVar[str] = "gpt_oss"
    mark: ClassVar[str] = "<|channel|>analysis"
    region: ClassVar[CallRegion] = Marked(RECIPIENT)
    inner_tokens: ClassVar[frozenset[str]] = frozenset({END})
    is_headed: ClassVar[bool] = True

    start: str = "<|start|>"
    thinking: Thinking | None = field(default=ANALYSIS, kw_only=True)

    def markers(self, with_calls: bool) -> frozenset[str]:
        """All that makes up messages."""
        return frozenset({MESSAGE, CHANNEL, self.start, "<|constrain|>", *ENDS})

    def write_calls(self, calls: Sequence[FunctionCall]) -> str:
        """A message for each call."""
        written = [
            f"{RECIPIENT}{call.name}{HEAD}{json.dumps(call.arguments, ensure_ascii=False)}"
            for call in calls
        ]
        return f"<|call|>{self.start}assistant".join(written)

    def call_grammar(
        self, functions: Sequence[Function], several: bool, compiler: GrammarCompiler
    ) -> str:
        """One call: the token behind it ends the answer."""
        calls = [
            f"{compiler.spell(RECIPIENT + function['name'] + HEAD)} "
            + json_rule(arguments_schema(function))
            for function in functions
        ]
        return f"calls: {' | '.join(calls)}"

    def call_parser(self, functions: Sequence[Function]) -> OutputParser:
        """What reads messages, calls among them."""
        return ChannelParser(self.start, self.start, bool(functions))

    def parser(
        self, start: str, functions: Sequence[Function] = (), is_structured: bool = False
    ) -> OutputParser:
        """What takes an answer apart, from within the head that its prompt has opened."""
        return ChannelParser(self.start, start, bool(functions), is_structured)

    def is_thinking(self, start: str) -> bool:
        """Whether an answer begins with a thought, which it does unless its prompt says else."""
        return MESSAGE not in start.rpartition(self.start)[2]

    def grammar(self, output: OutputSpec, compiler: GrammarCompiler, is_thinking: bool) -> str:
        """The grammar of a whole answer: a thought perhaps, then a call, or what is said."""
        final = compiler.spell(f"{CHANNEL}final{MESSAGE}")
        said = ANYTHING if output.schema is None else json_rule(output.schema)
        choices = [f"{final} {said}"] if not output.must_call else []
        choices += ["calls"] if output.functions else []
        thought = compiler.spell(ANALYSIS.opening), compiler.spell(f"{END}{self.start}assistant")
        lines = [
            f"start: ({thought[0]} {ANYTHING} {thought[1]})? body",
            f"body: {' | '.join(choices) if is_thinking else said}",
        ]
        if output.functions:
            lines.append(self.call_grammar(output.functions, output.several, compiler))
        return "\n".join(lines)

    @classmethod
    def learn(cls, sample: TemplateSample) -> Self | None:
        """The family if calls are messages in a channel, and the token in front of each."""
        if not {CHANNEL, MESSAGE} <= set(sample.controls_in(sample.one_call)):
            return None
        prompt = sample.template.generation_prompt
        starts = sample.controls_in(prompt)
        return cls(max(starts, key=prompt.rfind)) if starts else cls()


class ChannelParser:
    """Takes one answer apart: `feed` it all of the text, then `finish` it."""

    def __init__(
        self, start_token: str, start: str, has_functions: bool, is_structured: bool = False
    ) -> None:
        """Start an answer.

        Args:
            start_token: The token in front of each message.
            start: What the prompt ends with; from its last ``start_token`` on it is the head of the
                message that the answer begins in.
            has_functions: Whether there may be calls. Without any a message to a function is text.
            is_structured: Whether what is said is held to a schema: then it is the last message,
                and what looks like its end is part of it.
        """
        self._is_structured = is_structured
        self._ends = (*ENDS, start_token)
        self._has_functions = has_functions
        self._held = start.rpartition(start_token)[2]
        self._given = len(self._held)  # how much of it the prompt has said, not the answer
        self._kind: str | None = None  # of the message that is being read; None in its head
        self._is_first = True  # no message has begun yet, so that there may be none at all
        self._arguments = ""

    def feed(self, text: str) -> list[OutputPart]:
        """Add text; returns what is certain now."""
        self._held += text
        return joined(self._parts(is_over=False))

    def finish(self) -> list[OutputPart]:
        """End the answer; returns what was held back."""
        parts = [*self._parts(is_over=True)]
        return joined([*parts, *(self._cut_off() if self._kind is None else self._end())])

    def _cut_off(self) -> Sequence[OutputPart]:
        """What an answer that ends in a message's head has there, beside what the prompt said."""
        rest = self._held[self._given :].removeprefix("assistant")
        if self._has_functions and NAME.search(rest):
            return broken_call(rest)
        is_said = self._is_first and rest.strip() and CHANNEL not in rest
        return [OutputPart("text", rest)] if is_said else []

    def _parts(self, is_over: bool) -> Iterator[OutputPart]:
        while True:
            if self._kind is None:
                head, found, rest = self._held.partition(MESSAGE)
                if found:
                    self._held, self._given = rest, 0
                    yield from self._begin(head)
                elif len(head) - self._given > LONGEST_HEAD:
                    self._held, self._given, self._kind = self._held[self._given :], 0, "text"
                else:
                    return
            size, end = self._next_end(is_over)
            yield from self._pass_on(self._held[:size])
            self._held = self._held[size + len(end) :]
            if not end:
                return
            yield from self._end()

    def _begin(self, head: str) -> Iterator[OutputPart]:
        self._is_first = False
        called = NAME.search(head)
        if called and self._has_functions:
            self._kind, self._arguments = "arguments", ""
            yield OutputPart("call", called[1])
        else:
            self._kind = "thought" if "analysis" in head else "text"

    def _next_end(self, is_over: bool) -> tuple[int, str]:
        if self._is_structured and self._kind == "text":
            return len(self._held), ""
        found = [(at, end) for end in self._ends if (at := self._held.find(end)) >= 0]
        kept = 0 if is_over else unsettled(self._held, self._ends)
        return min(found, default=(len(self._held) - kept, ""))

    def _pass_on(self, text: str) -> Iterator[OutputPart]:
        if self._kind == "arguments":
            self._arguments += text
            yield OutputPart("arguments", text)
        elif self._kind == "thought":
            yield OutputPart("thought", text)
        else:
            yield OutputPart("text", text)

    def _end(self) -> Iterator[OutputPart]:
        if self._kind == "arguments" and not is_object(self._arguments):
            yield OutputPart("broken")
        self._kind = None
