"""Calls with JSON for arguments between fixed strings, as most families write them.

This module knows JSON and grammars: nothing of which family has which strings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from langchain_amulet.chat_formats.calls import Function, FunctionCall, arguments_schema
from langchain_amulet.chat_formats.json_call_parser import NAMED, JsonCallParser, named_call
from langchain_amulet.chat_formats.markup import (
    BRACKETS,
    ID,
    NUMBER,
    TAG,
    filled,
    shared_end,
    spelled,
    tags,
)
from langchain_amulet.chat_formats.output_parser import OutputParser
from langchain_amulet.chat_formats.probe import CALL_IDS, NAMES, TemplateSample
from langchain_amulet.chat_formats.regions import Marked
from langchain_amulet.chat_formats.shaped_calls import (
    ShapedCallFormat,
    separator,
    sequence_rules,
)
from langchain_amulet.chat_formats.shapes import PROBE
from langchain_amulet.grammar import GrammarCompiler, json_rule

ARGUMENTS = re.compile(r'\{\s*"' + PROBE + r'":\s*"' + PROBE + r'"\s*\}')
"""The made-up arguments as JSON."""

ID_FIELD = re.compile(rf',\s*"(?:id|call_id|tool_call_id)":\s*"(?:{"|".join(CALL_IDS)})"')
"""A call's id behind its arguments, which the model needn't invent: answers get ids of their own.
"""

MADE_UP_ID = re.compile("|".join(CALL_IDS))

NUMBER_FIELD = re.compile(r'("(?:id|index|call_id|tool_call_id)":\s*"?)[0-9]+')

LEAD = re.compile(r'(.*?)\s*(?:\[\s*)?(?:\{\s*(?:".*)?)?', re.DOTALL)
"""What precedes a call's name: in the first group the markers, then JSON if there is any."""


@dataclass(frozen=True)
class JsonCallShape:
    """How calls are written: ``before name middle arguments (between name …)* after``.

    Each is markup, see `markup`.

    Attributes:
        before: What comes before the first call's name.
        middle: What comes between a name and its arguments, which are JSON.
        after: What comes after the last call's arguments.
        between: What comes between arguments and the next call's name; None if an answer can
            hold one call only.
    """

    before: str
    middle: str
    after: str
    between: str | None = None

    @classmethod
    def learn(cls, sample: TemplateSample) -> Self | None:
        """How a chat template writes calls; None if it doesn't, or not with JSON for arguments."""
        first = _split(sample.one_call, NAMES[0])
        if first is None:
            return None
        before, middle, after = first
        rest = ARGUMENTS.search(sample.two_calls)
        second = _split(sample.two_calls[rest.end() :], NAMES[1]) if rest else None
        between = None
        if second and second[0] != after:
            between = _marked_up(ID_FIELD.sub("", second[0]))
            middle = _numbered(middle, second[1])
        after = sample.without_end(ID_FIELD.sub("", after))
        return cls(_marked_up(before), _marked_up(middle), after, between)

    def write(self, calls: Sequence[FunctionCall]) -> str:
        """An answer of calls.

        Where an answer can hold one call only, several stand below each other.
        """
        between = separator(self)
        written = [
            filled(between if number else self.before, number)
            + _in_quotes(call.name)
            + filled(self.middle, number)
            + json.dumps(call.arguments, ensure_ascii=False)
            for number, call in enumerate(calls)
        ]
        return "".join(written) + self.after

    def grammar(
        self, functions: Sequence[Function], several: bool, compiler: GrammarCompiler
    ) -> str:
        """The rules of an answer of calls, see `ChatFormat.call_grammar`."""
        names = [f"call_{index}" for index in range(len(functions))]
        rules = sequence_rules(self, names, several, compiler)
        for name, function in zip(names, functions, strict=True):
            start = spelled(_in_quotes(function["name"]) + self.middle, compiler)
            rules.append(f"{name}: {start} {json_rule(arguments_schema(function))}")
        return "\n".join(rules)

    @property
    def lead(self) -> str:
        """The markers in front of the first call, without the beginning of its JSON."""
        return lead_of(self.before)

    @property
    def first(self) -> str:
        """The sign that calls without markers begin with."""
        return self.before.lstrip()[:1]

    def endings(self, functions: Sequence[Function]) -> tuple[str, ...]:
        """What ends the calls, where others could follow."""
        return (self.after,)

    @property
    def is_keyed(self) -> bool:
        """Whether a call is an object whose only key is the tool's name."""
        return self.middle.strip().startswith('":') and self.before.rstrip().endswith('{"')

    def named(self, opening: str) -> re.Pattern[str]:
        """What stands behind ``opening`` in front of arguments, see `named_call`."""
        if self.before.rstrip().endswith('"'):
            return NAMED
        before = self.before.removeprefix(opening)
        repeated = before if self.between is None else shared_end(before, self.between)
        return named_call(repeated, self.middle, self.tags | self.separators)

    @property
    def separators(self) -> frozenset[str]:
        """What else may stand behind a call's JSON, such as the end of a code block."""
        between = self.between or ""
        behind = f"{self.after} {between[: len(between) - len(lead_of(between))]}"
        words = (TAG.sub(" ", text.lstrip(BRACKETS)) for text in behind.split())
        return frozenset(word for text in words for word in text.split() if '"' not in word)

    @property
    def tags(self) -> frozenset[str]:
        """The markers anywhere in calls."""
        return tags(self.before, self.middle, self.after, self.between or "")


@dataclass(frozen=True)
class JsonCallFormat(ShapedCallFormat):
    """A family whose calls have the shape of JSON between fixed strings.

    Attributes:
        shape: How calls are written.
    """

    shape: JsonCallShape

    @property
    def call_example(self) -> str:
        """A call with words in place of its name and arguments."""
        shape = self.shape
        return f"{filled(shape.before, 0)}NAME{filled(shape.middle, 0)}{{...}}{shape.after}"

    @property
    def named(self) -> re.Pattern[str]:
        """What stands in front of a call's arguments where they are not part of its JSON."""
        region = self.region
        return self.shape.named(region.opening if isinstance(region, Marked) else "")

    def call_parser(self, functions: Sequence[Function]) -> OutputParser:
        """What reads calls between the outermost markers, or without any, and text behind them."""
        region, shape = self.region, self.shape
        opening = region.opening if isinstance(region, Marked) else None
        return JsonCallParser(
            opening,
            named=self.named,
            markers=self.tokens | shape.tags | shape.separators,
            # Where nothing marks calls, an object with a name may be an answer about somebody.
            names=None if opening else [function["name"] for function in functions],
            is_keyed=shape.is_keyed,
        )

    @classmethod
    def learn(cls, sample: TemplateSample) -> Self | None:
        """The shape that a chat template gives to calls, if they have this family's mark."""
        shape = JsonCallShape.learn(sample)
        if shape is None or not cls.is_shaped(shape):
            return None
        written = f"{shape.before}{shape.middle}{shape.between}{shape.after}"
        return cls(shape, frozenset(sample.controls_in(written)))

    @classmethod
    def is_shaped(cls, shape: JsonCallShape) -> bool:
        """Whether calls of this shape are of the family."""
        return bool(cls.mark) and cls.mark in f"{shape.before}NAME{shape.middle}{shape.after}"


def lead_of(before: str) -> str:
    """The markers in front of a call, without the beginning of its JSON."""
    found = LEAD.fullmatch(before)
    return found[1] if found else ""


def _in_quotes(text: str) -> str:
    """A text as it stands within the quotation marks of JSON."""
    return json.dumps(text, ensure_ascii=False)[1:-1]


def _split(text: str, name: str) -> tuple[str, str, str] | None:
    """What comes before a call's name, between it and its arguments, and after those."""
    before, found, rest = text.partition(name)
    arguments = ARGUMENTS.search(rest)
    if not found or arguments is None:
        return None
    return before, rest[: arguments.start()], rest[arguments.end() :]


def _marked_up(text: str) -> str:
    """A made-up call's text with places for what differs from call to call."""
    return NUMBER_FIELD.sub(rf"\g<1>{NUMBER}", MADE_UP_ID.sub(ID, text))


def _numbered(first: str, second: str) -> str:
    """What stands behind the first name, with a place for the number if it counts the calls."""
    numbered = first.replace("0", NUMBER)
    return numbered if first != second and numbered == second.replace("1", NUMBER) else first
