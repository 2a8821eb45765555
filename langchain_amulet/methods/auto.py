"""What is done where nobody says how: Amulet, held back token by token.

Knows a bound and who has said how strongly to steer. Knows neither tensors nor how it is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.formula import plausibility_mask
from langchain_amulet.methods.guidance import PROBE, Guidance, guided, prompted
from langchain_amulet.methods.method import Method
from langchain_amulet.methods.registry import register
from langchain_amulet.methods.strengths import STRENGTHS
from langchain_amulet.steering import Plan
from langchain_amulet.validation.checks import is_finite
from langchain_amulet.validation.wording import quoted


@register
@dataclass(frozen=True)
class Auto(Method):
    """Amulet, each token bounded unless all preferences, as traits do, have their own strength.

    A strength means something else to every model and preference: one that a large model bears
    makes a small one lose the question. A bound on how far a token's distribution may move means
    the same to all, so this needs to know nothing of the model, see docs/results.md for what it
    costs. Preferences that all say how strongly they are to be taken are taken so, without bound.

    Attributes:
        nats: Most that steering may move one token's distribution from the prompted one, both
            among the tokens that stay.
        plausibility: Tokens below this share of the likeliest prompted one are dropped.
    """

    name: ClassVar[str] = "auto"
    nats: float = 0.05
    plausibility: float = 0.1

    def __post_init__(self) -> None:
        """Refuse what no plan could be made of."""
        if not (is_finite(self.nats) and self.nats >= 0.0):
            raise ConfigurationError(
                f"nats must be finite and at least 0, not {quoted(self.nats)}: 0.05 is usual, and "
                "Amulet() has no bound."
            )
        self.plan(PROBE)

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """Amulet's, with the bound unless every preference has a strength of its own."""
        told = [preferences[k].strength is not None for k in prompted(preferences)]
        bound = None if told and all(told) else self.nats
        mask = plausibility_mask(self.plausibility)
        return guided(preferences, STRENGTHS["amulet"], mask, bound)
