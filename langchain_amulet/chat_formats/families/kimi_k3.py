"""Kimi K3: channels for thoughts, what is said and calls, in which each argument says its type.

::

    Hm.<|close|>think<|sep|><|open|>response<|sep|>Let me see.<|close|>response<|sep|>
    <|open|>tools<|sep|><|open|>call tool="weather" index="1"<|sep|>
    <|open|>argument key="city" type="string"<|sep|>Rome<|close|>argument<|sep|>
    <|close|>call<|sep|><|close|>tools<|sep|>

It is all one line of what its makers call XTML, in which texts stand as they are and all else as
JSON. The prompt opens the thought, or what is said. A call may have all of its arguments as one
object instead, in a tag ``json``, which is how those are forced that a schema speaks of together.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar, Self

from langchain_amulet.chat_formats.argument_rules import argument_rules
from langchain_amulet.chat_formats.argumentwise_parser import ArgumentwiseParser
from langchain_amulet.chat_formats.base import ANYTHING, ChatFormat, OutputSpec
from langchain_amulet.chat_formats.calls import (
    Function,
    FunctionCall,
    Parameter,
    arguments_schema,
    is_apart,
    parameters_of,
)
from langchain_amulet.chat_formats.literals import is_object, type_of, typed
from langchain_amulet.chat_formats.output_parser import OutputParser, OutputPart, RegionParser
from langchain_amulet.chat_formats.probe import NAMES, TemplateSample
from langchain_amulet.chat_formats.raw_texts import is_raw_text, raw_endings, raw_text_rules
from langchain_amulet.chat_formats.regions import CallRegion, Marked, Thinking
from langchain_amulet.chat_formats.shapes import PROBE
from langchain_amulet.grammar import GrammarCompiler, json_rule

OPEN, CLOSE, SEP = "<|open|>", "<|close|>", "<|sep|>"
TOKENS = frozenset({OPEN, CLOSE, SEP})


def opened(tag: str, **attributes: str) -> str:
    """A tag's beginning; of texts in quotation marks only these and ampersands are escaped."""
    written = (f' {name}="{_escaped(value)}"' for name, value in attributes.items())
    return f"{OPEN}{tag}{''.join(written)}{SEP}"


def closed(tag: str) -> str:
    """A tag's end."""
    return f"{CLOSE}{tag}{SEP}"


CALLS = Marked(opened("tools"), closed("tools"))
THOUGHTS = Thinking(opened("think"), closed("think"))
SAID = frozenset({opened("response"), closed("response"), closed("message")})
TYPES = {"integer": "number"}
"""What types of JSON are called that have another name here."""

ATTRIBUTES = rf"((?:\s+\w+=\"[^\"]*\")*)\s*{re.escape(SEP)}"
ATTRIBUTE = re.compile(r"(\w+)=\"([^\"]*)\"")
HEAD = re.compile(rf"\s*{re.escape(OPEN)}call{ATTRIBUTES}")
GIVEN = re.compile(
    rf"\s*{re.escape(OPEN)}(argument|json){ATTRIBUTES}(.*?){re.escape(CLOSE)}\1{re.escape(SEP)}",
    re.DOTALL,
)
"""An argument, or all of them; the groups are the tag, its attributes and what stands in it."""

OVER = re.compile(rf"\s*{re.escape(closed('call'))}\s*")
HALF = re.compile(rf"(?:{re.escape(OPEN)}|{re.escape(CLOSE)})\w*\Z")
"""A tag in which an answer was cut off."""


@dataclass(frozen=True)
class KimiK3(ChatFormat):
    """Channels, of which that of calls has a tag for each argument."""

    name: ClassVar[str] = "kimi_k3"
    mark: ClassVar[str] = OPEN
    region: ClassVar[CallRegion] = CALLS
    inner_tokens: ClassVar[frozenset[str]] = TOKENS
    is_headed: ClassVar[bool] = True

    # The token that closes any tag closes thoughts: nothing else is closed in them.
    thinking: Thinking | None = field(default=Thinking(THOUGHTS.opening, CLOSE), kw_only=True)

    def markers(self, with_calls: bool) -> frozenset[str]:
        """All that makes up tags."""
        return TOKENS

    def write_calls(self, calls: Sequence[FunctionCall]) -> str:
        """The channel of calls."""
        written = (
            opened("call", tool=call.name, index=str(number))
            + "".join(_written(name, value) for name, value in call.arguments.items())
            + closed("call")
            for number, call in enumerate(calls, 1)
        )
        return f"{CALLS.opening}{''.join(written)}{CALLS.closing}"

    def call_grammar(
        self, functions: Sequence[Function], several: bool, compiler: GrammarCompiler
    ) -> str:
        """The channel of calls as rules."""
        names = [f"call_{index}" for index in range(len(functions))]
        opening, closing = compiler.spell(CALLS.opening), compiler.spell(CALLS.closing)
        index = "/[1-9][0-9]?/" if several else '"1"'
        rules = [f"calls: {opening} call{'+' if several else ''} {closing}"]
        rules.append(f"call: {' | '.join(names)}")
        for name, function in zip(names, functions, strict=True):
            start = f'{OPEN}call tool="{_escaped(function["name"])}" index="'
            parts = (start, f'"{SEP}', closed("call"))
            before, behind, end = map(compiler.spell, parts)
            rules.append(f"{name}: {before} {index} {behind} {name}_arguments {end}")
            rules += _arguments_rules(f"{name}_arguments", function, compiler)
        return "\n".join(rules)

    def endings(self, functions: Sequence[Function]) -> tuple[str, ...]:
        """What finishes a text from anywhere in it, and what ends what is said, and the calls."""
        texts = (
            ending + closed("argument")
            for function in functions
            for parameter in parameters_of(function)
            if is_raw_text(parameter)
            for ending in raw_endings(parameter)
        )
        ends = (closed("call") + CALLS.closing, closed("response"))
        return tuple(dict.fromkeys((*texts, *ends)))

    def call_parser(self, functions: Sequence[Function]) -> OutputParser:
        """What reads the channel of calls, one argument at a time."""
        return XtmlCallParser(CALLS.opening, functions)

    def parser(
        self, start: str, functions: Sequence[Function] = (), is_structured: bool = False
    ) -> OutputParser:
        """What takes an answer apart, from within the channel that its prompt has opened."""
        region = self.region if functions else None
        call_parser, is_thinking = partial(self.call_parser, functions), self.is_thinking(start)
        return XtmlParser(THOUGHTS, region, call_parser, is_thinking, SAID, is_structured)

    def grammar(self, output: OutputSpec, compiler: GrammarCompiler, is_thinking: bool) -> str:
        """The grammar of a whole answer: a thought perhaps, what is said, and then calls."""
        thought = compiler.spell(THOUGHTS.closing + opened("response")) if is_thinking else ""
        end = compiler.spell(closed("response"))
        if output.must_call:
            body = f"{end} calls"
        elif output.schema is None:
            body = f"{ANYTHING} {end} {'calls?' if output.functions else ''}"
        else:
            body = f"{json_rule(output.schema)} {end}"
            body += f" | {end} calls" if output.functions else ""
        lines = [f"start: {ANYTHING + ' ' + thought if thought else ''} body", f"body: {body}"]
        if output.functions:
            lines.append(self.call_grammar(output.functions, output.several, compiler))
        return "\n".join(lines)

    @classmethod
    def learn(cls, sample: TemplateSample) -> Self | None:
        """The family, if that is how a chat template writes an argument, with these tokens."""
        written = _written(PROBE, PROBE)
        is_written = f'tool="{NAMES[0]}"' in sample.one_call and written in sample.one_call
        return cls() if is_written and TOKENS.issubset(sample.controls_in(written)) else None


class XtmlParser(RegionParser):
    """Takes an answer apart at tags of several tokens; one that was cut off isn't said."""

    def finish(self) -> list[OutputPart]:
        """End the answer; returns what was held back."""
        self._held = HALF.sub("", self._held)
        return super().finish()


class XtmlCallParser(ArgumentwiseParser):
    """Reads the channel of calls. A value ends at the first tag that closes it."""

    def _next(self, is_over: bool) -> OutputPart | None:
        if self._name is None:
            head = HEAD.match(self._held)
            name = _attributes(head[1]).get("tool") if head else None
            return self._begin(name, head.end()) if head and name else None
        if over := OVER.match(self._held):
            return self._end(over.end())
        given = GIVEN.match(self._held)
        arguments = self._read(given) if given else None
        return self._pass_on(arguments, given.end()) if given and arguments is not None else None

    def _read(self, given: re.Match[str]) -> dict[str, Any] | None:
        """The arguments that a tag holds; None if it should hold all and isn't an object."""
        tag, written, text = given.groups()
        attributes = _attributes(written)
        if tag == "json":
            return json.loads(text) if is_object(text) else None
        name = attributes.get("key", "")
        is_text = attributes.get("type") == "string"
        return {name: text if is_text else typed(text, self._parameter(name), is_other=True)}


def _arguments_rules(name: str, function: Function, compiler: GrammarCompiler) -> list[str]:
    """The rules of a call's arguments."""
    if not is_apart(function):
        start, end = compiler.spell(opened("json", type="object")), compiler.spell(closed("json"))
        return [f"{name}: {start} {json_rule(arguments_schema(function))} {end}"]
    parameters = parameters_of(function)
    rules = argument_rules(name, parameters)
    for index, parameter in enumerate(parameters):
        rules += _argument_rules(f"{name}_{index}", parameter, compiler)
    return rules


def _argument_rules(name: str, parameter: Parameter, compiler: GrammarCompiler) -> list[str]:
    """The rules of one argument."""
    key, end = f'{OPEN}argument key="{_escaped(parameter.name)}" type="', closed("argument")
    if is_raw_text(parameter):
        start = compiler.spell(f'{key}string"{SEP}')
        return [
            f"{name}: {start} {name}_value",
            *raw_text_rules(f"{name}_value", parameter, end, compiler, only_texts=True),
        ]
    types = sorted({TYPES.get(each, each) for each in parameter.types})
    chosen = f"({' | '.join(json.dumps(each) for each in types)})"
    start, behind = compiler.spell(key), compiler.spell(f'"{SEP}')
    value = json_rule(parameter.schema)
    return [f"{name}: {start} {chosen} {behind} {value} {compiler.spell(end)}"]


def _written(name: str, value: Any) -> str:
    """An argument."""
    kind = type_of(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return opened("argument", key=name, type=TYPES.get(kind, kind)) + text + closed("argument")


def _attributes(written: str) -> dict[str, str]:
    return {name: html.unescape(value) for name, value in ATTRIBUTE.findall(written)}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;")
