"""Proxy tuning: what tuning did to a small model, done to a large one.

Knows the small models by their names. Doesn't know how they are loaded or run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from langchain_amulet.methods.formula import (
    Difference,
    Formula,
    check_model_name,
    plausibility_mask,
)
from langchain_amulet.methods.guidance import PROBE, Guidance, prompted
from langchain_amulet.methods.method import Method
from langchain_amulet.methods.registry import register
from langchain_amulet.methods.strengths import check_finite
from langchain_amulet.steering import Plan, Stream


@register
@dataclass(frozen=True)
class ProxyTuning(Method):
    """Proxy tuning (arXiv 2401.08565), emulated fine-tuning (2310.12962), DExperts (2105.03023).

    ``l_pref + s (l_expert - l_antiexpert)``: what tuning did to a small model is done to a large
    one, which is the one that answers.

    Attributes:
        expert: Name of the small model as tuned.
        antiexpert: Name of the small model before. None for the expert again, but without the
            preferences in its prompt: what they change for a small model steers the large one.
        strength: s.
        plausibility: Tokens below this share of the large model's likeliest one are dropped.
        kl_cap: Most that a token's distribution may move from the large model's, in nats.
    """

    name: ClassVar[str] = "proxy_tuning"
    expert: str
    antiexpert: str | None = None
    strength: float = 1.0
    plausibility: float = field(default=0.0, kw_only=True)
    kl_cap: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what no plan could be made of."""
        check_model_name("expert", self.expert)
        if self.antiexpert is not None:
            check_model_name("antiexpert", self.antiexpert)
        check_finite("strength", self.strength, "1.0, or another number")
        self.plan(PROBE)

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """Up to three streams with the preferences in all prompts, or all but the antiexpert's."""
        chosen = prompted(preferences)
        if self.antiexpert is None:
            antiexpert = Stream(model=self.expert)
        else:
            antiexpert = Stream(chosen, self.antiexpert)
        change = Difference(self.strength, Stream(chosen, self.expert), antiexpert)
        mask = plausibility_mask(self.plausibility)
        return Formula(Stream(chosen), [change]).plan(mask, self.kl_cap)
