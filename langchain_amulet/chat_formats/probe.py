"""What a chat template makes of made-up calls: how its model was trained to write them.

The template is asked to render an answer with calls of tools that nobody has. Chat formats look
for their own way of writing in what it puts around the made-up names.

This module knows chat templates: nothing of any family's way of writing, or of LangChain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from langchain_amulet.chat_formats.chat_template import PROBE, QUESTION, ChatTemplate
from langchain_amulet.chat_formats.regions import THINKING, Thinking, find_thinking
from langchain_amulet.chat_formats.turns import Turn, shared_start

NAMES = (f"{PROBE}_one", f"{PROBE}_two")
"""The names of made-up tools; each has one argument, called `PROBE`, which is `PROBE`."""

SAID = f"{PROBE}_said"
"""What a made-up answer says."""

CALL_IDS = ("abcdefghi", "abcdefghj")
"""Nine letters, as Mistral's templates want."""


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
        return self._written(NAMES[:1])

    @cached_property
    def two_calls(self) -> str:
        """An answer with two calls, thoughts left out; empty if the template writes none."""
        return self._written(NAMES)

    @property
    def thinking(self) -> Thinking | None:
        """The markers of thoughts that the template speaks of."""
        return find_thinking(self.template.source)

    @property
    def response_template(self) -> Mapping[str, Any] | None:
        """The tokenizer's own description of its model's answers, if it has one."""
        own = getattr(self.template.tokenizer, "response_template", None)
        return own if isinstance(own, dict) else None

    def controls_in(self, text: str) -> tuple[str, ...]:
        """The control tokens that stand in a text."""
        return tuple(token for token in self.template.controls.ids if token in text)

    def without_end(self, text: str) -> str:
        """The text up to where the template ends the turn."""
        ends = [end for end in self.template.ends if end in text]
        return text[: min(map(text.index, ends), default=len(text))].rstrip()

    def _written(self, names: Sequence[str]) -> str:
        start = self._start_of_answers
        silent = tried(self.template, calling(names))
        answer = silent[self._before_token(silent, shared_start(start, silent)) :]
        if not all(name in answer for name in names):  # some skip or refuse a turn without text
            answer = tried(self.template, calling(names, SAID)).partition(SAID)[2]
        for thinking in THINKING:  # some write an empty thought in front of each answer
            answer = answer.rpartition(thinking.closing)[2]
        return answer.lstrip()

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
    def _start_of_answers(self) -> str:
        """What the template writes in front of an answer, that of the question included."""
        return tried(self.template, {"role": "assistant", "content": SAID}).partition(SAID)[0]


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


def tried(template: ChatTemplate, *turns: Turn) -> str:
    """What the template makes of these turns behind a question; nothing if it refuses them."""
    return template.tried([QUESTION, *turns], prompting=False) or ""
