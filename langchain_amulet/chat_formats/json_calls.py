"""Calls with JSON for arguments between fixed strings, as most families write them.

This module knows JSON and grammars: nothing of which family has which strings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from langchain_amulet.chat_formats.base import (
    ChatFormat,
    Function,
    FunctionCall,
    arguments_schema,
)
from langchain_amulet.chat_formats.chat_template import PROBE
from langchain_amulet.chat_formats.probe import CALL_IDS, NAMES, TemplateSample
from langchain_amulet.grammar import GrammarCompiler, json_rule

ARGUMENTS = re.compile(r'\{\s*"' + PROBE + r'":\s*"' + PROBE + r'"\s*\}')
"""The made-up arguments as JSON."""

ID_FIELD = re.compile(
    rf',\s*"(?:id|call_id|tool_call_id)":\s*"(?:{"|".join(CALL_IDS)})"'
    rf"|\[CALL_ID\](?:{'|'.join(CALL_IDS)})"
)
"""A call's id, which the model needn't invent: answers are given ids of their own."""


@dataclass(frozen=True)
class JsonCallShape:
    """How calls are written: ``before name middle arguments (between name …)* after``.

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
        rest = sample.two_calls.partition(middle)[2] if middle else ""
        second = _split(rest, NAMES[1])
        between = ID_FIELD.sub("", ARGUMENTS.sub("", second[0], count=1)) if second else None
        return cls(before, middle, sample.without_end(ID_FIELD.sub("", after)), between)

    def write(self, calls: Sequence[FunctionCall]) -> str:
        """An answer of calls.

        Where an answer can hold one call only, several stand below each other.
        """
        written = [
            f"{_in_quotes(call.name)}{self.middle}{json.dumps(call.arguments, ensure_ascii=False)}"
            for call in calls
        ]
        between = f"{self.after}\n{self.before}" if self.between is None else self.between
        return self.before + between.join(written) + self.after

    def grammar(
        self, functions: Sequence[Function], several: bool, compiler: GrammarCompiler
    ) -> str:
        """The rules of an answer of calls, see `ChatFormat.call_grammar`."""
        names = [f"call_{index}" for index in range(len(functions))]
        more = ""
        if several and self.between is not None:
            more = f"({compiler.spell(self.between)} call)*"
        parts = (compiler.spell(self.before), "call", more, compiler.spell(self.after))
        rules = [f"calls: {' '.join(filter(None, parts))}", f"call: {' | '.join(names)}"]
        for name, function in zip(names, functions, strict=True):
            start = compiler.spell(_in_quotes(function["name"]) + self.middle)
            rules.append(f"{name}: {start} {json_rule(arguments_schema(function))}")
        return "\n".join(rules)


@dataclass(frozen=True)
class JsonCallFormat(ChatFormat):
    """A family whose calls have the shape of JSON between fixed strings.

    Attributes:
        shape: How calls are written.
    """

    shape: JsonCallShape

    @property
    def call_example(self) -> str:
        """A call with words in place of its name and arguments."""
        return f"{self.shape.before}NAME{self.shape.middle}{{...}}{self.shape.after}"

    def write_calls(self, calls: Sequence[FunctionCall]) -> str:
        """An answer of these calls."""
        return self.shape.write(calls)

    def call_grammar(
        self, functions: Sequence[Function], several: bool, compiler: GrammarCompiler
    ) -> str:
        """An answer of calls as rules of a grammar."""
        return self.shape.grammar(functions, several, compiler)


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
