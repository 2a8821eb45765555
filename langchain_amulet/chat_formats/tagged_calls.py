"""Calls with a tag for each argument, in which texts stand as they are and all else as JSON.

This module knows tags and grammars: nothing of which family has which tags.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from langchain_amulet.chat_formats.argument_rules import argument_rules
from langchain_amulet.chat_formats.calls import (
    Function,
    FunctionCall,
    Parameter,
    check_apart,
    parameters_of,
)
from langchain_amulet.chat_formats.markup import (
    filled,
    shared_end,
    tags,
)
from langchain_amulet.chat_formats.output_parser import OutputParser
from langchain_amulet.chat_formats.probe import NAMES, TemplateSample
from langchain_amulet.chat_formats.raw_texts import is_raw_text, raw_endings, raw_text_rules
from langchain_amulet.chat_formats.regions import Marked
from langchain_amulet.chat_formats.shaped_calls import (
    ShapedCallFormat,
    separator,
    sequence_rules,
)
from langchain_amulet.chat_formats.shapes import PROBE
from langchain_amulet.chat_formats.tagged_call_parser import TaggedCallParser
from langchain_amulet.chat_formats.turns import shared_start
from langchain_amulet.grammar import GrammarCompiler, json_rule

KEYS = (f"{PROBE}_a", f"{PROBE}_b")
"""The names of made-up arguments."""

VALUES = (f"{PROBE}_v", f"{PROBE}_w")
"""What they are, where they are texts."""

NUMBER_VALUE = 70707
"""What one is that is no text."""


@dataclass(frozen=True)
class TaggedShape:
    """How calls are written: ``before name middle (key name value … end)* after``.

    Attributes:
        before: What comes before the first call's name.
        middle: What comes between a tool's name and its first argument.
        key: What comes before an argument's name.
        value: What comes between an argument's name and its value.
        end: What comes after a value.
        after: What comes after the last call's arguments.
        between: What comes between arguments and the next call's name; None if an answer can
            hold one call only.
        text: What comes in place of ``value`` where the value is a text; None for the same.
    """

    before: str
    middle: str
    key: str
    value: str
    end: str
    after: str
    between: str | None = None
    text: str | None = None

    @classmethod
    def learn(cls, sample: TemplateSample) -> Self | None:
        """How a chat template writes calls; None if it doesn't, or not with tags."""
        name = NAMES[0]
        both = _cut(
            sample.answer([FunctionCall(name, dict(zip(KEYS, VALUES, strict=True)))]),
            (name, KEYS[0], VALUES[0], KEYS[1], VALUES[1]),
        )
        number = _cut(
            sample.answer([FunctionCall(name, {KEYS[0]: NUMBER_VALUE})]),
            (name, KEYS[0], str(NUMBER_VALUE)),
        )
        if both is None or number is None:
            return None
        before, middle, text, around, again, rest = both
        key = around[max(0, around.rfind("<")) :]
        end, value = around[: len(around) - len(key)], number[2]
        is_tagged = "<" in key and end and text == again and ">" in value
        if not (is_tagged and middle.endswith(key) and rest.startswith(end)):
            return None
        return cls(
            before,
            middle.removesuffix(key),
            key,
            value,
            end,
            sample.without_end(rest.removeprefix(end)),
            cls._between(sample, end),
            None if text == value else text,
        )

    @staticmethod
    def _between(sample: TemplateSample, end: str) -> str | None:
        calls = [FunctionCall(name, {KEYS[0]: VALUES[0]}) for name in NAMES]
        parts = _cut(sample.answer(calls), (NAMES[0], KEYS[0], VALUES[0], NAMES[1]))
        return parts[3].removeprefix(end) if parts and parts[3].startswith(end) else None

    def write(self, calls: Sequence[FunctionCall]) -> str:
        """An answer of calls, below each other where an answer can hold one only."""
        between = separator(self)
        written = (
            filled(between if number else self.before, number)
            + f"{call.name}{self.middle}{''.join(self._arguments(call.arguments))}"
            for number, call in enumerate(calls)
        )
        return "".join(written) + self.after

    def _arguments(self, arguments: Mapping[str, Any]) -> Iterator[str]:
        for name, value in arguments.items():
            if isinstance(value, str):
                yield f"{self.key}{name}{self.text or self.value}{value}{self.end}"
            else:
                written = json.dumps(value, ensure_ascii=False)
                yield f"{self.key}{name}{self.value}{written}{self.end}"

    def grammar(
        self, functions: Sequence[Function], several: bool, compiler: GrammarCompiler
    ) -> str:
        """The rules of an answer of calls, see `ChatFormat.call_grammar`.

        Raises:
            SchemaError: A tool's arguments can't be kept to one by one.
        """
        names = [f"call_{index}" for index in range(len(functions))]
        rules = sequence_rules(self, names, several, compiler)
        for name, function in zip(names, functions, strict=True):
            check_apart(function)
            start = compiler.spell(f"{function['name']}{self.middle}")
            arguments, parameters = f"{name}_arguments", parameters_of(function)
            rules.append(f"{name}: {start} {arguments}")
            rules += argument_rules(arguments, parameters)
            for index, parameter in enumerate(parameters):
                rules += self._argument(f"{arguments}_{index}", parameter, compiler)
        return "\n".join(rules)

    def _argument(self, name: str, parameter: Parameter, compiler: GrammarCompiler) -> list[str]:
        """The rules of an argument."""
        if not is_raw_text(parameter):
            start = compiler.spell(f"{self.key}{parameter.name}{self.value}")
            value = json_rule(parameter.schema)
            return [f"{name}: {start} {value} {compiler.spell(self.end)}"]
        is_told = self.text is not None
        value = self.text if self.text is not None else self.value
        start = compiler.spell(f"{self.key}{parameter.name}{value}")
        rules = raw_text_rules(f"{name}_value", parameter, self.end, compiler, only_texts=is_told)
        return [f"{name}: {start} {name}_value", *rules]

    def endings(self, functions: Sequence[Function]) -> tuple[str, ...]:
        """What may finish a text that is an argument, from anywhere in it, and what ends all."""
        texts = [
            ending + self.end
            for function in functions
            for parameter in parameters_of(function)
            if is_raw_text(parameter)
            for ending in raw_endings(parameter)
        ]
        return tuple(dict.fromkeys((*texts, self.after)))

    @property
    def lead(self) -> str:
        """The markers in front of the first call's name."""
        return self.before.strip()

    @property
    def first(self) -> str:
        """Nothing: calls without markers begin with a tool's name."""
        return ""

    @property
    def tags(self) -> frozenset[str]:
        """The markers anywhere in calls."""
        parts = (self.before, self.middle, self.key, self.value, self.text or "", self.end)
        return tags(*parts, self.after, self.between or "", f"{self.key}name{self.value}")


@dataclass(frozen=True)
class TaggedCallFormat(ShapedCallFormat):
    """A family whose calls have a tag for each argument.

    Attributes:
        shape: How calls are written.
    """

    shape: TaggedShape

    def call_parser(self, functions: Sequence[Function]) -> OutputParser:
        """What reads the calls between the outermost markers."""
        region, shape = self.region, self.shape
        opening = region.opening if isinstance(region, Marked) else ""
        closing = region.closing if isinstance(region, Marked) else ""
        after = shape.after if shape.between is None else _both(shape.after, shape.between)
        before = shape.before.removeprefix(opening)
        return TaggedCallParser(
            opening,
            before=before if shape.between is None else shared_end(before, shape.between),
            middle=shape.middle,
            key=shape.key,
            values=(shape.value, shape.text),
            end=shape.end,
            after=after.partition(closing)[0] if closing else after,
            functions=functions,
        )

    @classmethod
    def learn(cls, sample: TemplateSample) -> Self | None:
        """The shape that a chat template gives to calls, if they have this family's mark."""
        shape = TaggedShape.learn(sample)
        if shape is None or cls.mark not in f"{shape.before}NAME{shape.middle}{shape.key}":
            return None
        written = "".join(filter(None, vars(shape).values()))
        return cls(shape, frozenset(sample.controls_in(written)))


def _both(one: str, other: str) -> str:
    """What both texts begin with, a marker that differs in its middle left out."""
    start = one[: shared_start(one, other)]
    return start[: start.rfind("<")] if start.rfind("<") > start.rfind(">") else start


def _cut(text: str, words: Sequence[str]) -> list[str] | None:
    """What comes before, between and after these words; None if they aren't there in order."""
    found = re.fullmatch("(.*?)".join(("", *map(re.escape, words), "")), text, re.DOTALL)
    return list(found.groups()) if found else None
