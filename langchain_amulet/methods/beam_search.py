"""Beam search: the likeliest whole answer to one prompt, as a baseline.

Knows which prompt, and how many beams. Doesn't know how they are searched: the engine does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.methods.guidance import Guidance
from langchain_amulet.methods.method import Method
from langchain_amulet.methods.plain import Pref, Prompt, check_prompt
from langchain_amulet.methods.registry import register
from langchain_amulet.methods.search import BeamPlan
from langchain_amulet.steering import Plan


@register
@dataclass(frozen=True)
class BeamSearch(Method):
    """The likeliest answer to a prompt that beam search finds, as the transformers library does.

    Other calls go on meanwhile. Sampling settings don't apply; penalties and grammars, as tools
    that must be called and schemas need them, are refused.

    Attributes:
        n: How many beams there are.
        prompt: Which prompt is answered.
        length_penalty: Answers are compared by log-probability over length to this power.
    """

    name: ClassVar[str] = "beam_search"
    n: int = 16
    prompt: Prompt = "pref"
    length_penalty: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what isn't a search by beams."""
        check_prompt(self.prompt)
        self.search()

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """One prompt."""
        return Pref().plan(preferences if self.prompt == Pref.name else ())

    def search(self) -> BeamPlan:
        """The engine's own search."""
        return BeamPlan(self.n, self.length_penalty)
