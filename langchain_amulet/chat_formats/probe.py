"""What a chat template makes of made-up calls: how its model was trained to write them.

The template is asked to render an answer with calls of tools that nobody has. Chat formats look
for their own way of writing in what it puts around the made-up names.

This module knows chat templates: nothing of any family's way of writing, or of LangChain.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from langchain_amulet.chat_formats.call_dialect import CallDialect
from langchain_amulet.chat_formats.calls import FunctionCall
from langchain_amulet.chat_formats.chat_template import QUESTION, ChatTemplate
from langchain_amulet.chat_formats.markup import TAG
from langchain_amulet.chat_formats.regions import THINKING, Thinking, find_thinking
from langchain_amulet.chat_formats.shapes import PROBE
from langchain_amulet.chat_formats.turns import Turn, shared_start

NAMES = (f"{PROBE}_one", f"{PROBE}_two")
"""The names of made-up tools; each has one argument, called `PROBE`, which is `PROBE`."""

SAID = f"{PROBE}_said"
"""What a made-up answer says."""

THOUGHT = f"{PROBE}_thought"
"""What it thinks."""

CALL_IDS = ("abcdefghi", "abcdefghj")
"""Nine letters, as Mistral's templates want."""

TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": "a",
            "description": "a",
            "parameters": {
                "type": "object",
                "properties": {"a": {"type": "string", "description": "a"}},
                "required": [],
            },
        },
    }
]
"""A tool that isn't called: some templates write calls only where there are tools."""


@dataclass(frozen=True)
class TemplateSample:
    """What a chat template writes for made-up answers. It is rendered when it is looked at.

    Attributes:
        template: The chat template.
    """

    template: ChatTemplate

    @cached_property
    def one_call(self) -> str:
        """An answer with one call, thoughts left out; empty if the template writes none."""
        return self.answer(called(NAMES[:1]))

    @cached_property
    def two_calls(self) -> str:
        """An answer with two calls, thoughts left out; empty if the template writes none."""
        return self.answer(called(NAMES))

    @cached_property
    def thinking(self) -> Thinking | None:
        """The markers of thoughts that the template speaks of, or puts around one.

        Else they are those that the model has for tokens: what it was trained to write, it writes
        with a template that is silent about it.
        """
        told = find_thinking(self.template.source) or self._thinking_around_thought
        ids = self.template.controls.ids
        known = (each for each in THINKING if each.opening in ids and each.closing in ids)
        return told or next(known, None)

    @property
    def _thinking_around_thought(self) -> Thinking | None:
        turn = {"role": "assistant", "content": SAID, "reasoning_content": THOUGHT}
        front, found, rest = tried(self.template, turn).partition(THOUGHT)
        if not found:
            return None
        start = self._before_token(front, shared_start(front, self._start_of_answers))
        opening, closing = front[start:].strip(), TAG.match(rest.lstrip())
        is_marked = closing and TAG.match(opening) and SAID in rest
        return Thinking(opening, closing[0]) if closing and is_marked else None

    @cached_property
    def said_markers(self) -> frozenset[str]:
        """Markers that the template puts around what an answer says."""
        thinking = self.thinking
        whole = tried(self.template, {"role": "assistant", "content": SAID})
        front, found, back = whole.partition(SAID)
        inner = front.rpartition(thinking.closing)[2] if thinking else front
        if not found or (inner == front and not front.startswith(self._prompt)):
            return frozenset()
        inner = inner.removeprefix(self._prompt) if inner == front else inner
        written = f"{inner} {self.without_end(back)}"
        markers = {*TAG.findall(written), *self.controls_in(written)}
        ends = {thinking.opening, thinking.closing} if thinking else set()
        return frozenset(markers - ends)

    @property
    def response_template(self) -> Mapping[str, Any] | None:
        """The tokenizer's own description of its model's answers, if it has one."""
        own = getattr(self.template.tokenizer, "response_template", None)
        return own if isinstance(own, dict) else None

    def answer(self, calls: Sequence[FunctionCall]) -> str:
        """An answer of calls, thoughts left out; empty if the template doesn't write all of them.

        Args:
            calls: Up to two calls.
        """
        silent = tried(self.template, calling(calls))
        answer = silent[self._start_in(silent) :]
        if not _holds(answer, calls):  # some skip or refuse a turn without text
            answer = tried(self.template, calling(calls, SAID)).partition(SAID)[2]
        if not _holds(answer, calls):
            return ""
        front, name, rest = answer.partition(calls[0].name)
        for thinking in THINKING:  # some write an empty thought in front of each answer
            front = front.rpartition(thinking.closing)[2]
        return f"{front.lstrip()}{name}{rest}"

    def speaks_of(self, text: str) -> bool:
        """Whether the template or the vocabulary has such a marker."""
        return text in self.template.source or text in self.template.controls.ids

    def controls_in(self, text: str) -> tuple[str, ...]:
        """The control tokens that stand in a text."""
        return tuple(token for token in self.template.controls.ids if token in text)

    def without_end(self, text: str, inner: Collection[str] = ()) -> str:
        """The text up to where the template ends the turn, which ``inner`` tokens don't."""
        ends = [end for end in self.template.ends if end in text and end not in inner]
        return text[: min(map(text.index, ends), default=len(text))].rstrip()

    def _start_in(self, text: str) -> int:
        """Where in a conversation the answer starts: after the prompt for it, if that is there."""
        prompt = self._prompt
        if prompt and text.startswith(prompt):
            return len(prompt)
        return self._before_token(text, shared_start(self._start_of_answers, text))

    def _before_token(self, text: str, index: int) -> int:
        """The index, moved in front of a control token that it would cut in two.

        What is said and what is called may begin with markers that begin alike.
        """
        starts = (
            start
            for token in self.template.controls.ids
            for start in range(max(0, index - len(token) + 1), index)
            if text.startswith(token, start)
        )
        return min(starts, default=index)

    @cached_property
    def _prompt(self) -> str:
        """What the template writes for an answer to the question."""
        return tried(self.template, prompting=True)

    @cached_property
    def _start_of_answers(self) -> str:
        """What the template writes in front of an answer, that of the question included."""
        return tried(self.template, {"role": "assistant", "content": SAID}).partition(SAID)[0]


def in_its_dialect(template: ChatTemplate) -> ChatTemplate:
    """The template, with calls handed over to it in the form in which it writes them.

    It is left as it is where it writes none in any, but for what is said.
    """
    in_parts = replace(template, dialect=CallDialect(in_parts=True))
    if not _writes_users(template) and _writes_users(in_parts):
        template = in_parts
    dialects = CallDialect.all(template.dialect.in_parts)
    spoken = (replace(template, dialect=dialect) for dialect in dialects)
    return next((each for each in spoken if _writes(each)), template)


def _writes_users(template: ChatTemplate) -> bool:
    """Whether the template takes what a user says in this dialect, and writes it."""
    return PROBE in (template.tried([{"role": "user", "content": PROBE}]) or "").casefold()


def _writes(template: ChatTemplate) -> bool:
    """Whether the template writes a call's name, and arguments not in the way of Python."""
    answer = TemplateSample(template).one_call
    return PROBE in answer.replace(NAMES[0], "") and f"{{'{PROBE}'" not in answer


def _holds(answer: str, calls: Sequence[FunctionCall]) -> bool:
    return all(call.name in answer for call in calls)


def called(names: Sequence[str]) -> list[FunctionCall]:
    """Made-up calls of these names."""
    return [FunctionCall(name, {PROBE: PROBE}) for name in names]


def calling(calls: Sequence[FunctionCall], content: str = "") -> Turn:
    """An assistant's turn with these calls, two at the most."""
    written = [
        {
            "type": "function",
            "id": call_id,
            "function": {"name": call.name, "arguments": dict(call.arguments)},
        }
        for call, call_id in zip(calls, CALL_IDS, strict=False)
    ]
    return {"role": "assistant", "content": content, "tool_calls": written}


def tried(template: ChatTemplate, *turns: Turn, prompting: bool = False) -> str:
    """What the template makes of these turns behind a question; nothing if it refuses them.

    It is given tools, as calls are, and none where it fails with those.
    """
    asked = [QUESTION, *turns]
    with_tools = template.tried(asked, prompting, TOOLS)
    return (template.tried(asked, prompting) if with_tools is None else with_tools) or ""
