"""PAD: a second language model as the reward of each next token.

Knows the reward model by its name. Doesn't know how it is loaded or run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from langchain_amulet.methods.formula import BASE, Difference, Formula, check_model_name
from langchain_amulet.methods.guidance import PROBE, Guidance, mean_strength, prompted
from langchain_amulet.methods.method import Method
from langchain_amulet.methods.registry import register
from langchain_amulet.methods.strengths import check_finite
from langchain_amulet.steering import Plan, Stream, TopK
from langchain_amulet.validation.checks import check_type


@register
@dataclass(frozen=True)
class PAD(Method):
    """PAD (arXiv 2410.04070), as its authors' release decodes: a language model as the reward.

    ``l_base + w (l_reward - l_base)`` on the base prompt's likeliest tokens; the constants by which
    the release renormalises both there change nothing. Only the reward model reads preferences.

    Attributes:
        model: Name of the reward model.
        weight: w; a preference's own strength replaces it. The authors use 0.5 to 1.5.
        k: How many of the base prompt's likeliest tokens may be chosen.
        per_dimension: Whether the reward is a vector, ``sum_k w_k (l_reward_k - l_base)``: a stream
            of the reward model for each preference, with ``w_k`` its weight times w or its own
            strength. If not, one stream holds all preferences.
        kl_cap: Most that steering may move one token's distribution, in nats; None for no limit.
    """

    name: ClassVar[str] = "pad"
    model: str
    weight: float = 1.0
    k: int = field(default=10, kw_only=True)
    per_dimension: bool = field(default=False, kw_only=True)
    kl_cap: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what no plan could be made of."""
        check_model_name("model", self.model)
        check_type("per_dimension", self.per_dimension, bool)
        check_finite("weight", self.weight, "1.0, as PAD's authors do")
        self.plan(PROBE)

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """The base stream, and the reward model's."""
        if not (chosen := prompted(preferences)):
            return Plan.plain()
        if self.per_dimension:
            prompts = [preferences[k] for k in chosen]
            weights = [each.weight * each.strength_or(self.weight) for each in prompts]
            rewards = [Stream((k,), self.model) for k in chosen]
        else:
            weights = [mean_strength(preferences, chosen, self.weight)]
            rewards = [Stream(chosen, self.model)]
        differences = [Difference(w, reward) for w, reward in zip(weights, rewards, strict=True)]
        return replace(Formula(BASE, differences).plan(kl_cap=self.kl_cap), mask=TopK(self.k))
