"""Decoding-time realignment: between a model before and after its alignment.

Knows the reference model by its name. Doesn't know how it is loaded or run.
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
class DeRa(Method):
    """Decoding-time realignment (arXiv 2402.02992): between a model before and after alignment.

    ``(1 - lam) l_reference + lam l_aligned``, where the aligned model is the one that answers.
    Preferences are in both prompts.

    Attributes:
        reference: Name of the model before its alignment.
        lam: 0 is the reference, 1 the aligned model; above 1 is more aligned than that.
        plausibility: Tokens below this share of the aligned model's likeliest one are dropped.
        kl_cap: Most that a token's distribution may move from the aligned model's, in nats.
    """

    name: ClassVar[str] = "dera"
    reference: str
    lam: float = 0.5
    plausibility: float = field(default=0.0, kw_only=True)
    kl_cap: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what no plan could be made of."""
        check_model_name("reference", self.reference)
        check_finite("lam", self.lam, "0.5, or another number")
        self.plan(PROBE)

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """A stream of each model with the same prompt."""
        aligned = Stream(prompted(preferences))
        reference = Stream(aligned.preferences, self.reference)
        if self.lam == 0.0:
            formula = Formula(reference, reference={aligned: 1.0})
        else:
            formula = Formula(aligned, [Difference(self.lam - 1.0, aligned, reference)])
        return formula.plan(plausibility_mask(self.plausibility), self.kl_cap)
