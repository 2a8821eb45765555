"""Guided reranking: of several answers the one that steering would have made likeliest.

Knows how a whole answer is steered by what is known of its tokens. Doesn't know how answers are
drawn.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

from langchain_amulet.methods.guidance import Guidance
from langchain_amulet.methods.method import Method
from langchain_amulet.methods.plain import Pref, Prompt, check_prompt
from langchain_amulet.methods.registry import register
from langchain_amulet.methods.search import Candidate, SearchPlan
from langchain_amulet.methods.strengths import resolve_strength
from langchain_amulet.steering import Plan


@register
@dataclass(frozen=True)
class GuidedReranking(Method):
    """The sample that steering would have made likeliest, taken as a whole.

    Samples are ranked by ``sum_t [l_pref + d (l_pref - l_base)]``, in nats. Both terms are known
    from decoding, so ranking costs nothing. Preferences' own strengths don't count.

    Attributes:
        n: How many samples are drawn, in one batch; they need a temperature above 0.
        strength: d, a number or the name of one.
        prompt: What samples are drawn from.
    """

    name: ClassVar[str] = "guided_reranking"
    n: int = 16
    strength: float | str = "amulet"
    prompt: Prompt = "pref"

    def __post_init__(self) -> None:
        """Refuse a strength or a prompt that doesn't exist, and to choose from nothing."""
        check_prompt(self.prompt)
        self.search()

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """The prompt that samples are drawn from, with the other one beside it for comparison."""
        plan, base = Pref().plan(preferences).with_base()
        return plan if self.prompt == "pref" else replace(plan, anchor=base)

    def search(self) -> SearchPlan:
        """Samples, ranked by their steered log-probabilities."""
        rank = partial(guided_likelihoods, strength=resolve_strength(self.strength))
        return SearchPlan(self.n, rank, trace=True)


def guided_likelihoods(candidates: Sequence[Candidate], strength: float) -> list[float]:
    """``sum_t [l_pref + strength (l_pref - l_base)]`` of each candidate, in nats."""
    return [
        math.fsum(
            pref + strength * _contrast(pref, base)
            for pref, base in zip(candidate.pref, candidate.base, strict=True)
        )
        for candidate in candidates
    ]


def _contrast(pref: float, base: float) -> float:
    # As in steering: what is impossible in the other prompt says nothing.
    return pref - base if math.isfinite(pref - base) else 0.0
