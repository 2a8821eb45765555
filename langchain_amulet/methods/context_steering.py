"""Context steering: every preference in a prompt of its own, against the base prompt.

Knows a strength and a mask. Doesn't know tensors, or how the weights are computed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from langchain_amulet.methods.formula import plausibility_mask
from langchain_amulet.methods.guidance import PROBE, Guidance, prompted, side_by_side
from langchain_amulet.methods.method import Method
from langchain_amulet.methods.registry import register
from langchain_amulet.methods.strengths import check_finite
from langchain_amulet.steering import Plan


@register
@dataclass(frozen=True)
class ContextSteering(Method):
    """Context steering (arXiv 2405.01768): every preference against the base prompt.

    Attributes:
        strength: d in ``l_base + sum_k w_k (1 + d) (l_k - l_base)``.
        plausibility: Tokens below this share of the likeliest prompted one are dropped.
        kl_cap: Most that steering may move one token's distribution, in nats; None for no limit.
    """

    name: ClassVar[str] = "context_steering"
    strength: float = 1.0
    plausibility: float = field(default=0.0, kw_only=True)
    kl_cap: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what no plan could be made of."""
        check_finite("strength", self.strength, "1.0, or another number")
        self.plan(PROBE)

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """A stream for each preference, whatever its layer, and the base stream."""
        formula = side_by_side(preferences, prompted(preferences), self.strength)
        return formula.plan(plausibility_mask(self.plausibility), self.kl_cap)
