"""Gemma 4 and FunctionGemma: objects without quotation marks, with texts between tokens.

::

    <|tool_call>call:weather{city:<|"|>Rome<|"|>,days:3}<tool_call|>
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from langchain_amulet.chat_formats.argument_rules import argument_rules
from langchain_amulet.chat_formats.base import ChatFormat
from langchain_amulet.chat_formats.calls import Function, FunctionCall, check_apart, parameters_of
from langchain_amulet.chat_formats.literals import literal, typed
from langchain_amulet.chat_formats.output_parser import OutputParser, OutputPart, broken_call
from langchain_amulet.chat_formats.probe import NAMES, TemplateSample
from langchain_amulet.chat_formats.raw_texts import is_raw_text, raw_endings, raw_text_rules
from langchain_amulet.chat_formats.regions import CallRegion, Marked
from langchain_amulet.chat_formats.shapes import PROBE
from langchain_amulet.grammar import GrammarCompiler, json_rule

CALL = "call:"
WRITTEN = re.compile(
    rf"(\S+?){CALL}{NAMES[0]}\{{{PROBE}:(?P<quote>\S+?){PROBE}(?P=quote)\}}(\S+?>)", re.DOTALL
)
"""A made-up call; the groups are the marker in front, that of texts, and the one behind."""


@dataclass(frozen=True)
class Gemma(ChatFormat):
    """An object behind a name, for each call.

    Attributes:
        opening: The marker in front of a call.
        closing: The one behind it.
        quote: The one on either side of a text.
    """

    name: ClassVar[str] = "gemma"
    mark: ClassVar[str] = "<|tool_call>"

    opening: str = "<|tool_call>"
    closing: str = "<tool_call|>"
    quote: str = '<|"|>'

    @property
    def region(self) -> CallRegion:
        """The markers of a call."""
        return Marked(self.opening, self.closing)

    def markers(self, with_calls: bool) -> frozenset[str]:
        """The texts by which an answer is taken apart, those around texts included."""
        return super().markers(with_calls) | (frozenset({self.quote}) if with_calls else set())

    def write_calls(self, calls: Sequence[FunctionCall]) -> str:
        """The calls one behind the other."""
        written = (f"{CALL}{call.name}{self._written(call.arguments)}" for call in calls)
        return "".join(f"{self.opening}{each}{self.closing}" for each in written)

    def _written(self, value: Any) -> str:
        if isinstance(value, Mapping):
            items = (f"{key}:{self._written(item)}" for key, item in value.items())
            return f"{{{','.join(items)}}}"
        if isinstance(value, (list, tuple)):
            return f"[{','.join(map(self._written, value))}]"
        return f"{self.quote}{value}{self.quote}" if isinstance(value, str) else json.dumps(value)

    def call_grammar(
        self, functions: Sequence[Function], several: bool, compiler: GrammarCompiler
    ) -> str:
        """The calls as rules; what is within a list or an object is JSON, which is read as well."""
        names = [f"call_{index}" for index in range(len(functions))]
        opening, closing = compiler.spell(self.opening), compiler.spell(self.closing)
        rules = [f"calls: call{'+' if several else ''}"]
        rules.append(f"call: {opening} ({' | '.join(names)}) {closing}")
        for name, function in zip(names, functions, strict=True):
            check_apart(function)
            arguments, parameters = f"{name}_arguments", parameters_of(function)
            start = compiler.spell(f"{CALL}{function['name']}{{")
            rules.append(f'{name}: {start} {arguments} "}}"')
            rules += argument_rules(arguments, parameters, '","')
            for index, parameter in enumerate(parameters):
                each, key = f"{arguments}_{index}", compiler.spell(f"{parameter.name}:")
                if is_raw_text(parameter):
                    rules.append(f"{each}: {key} {compiler.spell(self.quote)} {each}_value")
                    rules += raw_text_rules(f"{each}_value", parameter, self.quote, compiler)
                else:
                    rules.append(f"{each}: {key} {json_rule(parameter.schema)}")
        return "\n".join(rules)

    def endings(self, functions: Sequence[Function]) -> tuple[str, ...]:
        """What finishes a text from anywhere in it."""
        texts = (
            ending + self.quote
            for function in functions
            for parameter in parameters_of(function)
            if is_raw_text(parameter)
            for ending in raw_endings(parameter)
        )
        return tuple(dict.fromkeys(texts))

    def call_parser(self, functions: Sequence[Function]) -> OutputParser:
        """What reads a call once it is whole."""
        return GemmaCallParser(self.opening, self.quote, functions)

    @classmethod
    def learn(cls, sample: TemplateSample) -> Self | None:
        """The family, with the markers that a chat template has."""
        found = WRITTEN.match(sample.one_call)
        return cls(found[1], found[3], found["quote"]) if found else None


class GemmaCallParser:
    """Reads the text of one call: `feed` it, then `finish` it."""

    def __init__(self, opening: str, quote: str, functions: Sequence[Function]) -> None:
        """Start behind ``opening``; ``quote`` stands on either side of texts."""
        self._opening, self._quote = opening, quote
        self._parameters = {
            function["name"]: {each.name: each for each in parameters_of(function)}
            for function in functions
        }
        self._text = ""

    def feed(self, text: str) -> list[OutputPart]:
        """Add text."""
        self._text += text
        return []

    def finish(self) -> list[OutputPart]:
        """End the text; returns the call."""
        head, brace, rest = self._text.partition("{")
        name = head.strip().removeprefix(CALL).strip()
        arguments = _ObjectReader(brace + rest.rstrip(), self._quote).whole() if name else None
        if not isinstance(arguments, dict):
            return broken_call(self._opening + self._text)
        known = self._parameters.get(name, {})
        read = {
            key: typed(value, known.get(key)) if isinstance(value, str) else value
            for key, value in arguments.items()
        }
        written = json.dumps(read, ensure_ascii=False)
        return [OutputPart("call", name), OutputPart("arguments", written)]


class _ObjectReader:
    """Reads a value from the start of a text on."""

    def __init__(self, text: str, quote: str) -> None:
        self._text, self._quote = text, quote

    def whole(self) -> Any:
        """The value that the whole text is; None if it is none."""
        try:
            value = self._value()
        except (ValueError, RecursionError):
            return None
        return None if self._text.strip() else value

    def _value(self) -> Any:
        self._text = self._text.lstrip()
        if self._text.startswith(self._quote):
            value, _, self._text = self._text.removeprefix(self._quote).partition(self._quote)
            return value
        if self._text.startswith(("{", "[")):
            return self._nested()
        if self._text.startswith('"'):
            value, end = json.JSONDecoder().raw_decode(self._text)
            self._text = self._text[end:]
            return value
        word = re.match(r"[^,{}\[\]]*", self._text)
        self._text = self._text[word.end() :] if word else ""
        return literal(word[0]) if word else None

    def _nested(self) -> Any:
        """A list, or an object, whose keys are words or texts."""
        is_object, self._text = self._text[0] == "{", self._text[1:]
        closing = "}" if is_object else "]"
        items: list[Any] = []
        while self._rest() and not self._text.startswith(closing):
            items.append((self._key(), self._value()) if is_object else self._value())
        if not self._text:
            raise ValueError("a bracket is missing")
        self._text = self._text[1:]
        return dict(items) if is_object else items

    def _rest(self) -> str:
        """What is left behind separators."""
        self._text = self._text.lstrip(" \t\r\n,")
        return self._text

    def _key(self) -> str:
        if self._text.startswith((self._quote, '"')):
            key = str(self._value())
            self._text = self._text.lstrip().removeprefix(":")
            return key
        key, colon, self._text = self._text.partition(":")
        if not colon:
            raise ValueError("a colon is missing")
        return key.strip()
