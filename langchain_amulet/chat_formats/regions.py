"""The parts of an answer, and by which texts they are told apart while it is decoded.

This module knows texts: nothing of tokens, of what a call looks like, or of templates.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Thinking:
    """Thoughts stand between two markers, and any number of times in an answer.

    Attributes:
        opening: The text that begins a thought.
        closing: The text that ends it.
        is_always_closed: Whether the model closes a thought in each answer, even one that it hasn't
            begun.
    """

    opening: str
    closing: str
    is_always_closed: bool = False

    def is_open(self, text: str) -> bool:
        """Whether a text ends within a thought."""
        return text.rfind(self.opening) > text.rfind(self.closing)


THINKING = (
    Thinking("<think>", "</think>"),
    Thinking("[THINK]", "[/THINK]"),
    Thinking("<thought>", "</thought>"),
    Thinking("<|START_THINKING|>", "<|END_THINKING|>"),
    Thinking("<seed:think>", "</seed:think>"),
    Thinking("<|channel>thought\n", "<channel|>"),
    Thinking("<mm:think>", "</mm:think>", is_always_closed=True),
    Thinking("<longcat_think>", "</longcat_think>"),
    Thinking("<reasoning>", "</reasoning>"),
    Thinking("<thinking>", "</thinking>"),
    Thinking("◁think▷", "◁/think▷"),
    Thinking("<|inner_prefix|>", "<|inner_suffix|>"),
    Thinking("<|begin_of_thought|>", "<|end_of_thought|>"),
    Thinking("Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"),
)
"""Markers that chat templates use."""


def find_thinking(source: str) -> Thinking | None:
    """The markers of thoughts that a chat template's text speaks of; None if it speaks of none."""
    return next((thinking for thinking in THINKING if thinking.closing in source), None)


@dataclass(frozen=True)
class Marked:
    """Calls stand between markers, anywhere in an answer.

    Attributes:
        opening: The text that begins calls.
        closing: The text that ends them; empty if only the next ``opening`` or the answer's end
            does.
    """

    opening: str
    closing: str = ""

    @property
    def texts(self) -> frozenset[str]:
        """The markers."""
        return frozenset({self.opening, self.closing} - {""})


@dataclass(frozen=True)
class Bare:
    """Calls are an answer's beginning, and nothing but their first character tells them apart.

    Attributes:
        first: The characters that calls begin with. An answer that begins with one of these, white
            space and thoughts aside, is read as calls as far as it can be, and is text from there.
        tag: A text that may stand before them.
    """

    first: str = "{"
    tag: str = ""

    @property
    def texts(self) -> frozenset[str]:
        """The markers."""
        return frozenset({self.tag} - {""})

    def start_in(self, beginning: str) -> int | None:
        """Where calls start in the beginning of an answer; None if it has none, or none yet."""
        rest = beginning.lstrip().removeprefix(self.tag).lstrip()
        return len(beginning) - len(rest) if rest and rest[0] in self.first else None

    def may_follow(self, beginning: str) -> bool:
        """Whether calls may still come after what an answer has begun with."""
        rest = beginning.lstrip()
        return self.tag.startswith(rest) or not rest.removeprefix(self.tag).strip()


CallRegion = Marked | Bare
"""Where calls stand in an answer."""


def unsettled(text: str, markers: Collection[str]) -> int:
    """Length of the longest end of a text with which a marker could begin, and go on behind it."""
    reach = max((min(len(text), len(marker) - 1) for marker in markers), default=0)
    ends = (text[len(text) - size :] for size in range(reach, 0, -1))
    return next((len(end) for end in ends if any(m.startswith(end) for m in markers)), 0)
