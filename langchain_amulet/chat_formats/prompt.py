"""From a conversation and the call's preferences to token ids, one prompt per stream.

The base stream renders the conversation as it was given; other streams add the text of their
preferences at the end of the system message or of the last user message.

This module knows turns and templates: nothing of LangChain, models or steering.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from langchain_amulet.chat_formats.base import ChatFormat
from langchain_amulet.chat_formats.calls import Function
from langchain_amulet.chat_formats.chat_template import ChatTemplate
from langchain_amulet.chat_formats.turns import Turn, join_texts, merge_turns

Placement = Literal["system", "user"]
"""Which message a preference is joined to: the system's, or the last one of the user."""


def place(
    turns: Sequence[Turn], text: str, placement: Placement, default_system: str = ""
) -> list[Turn]:
    """The conversation with ``text`` at the end of a message, after a blank line.

    Args:
        turns: The conversation; it isn't changed.
        text: The preference as it will be read.
        placement: The system turn at the start, or the last user turn. A missing one is made.
        default_system: What the template says by itself where there is no system turn; a
            system turn that is made begins with it, so that nothing is lost.
    """
    # A system turn that comes later is about what is said there: what holds for all goes in front.
    looked_at = turns[:1] if placement == "system" else turns
    places = [index for index, turn in enumerate(looked_at) if turn["role"] == placement]
    if not places and placement == "system":
        return [{"role": "system", "content": join_texts(default_system, text)}, *turns]
    if not places:
        return [*turns, {"role": "user", "content": text}]
    index = places[-1]
    joined = {**turns[index], "content": join_texts(turns[index]["content"], text)}
    return [*turns[:index], joined, *turns[index + 1 :]]


def tools_note(functions: Sequence[Function], chat_format: ChatFormat) -> str:
    """Tools in words, for chat templates that don't write any."""
    listed = "\n".join(json.dumps(function, ensure_ascii=False) for function in functions)
    return (
        "You may call these functions to answer, with arguments as their JSON schemas say:\n"
        f"{listed}\n\n{call_note(chat_format)}"
    )


def call_note(chat_format: ChatFormat) -> str:
    """How calls are written, for chat templates that write tools and no calls."""
    return f"To call one, write nothing but:\n{chat_format.call_example}"


def schema_note(schema: Mapping[str, Any]) -> str:
    """A schema in words: chat templates have no place for one."""
    written = json.dumps(schema, ensure_ascii=False)
    return f"Answer with nothing but JSON that matches this schema:\n{written}"


@dataclass(frozen=True)
class PromptBuilder:
    """How a call's conversation and preferences become the prompts of its streams.

    Attributes:
        template: The chat template.
        placement: Where preferences are put.
        preference_template: A text with ``{preference}`` where a preference's text goes.
        tools: JSON schemas of tools.
        note: A text for the end of the system message, the same for every stream.
    """

    template: ChatTemplate
    placement: Placement = "system"
    preference_template: str = "{preference}"
    tools: Sequence[Mapping[str, Any]] | None = None
    note: str = ""

    def build(self, turns: Sequence[Turn], preferences: Sequence[str]) -> tuple[int, ...]:
        """Token ids of the conversation with these preferences, in order; none for the base.

        Raises:
            ChatTemplateError: The template refuses the conversation.
            RequestError: A control token can't be kept as text.
        """
        turns = merge_turns(turns)
        lines = "\n".join(self.preference_template.replace("{preference}", p) for p in preferences)
        if self.placement == "system":
            turns = self._with_system(turns, join_texts(self.note, lines))
        else:
            turns = self._with_system(turns, self.note)
            turns = place(turns, lines, "user") if lines else turns
        return self.template.encode(turns, self.tools)

    def _with_system(self, turns: Sequence[Turn], text: str) -> list[Turn]:
        """The conversation with a text at the end of its system message, or wherever it is read.

        Templates may write the system message only sometimes, such as behind a question but not
        behind a tool's result. Streams are to differ by this text and by nothing else, so where the
        conversation would be written otherwise with it, it goes to the first user turn.
        """
        if not text:
            return list(turns)
        with_tools = bool(self.tools)
        template = self.template
        default = template.default_system_with_tools if with_tools else template.default_system
        placed = place(turns, text, "system", default)
        fitted = template.fit(turns, with_tools)
        if template.fit(placed, with_tools) == place(fitted, text, "system", default):
            return placed
        return _before_first_question(turns, text)


def _before_first_question(turns: Sequence[Turn], text: str) -> list[Turn]:
    """The conversation with a text where a system message goes that isn't read as such."""
    opening = 1 if turns and turns[0]["role"] == "system" else 0
    places = [index for index, turn in enumerate(turns) if turn["role"] == "user"]
    index = places[0] if places else opening
    asked = turns[index] if places else {"role": "user", "content": ""}
    joined = {**asked, "content": join_texts(text, asked["content"])}
    return [*turns[:index], joined, *turns[index + bool(places) :]]
