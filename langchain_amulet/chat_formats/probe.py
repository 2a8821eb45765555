"""How a model writes tool calls and thoughts, learnt from its own chat template.

The template is asked to render a call with made-up words; what it puts around them is how the
model was trained to write one, and so how it is to be decoded and read.

This module knows chat templates: nothing of grammars, tools of a call, or LangChain.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from langchain_amulet.chat_formats.chat_template import PROBE, ChatTemplate, Turn
from langchain_amulet.errors import AmuletError

NAMES = (f"{PROBE}_one", f"{PROBE}_two")
SAID = f"{PROBE}_said"
ARGUMENTS = re.compile(r'\{\s*"' + PROBE + r'":\s*"' + PROBE + r'"\s*\}')
CALL_IDS = ("abcdefghi", "abcdefghj")
"""Nine letters, as Mistral's templates want."""

ID_FIELD = re.compile(
    r',\s*"(?:id|call_id|tool_call_id)":\s*"abcdefgh[ij]"|\[CALL_ID\]abcdefgh[ij]'
)


@dataclass(frozen=True)
class CallShape:
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

    def write(self, calls: Sequence[tuple[str, str]]) -> str:
        """An answer of calls, given as names and JSON of arguments.

        Where an answer can hold one call only, several stand below each other.
        """
        written = [
            f"{json.dumps(name, ensure_ascii=False)[1:-1]}{self.middle}{arguments}"
            for name, arguments in calls
        ]
        between = f"{self.after}\n{self.before}" if self.between is None else self.between
        return self.before + between.join(written) + self.after


HERMES = CallShape(
    before='<tool_call>\n{"name": "',
    middle='", "arguments": ',
    after="}\n</tool_call>",
    between='}\n</tool_call>\n<tool_call>\n{"name": "',
)
"""How Hermes, Qwen and many others write calls; taken where a template writes none in JSON."""


@dataclass(frozen=True)
class Thinking:
    """The markers around a model's thoughts."""

    opening: str
    closing: str


THINKING = (
    Thinking("<think>", "</think>"),
    Thinking("[THINK]", "[/THINK]"),
    Thinking("<thought>", "</thought>"),
    Thinking("<|START_THINKING|>", "<|END_THINKING|>"),
)
"""Markers that templates use."""

_TAGGED = MappingProxyType({"open": "<tool_call>", "close": "</tool_call>"})
_LISTED = MappingProxyType({"open": "[TOOL_CALLS]", "close_pattern": r"(?=\[TOOL_CALLS\])"})
_BARE = MappingProxyType({"open_pattern": r"\A\s*(?:<\|python_tag\|>\s*)?(?=\{)"})


@dataclass(frozen=True)
class ReplyFormat:
    """What a chat template says of the answers that it goes with.

    Attributes:
        shape: How calls are written.
        region: Where calls stand in an answer, in terms of a response template's field.
        thinking: The markers of thoughts; None if the model has none.
        own: The tokenizer's own response template, if it has one that fits ``shape``.
        writes_tools: Whether the template puts tools into the prompt.
    """

    shape: CallShape = HERMES
    region: Mapping[str, str] = field(default_factory=lambda: _TAGGED)
    thinking: Thinking | None = None
    own: Mapping[str, Any] | None = None
    writes_tools: bool = False

    @property
    def markers(self) -> frozenset[str]:
        """Texts by which an answer is taken apart; they mustn't vanish as control tokens."""
        fields = json.dumps(self.own, ensure_ascii=False) if self.own else ""
        found = {*re.findall(r"<[^<>\s]+>|\[[^\[\]\s]+\]", fields)}
        found |= {"<tool_call>", "</tool_call>", "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>"}
        thoughts = (self.thinking.opening, self.thinking.closing) if self.thinking else ()
        return frozenset(found.union(thoughts))

    def is_thinking(self, start: str) -> bool:
        """Whether an answer begins within a thought, by what its prompt ends with."""
        if self.thinking is None:
            return False
        return start.rfind(self.thinking.opening) > start.rfind(self.thinking.closing)

    def response_template(self, with_calls: bool) -> dict[str, Any]:
        """How an answer is taken apart, for the tokenizer's response parser.

        Args:
            with_calls: Whether there may be tool calls; without tools all of that is text.
        """
        if self.own is not None and with_calls:
            return dict(self.own)
        plain = {"content": "text", "content_args": {"strip": False}}
        fields: dict[str, Any] = {"content": plain}
        if self.thinking:
            marks = {"open": self.thinking.opening, "close": self.thinking.closing}
            fields["reasoning_content"] = {**plain, **marks, "repeats": True}
        if with_calls:
            fields["tool_calls"] = {**plain, **self.region, "repeats": True}
        return {"start_anchor": PROBE, "fields": fields}


def find_format(template: ChatTemplate) -> ReplyFormat:
    """What a chat template says of its model's answers, by trying it out."""
    shape = find_shape(template)
    own = getattr(template.tokenizer, "response_template", None)
    source = template.source
    return ReplyFormat(
        shape=shape or HERMES,
        region=_region(shape or HERMES),
        thinking=next((t for t in THINKING if t.closing in source), None),
        own=own if isinstance(own, dict) else None,
        writes_tools=_writes_tools(template),
    )


def find_shape(template: ChatTemplate) -> CallShape | None:
    """How the template writes calls; None if it doesn't, or not with JSON for arguments."""
    one, two = _rendered(template, NAMES[:1]), _rendered(template, NAMES)
    first = _split(one, NAMES[0])
    if first is None:
        return None
    before, middle, after = first
    second = _split(two.partition(middle)[2], NAMES[1]) if middle and two else None
    between = ID_FIELD.sub("", ARGUMENTS.sub("", second[0], count=1)) if second else None
    return CallShape(before, middle, _without_end(template, ID_FIELD.sub("", after)), between)


def _split(text: str, name: str) -> tuple[str, str, str] | None:
    """What comes before a call's name, between it and its arguments, and after those."""
    before, found, rest = text.partition(name)
    arguments = ARGUMENTS.search(rest)
    if not found or arguments is None:
        return None
    return before, rest[: arguments.start()], rest[arguments.end() :]


def calling(names: Sequence[str], content: str = "") -> Turn:
    """An assistant's turn with made-up calls of these names."""
    calls = [
        {
            "type": "function",
            "id": call_id,
            "function": {"name": name, "arguments": {PROBE: PROBE}},
        }
        for name, call_id in zip(names, CALL_IDS, strict=False)
    ]
    return {"role": "assistant", "content": content, "tool_calls": calls}


def _rendered(template: ChatTemplate, names: Sequence[str]) -> str:
    """What the template writes for an answer with calls of these names, thoughts left out."""
    start = tried(template, {"role": "assistant", "content": SAID}).partition(SAID)[0]
    silent = tried(template, calling(names))
    answer = silent[_shared(start, silent) :]
    if not all(name in answer for name in names):  # some skip or refuse a turn that says nothing
        answer = tried(template, calling(names, SAID)).partition(SAID)[2]
    for thinking in THINKING:
        answer = answer.rpartition(thinking.closing)[2]
    return answer.lstrip()


def tried(template: ChatTemplate, *turns: Turn) -> str:
    """What the template makes of these turns behind a question; nothing if it refuses them."""
    try:
        return template.text([{"role": "user", "content": "a"}, *turns], prompting=False)
    except AmuletError:
        return ""


def _shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def _without_end(template: ChatTemplate, text: str) -> str:
    """The text up to where the template ends the turn."""
    ends = [end for end in template.ends if end in text]
    return text[: min(map(text.index, ends), default=len(text))].rstrip()


def _region(shape: CallShape) -> Mapping[str, str]:
    if "[TOOL_CALLS]" in shape.before:
        return _LISTED
    return _TAGGED if "<tool_call>" in shape.before else _BARE


def _writes_tools(template: ChatTemplate) -> bool:
    schema = {
        "name": NAMES[0],
        "description": PROBE,
        "parameters": {"type": "object", "properties": {}},
    }
    tools = [{"type": "function", "function": schema}]
    try:
        return NAMES[0] in template.text([{"role": "user", "content": "a"}], tools=tools)
    except AmuletError:
        return False
