"""MiniMax M3: a tag for each argument, and tags in it for what a value holds, each behind a token.

::

    ]<]minimax[>[<tool_call>
    ]<]minimax[>[<invoke name="weather">]<]minimax[>[<city>Rome]<]minimax[>[</city>
    ]<]minimax[>[<days>]<]minimax[>[<item>2]<]minimax[>[</item>]<]minimax[>[</days>
    ]<]minimax[>[</invoke>
    ]<]minimax[>[</tool_call>

A call is all one line. The items of a list are called ``item``; what is null is left out. Thoughts
are closed even where nothing was thought.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from langchain_amulet.chat_formats.argument_rules import argument_rules
from langchain_amulet.chat_formats.argumentwise_parser import ArgumentwiseParser
from langchain_amulet.chat_formats.base import ChatFormat
from langchain_amulet.chat_formats.calls import (
    Function,
    FunctionCall,
    Parameter,
    check_apart,
    inner_of,
    item_of,
    member_of,
    narrowed,
    parameters_of,
)
from langchain_amulet.chat_formats.literals import typed
from langchain_amulet.chat_formats.output_parser import OutputParser, OutputPart
from langchain_amulet.chat_formats.probe import NAMES, TemplateSample
from langchain_amulet.chat_formats.raw_texts import is_raw_text, raw_endings, raw_text_rules
from langchain_amulet.chat_formats.regions import CallRegion, Marked
from langchain_amulet.chat_formats.shapes import PROBE
from langchain_amulet.grammar import GrammarCompiler, json_rule

CALLED = re.compile(
    rf'(?P<mark>\S+?)<tool_call>\s*(?P=mark)<invoke name="{NAMES[0]}">(?P=mark)<{PROBE}>{PROBE}'
    rf"(?P=mark)</{PROBE}>(?P=mark)</invoke>\s*(?P=mark)</tool_call>"
)
"""A made-up call."""

ITEM = "item"
DEEPEST = 64
"""Tags that stand in more tags than these aren't read."""

DEEPEST_FORCED = 2
"""Within so many, lists and objects are forced as JSON: a schema may contain itself."""


@dataclass(frozen=True)
class MiniMaxM3(ChatFormat):
    """Tags within tags.

    Attributes:
        tag_mark: What stands in front of each tag, and of no text.
    """

    name: ClassVar[str] = "minimax_m3"
    mark: ClassVar[str] = "]<]minimax[>["

    tag_mark: str = mark

    @property
    def region(self) -> CallRegion:
        """From the first tag to the last."""
        return Marked(self.tag_mark, f"{self.tag_mark}</tool_call>")

    def write_calls(self, calls: Sequence[FunctionCall]) -> str:
        """The calls below each other, in one pair of tags."""
        written = (
            f'{self.tag_mark}<invoke name="{call.name}">{self._written(call.arguments)}'
            f"{self.tag_mark}</invoke>\n"
            for call in calls
        )
        return f"{self.tag_mark}<tool_call>\n{''.join(written)}{self.tag_mark}</tool_call>"

    def _written(self, value: Any) -> str:
        if isinstance(value, Mapping):
            items = value.items()
            return "".join(self._tag(str(name), each) for name, each in items if each is not None)
        if isinstance(value, (list, tuple)):
            return "".join(self._tag(ITEM, each) for each in value)
        return value if isinstance(value, str) else json.dumps(value)

    def _tag(self, name: str, value: Any) -> str:
        return f"{self.tag_mark}<{name}>{self._written(value)}{self.tag_mark}</{name}>"

    def call_grammar(
        self, functions: Sequence[Function], several: bool, compiler: GrammarCompiler
    ) -> str:
        """The calls as rules."""
        names = [f"call_{index}" for index in range(len(functions))]
        opening, closing, end = (
            compiler.spell(self.tag_mark + tag)
            for tag in ("<tool_call>\n", "</tool_call>", "</invoke>\n")
        )
        rules = [f"calls: {opening} call{'+' if several else ''} {closing}"]
        rules.append(f"call: {' | '.join(names)}")
        for name, function in zip(names, functions, strict=True):
            check_apart(function)
            arguments, parameters = f"{name}_arguments", parameters_of(function)
            start = compiler.spell(f'{self.tag_mark}<invoke name="{function["name"]}">')
            rules.append(f"{name}: {start} {arguments} {end}")
            rules += argument_rules(arguments, parameters)
            for index, parameter in enumerate(parameters):
                rules += self._argument(f"{arguments}_{index}", parameter, compiler)
        return "\n".join(rules)

    def _argument(
        self, name: str, parameter: Parameter, compiler: GrammarCompiler, depth: int = 0
    ) -> list[str]:
        """The rules of an argument, or of what stands in one."""
        start = compiler.spell(f"{self.tag_mark}<{parameter.name}>")
        end = f"{self.tag_mark}</{parameter.name}>"
        if is_raw_text(parameter):
            rules = raw_text_rules(f"{name}_value", parameter, end, compiler)
            return [f"{name}: {start} {name}_value", *rules]
        inner = inner_of(parameter, ITEM) if depth < DEEPEST_FORCED else ()
        if not inner:  # JSON is read as well
            return [f"{name}: {start} {json_rule(parameter.schema)} {compiler.spell(end)}"]
        value = f"{name}_value"
        rules = _rules_within(value, parameter, inner)
        for index, each in enumerate(inner):
            rules += self._argument(f"{value}_{index}", each, compiler, depth + 1)
        return [f"{name}: {start} {value} {compiler.spell(end)}", *rules]

    def endings(self, functions: Sequence[Function]) -> tuple[str, ...]:
        """What finishes a text from anywhere in it, or a list, and what ends the calls."""
        tags = (
            f"{ending}{self.tag_mark}</{parameter.name}>"
            for function in functions
            for parameter in _with_inner(parameters_of(function))
            for ending in (raw_endings(parameter) if is_raw_text(parameter) else ("",))
        )
        after = f"{self.tag_mark}</invoke>\n{self.tag_mark}</tool_call>"
        return tuple(dict.fromkeys((*tags, after)))

    def call_parser(self, functions: Sequence[Function]) -> OutputParser:
        """What reads the calls, one argument at a time."""
        return NestedTagParser(self.tag_mark, functions)

    @classmethod
    def learn(cls, sample: TemplateSample) -> Self | None:
        """The family, with what a chat template puts in front of tags."""
        found = CALLED.search(sample.one_call)
        return cls(found["mark"]) if found else None


def _rules_within(name: str, parameter: Parameter, inner: Sequence[Parameter]) -> list[str]:
    """The rule ``name``: what stands in the tag of a list or an object."""
    if parameter.types == {"object"}:
        return argument_rules(name, inner)
    schema = narrowed(parameter, "array")
    most = schema.get("maxItems", "")
    return [f"{name}: {name}_0{{{schema.get('minItems', 0)},{most}}}"]


def _with_inner(parameters: Sequence[Parameter], depth: int = 0) -> Iterator[Parameter]:
    """The arguments, and what stands in them."""
    for parameter in parameters:
        yield parameter
        if depth < DEEPEST_FORCED and not is_raw_text(parameter):
            yield from _with_inner(inner_of(parameter, ITEM), depth + 1)


@dataclass(frozen=True)
class Element:
    """A tag with what stands in it.

    Attributes:
        name: What it is called.
        text: What stands in front of the first tag in it.
        inner: The tags in it.
    """

    name: str
    text: str
    inner: tuple[Element, ...] = ()


class NestedTagParser(ArgumentwiseParser):
    """Reads calls whose arguments are tags, in which there may be tags."""

    def __init__(self, tag_mark: str, functions: Sequence[Function] = ()) -> None:
        """Start behind the first ``tag_mark``, which stands in front of each tag."""
        super().__init__(tag_mark, functions)
        mark = rf"\s*{re.escape(tag_mark)}\s*"
        self._head = re.compile(rf'\s*(?:<tool_call>{mark}|{mark}|)<invoke name="([^"]+)">')
        self._over = re.compile(rf"{mark}</invoke>\s*")
        self._tag = re.compile(rf"{re.escape(tag_mark)}\s*<(/?)([^<>]+)>")

    def _next(self, is_over: bool) -> OutputPart | None:
        if self._name is None:
            head = self._head.match(self._held)
            return self._begin(head[1], head.end()) if head else None
        if over := self._over.match(self._held):
            return self._end(over.end())
        found = self._element()
        if found is None:
            return None
        element, size = found
        return self._pass_on({element.name: _value(element, self._parameter(element.name))}, size)

    def _element(self) -> tuple[Element, int] | None:
        """The argument that the text begins with, and how long it is; None if it isn't whole."""
        open_tags: list[Element] = []
        for tag, end in self._tags():
            is_closing, name = bool(tag[1]), tag[2].strip()
            if not is_closing and len(open_tags) > DEEPEST:
                return None
            if not is_closing:
                open_tags.append(Element(name, self._held[tag.end() : end]))
                continue
            if not open_tags or open_tags[-1].name != name:
                return None
            whole = open_tags.pop()
            if not open_tags:
                return whole, tag.end()
            outer = open_tags[-1]
            open_tags[-1] = Element(outer.name, outer.text, (*outer.inner, whole))
        return None

    def _tags(self) -> Iterator[tuple[re.Match[str], int]]:
        """The tags that the text begins with, each with the place where the next one begins."""
        tags = list(self._tag.finditer(self._held))
        ends = [*(tag.start() for tag in tags[1:]), len(self._held)]
        is_first = bool(tags) and not self._held[: tags[0].start()].strip()
        return zip(tags, ends, strict=False) if is_first else iter(())


def _value(element: Element, parameter: Parameter | None) -> Any:
    """What an element says, by what the tool takes."""
    types = parameter.types if parameter else frozenset[str]()
    if element.inner:
        is_list = {each.name for each in element.inner} == {ITEM} and "object" not in types
        return _items(element, parameter) if is_list else _members(element, parameter)
    if not element.text.strip() and types & {"array", "object"} and "string" not in types:
        return [] if "array" in types else {}
    return typed(element.text, parameter)


def _items(element: Element, parameter: Parameter | None) -> list[Any]:
    item = item_of(parameter, ITEM) if parameter else None
    return [_value(each, item) for each in element.inner]


def _members(element: Element, parameter: Parameter | None) -> dict[str, Any]:
    """The object that the tags in an element are; what is there several times is a list."""
    found: dict[str, list[Any]] = {}
    for each in element.inner:
        known = member_of(parameter, each.name) if parameter else None
        found.setdefault(each.name, []).append(_value(each, known))
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}
