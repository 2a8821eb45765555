"""From a conversation and the call's preferences to token ids, one prompt per stream.

The base stream renders the conversation as it was given; other streams add the text of their
preferences to a message, and nothing else.

This module knows turns and templates: nothing of LangChain, models or steering.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from langchain_amulet.chat_formats.base import ChatFormat
from langchain_amulet.chat_formats.calls import Function
from langchain_amulet.chat_formats.chat_template import ChatTemplate
from langchain_amulet.chat_formats.placement import Placement, place
from langchain_amulet.chat_formats.turns import Turn, join_texts, merge_turns


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
        limit: How many tokens the model reads; None for any number.
    """

    template: ChatTemplate
    placement: Placement = "system"
    preference_template: str = "{preference}"
    tools: Sequence[Mapping[str, Any]] | None = None
    note: str = ""
    limit: int | None = None

    def build(self, turns: Sequence[Turn], preferences: Sequence[str]) -> tuple[int, ...]:
        """Token ids of the conversation with these preferences, in order; none for the base.

        Raises:
            ChatTemplateError: The template refuses the conversation.
            ContextLengthError: The prompt is far longer than the limit.
            RequestError: A control token can't be kept as text.
        """
        turns = merge_turns(turns)
        lines = "\n".join(self.preference_template.replace("{preference}", p) for p in preferences)
        if self.placement == "system":
            turns = self._with(turns, join_texts(self.note, lines), "system")
        else:
            turns = self._with(self._with(turns, self.note, "system"), lines, "user")
        return self.template.encode(turns, self.tools, limit=self.limit)

    def _with(self, turns: Sequence[Turn], text: str, placement: Placement) -> list[Turn]:
        if not text:
            return list(turns)
        return place(turns, text, placement, self.template, bool(self.tools))
