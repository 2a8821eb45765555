"""Calls as Python writes them: names with arguments in parentheses, one or a list of them.

This module knows Python's way of writing and grammars: nothing of which family has which markers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
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
from langchain_amulet.chat_formats.markup import tags
from langchain_amulet.chat_formats.output_parser import OutputParser
from langchain_amulet.chat_formats.probe import NAMES, TemplateSample
from langchain_amulet.chat_formats.python_call_parser import PythonCallParser
from langchain_amulet.chat_formats.regions import Marked
from langchain_amulet.chat_formats.shaped_calls import (
    ShapedCallFormat,
    separator,
    sequence_rules,
)
from langchain_amulet.chat_formats.shapes import PROBE
from langchain_amulet.grammar import GrammarCompiler, json_rule

CALL = rf"""{{name}}\({PROBE}=(["']?){PROBE}\1\)"""
"""A made-up call, as a pattern."""

SPELLED = {"true": "True", "false": "False", "null": "None"}
"""What Python calls otherwise than JSON."""


@dataclass(frozen=True)
class PythonShape:
    """How calls are written: ``before name(argument=value, …) (between name(…))* after``.

    Attributes:
        before: What comes before the first call.
        after: What comes after the last one.
        between: What comes between two; None if an answer can hold one only.
    """

    before: str
    after: str
    between: str | None = None

    @classmethod
    def learn(cls, sample: TemplateSample) -> Self | None:
        """How a chat template writes calls; None if it doesn't, or not as Python."""
        first, second = (re.compile(CALL.replace("{name}", name)) for name in NAMES)
        one = first.search(sample.one_call)
        if one is None:
            return None
        before, after = sample.one_call[: one.start()], sample.one_call[one.end() :]
        two = first.search(sample.two_calls), second.search(sample.two_calls)
        between = sample.two_calls[two[0].end() : two[1].start()] if two[0] and two[1] else None
        return cls(before, sample.without_end(after), between)

    def write(self, calls: Sequence[FunctionCall]) -> str:
        """An answer of calls, below each other where an answer can hold one only."""
        return self.before + separator(self).join(map(_written, calls)) + self.after

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
            arguments, parameters = f"{name}_arguments", parameters_of(function)
            rules.append(f'{name}: {json.dumps(function["name"] + "(")} {arguments} ")"')
            rules += argument_rules(arguments, parameters, '", "')
            rules += [
                f"{arguments}_{index}: {json.dumps(parameter.name + '=')} {_value(parameter)}"
                for index, parameter in enumerate(parameters)
            ]
        return "\n".join(rules)

    def endings(self, functions: Sequence[Function]) -> tuple[str, ...]:
        """What ends the calls, where others could follow."""
        return (self.after,)

    @property
    def lead(self) -> str:
        """The markers in front of the first call, without the beginning of a list."""
        return self.before.strip().removesuffix("[").rstrip()

    @property
    def first(self) -> str:
        """The sign that calls without markers begin with."""
        return self.before.lstrip()[:1] or "["

    @property
    def tags(self) -> frozenset[str]:
        """The markers anywhere in calls."""
        return tags(self.before, self.after, self.between or "")


@dataclass(frozen=True)
class PythonCallFormat(ShapedCallFormat):
    """A family whose calls are written as in Python.

    Attributes:
        shape: How calls are written.
    """

    shape: PythonShape

    def call_parser(self, functions: Sequence[Function]) -> OutputParser:
        """What reads the calls between the markers, or without any, and text behind them."""
        region = self.region
        return PythonCallParser(region.opening if isinstance(region, Marked) else None, functions)

    @classmethod
    def learn(cls, sample: TemplateSample) -> Self | None:
        """The shape that a chat template gives to calls, if they have this family's mark."""
        shape = PythonShape.learn(sample)
        if shape is None or not cls.is_shaped(shape):
            return None
        return cls(shape, frozenset(sample.controls_in(shape.before + shape.after)))

    @classmethod
    def is_shaped(cls, shape: PythonShape) -> bool:
        """Whether calls of this shape are of the family."""
        return bool(cls.mark) and cls.mark in shape.before


def _written(call: FunctionCall) -> str:
    arguments = (f"{name}={_literal(value)}" for name, value in call.arguments.items())
    return f"{call.name}({', '.join(arguments)})"


def _literal(value: Any) -> str:
    """A value as Python writes it, with texts as JSON does: both read those alike."""
    if isinstance(value, Mapping):
        items = (f"{_literal(str(key))}: {_literal(item)}" for key, item in value.items())
        return f"{{{', '.join(items)}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_literal, value))}]"
    written = json.dumps(value, ensure_ascii=False)
    return SPELLED.get(written, written)


def _value(parameter: Parameter) -> str:
    """The symbols of an argument: JSON, with Python's words where they are the whole value."""
    named = [word for kind, word in (("boolean", "True"), ("boolean", "False"), ("null", "None"))
             if kind in parameter.types]  # fmt: skip
    choices = parameter.schema.get("enum", [parameter.schema.get("const")])
    if named and not parameter.types <= {"boolean", "null"}:
        return json_rule(parameter.schema)
    if named and not ({"enum", "const"} & parameter.schema.keys()):
        return f"({' | '.join(map(json.dumps, named))})"
    if named:
        return f"({' | '.join(json.dumps(_literal(choice)) for choice in choices)})"
    return json_rule(parameter.schema)
