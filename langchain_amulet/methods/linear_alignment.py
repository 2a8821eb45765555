"""Linear Alignment: guidance at a fixed ratio.

Knows a ratio and a mask. Doesn't know tensors, or how preferences combine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.methods.guidance import PROBE, Guidance, guided
from langchain_amulet.methods.method import Method
from langchain_amulet.methods.registry import register
from langchain_amulet.methods.strengths import check_finite
from langchain_amulet.steering import Plan, TopP


@register
@dataclass(frozen=True)
class LinearAlignment(Method):
    """Linear Alignment (arXiv 2401.11458): a fixed ratio.

    Without a mask as Amulet's paper compares with it, see `original` for its own authors' way.

    Attributes:
        ratio: The strength d in ``l_pref + d (l_pref - l_base)``.
        top_p: Choose from the fewest of the likeliest prompted tokens that reach this
            probability; None for all tokens.
        kl_cap: Most that steering may move one token's distribution, in nats; None for no limit.
    """

    name: ClassVar[str] = "linear_alignment"
    ratio: float = 2.0
    top_p: float | None = None
    kl_cap: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no plan could be made of."""
        check_finite("ratio", self.ratio, "2.0, as in Amulet's paper")
        self.plan(PROBE)

    @classmethod
    def original(cls, ratio: float = 3.0) -> LinearAlignment:
        """As its authors run it: masked, with ratios of 3 and 5.

        Where the mask leaves no token that steering allows, the prompted distribution decides.
        """
        return cls(ratio, top_p=0.8)

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """Guidance at ``ratio``, or at the preferences' own strengths."""
        mask = None if self.top_p is None else TopP(self.top_p)
        return guided(preferences, self.ratio, mask, self.kl_cap)
