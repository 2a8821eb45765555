"""Drift: preferences weighted as a user's own choices weight them.

Knows weights, and another model by its name. Doesn't know where weights are learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.formula import BASE, Difference, Formula, plausibility_mask
from langchain_amulet.methods.guidance import PROBE, Guidance, prompted
from langchain_amulet.methods.method import Method
from langchain_amulet.methods.registry import register
from langchain_amulet.methods.strengths import check_finite
from langchain_amulet.steering import Plan, Stream
from langchain_amulet.validation.checks import is_finite
from langchain_amulet.validation.wording import quoted

MOST_WEIGHTS = 1000
"""As many as a call may have preferences."""


@register
@dataclass(frozen=True)
class Drift(Method):
    """Drift (arXiv 2502.14289): attributes weighted as a user's own choices weight them.

    Attributes:
        weights: p in ``l_base + 1/beta sum_k p_k (l_k - l_base)``, one for each of the call's
            preferences in their order; below 0 for what the user dislikes. Empty for 1 each. A
            preference's own strength replaces its p, and its weight scales it.
        beta: Softness, above 0.
        model: Name of a model that reads the preferences in place of the one that answers, and is
            compared with itself without them; None for the one that answers.
        plausibility: Tokens below this share of the base prompt's likeliest one are dropped.
        kl_cap: Most that steering may move one token's distribution, in nats; None for no limit.
    """

    name: ClassVar[str] = "drift"
    weights: tuple[float, ...] = ()
    beta: float = 1.0
    model: str | None = field(default=None, kw_only=True)
    plausibility: float = field(default=0.0, kw_only=True)
    kl_cap: float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        """Refuse what no plan could be made of."""
        if not isinstance(self.weights, Sequence) or isinstance(self.weights, str):
            example = (self.weights,) if is_finite(self.weights) else (0.5, -1)
            raise ConfigurationError(
                "weights must be a list of numbers, one per preference, not "
                f"{quoted(self.weights)}: "
                f"write it as Drift({example}) or 'drift:weights={list(example)}'."
            )
        if len(self.weights) > MOST_WEIGHTS:
            raise ConfigurationError(
                f"There may be at most {MOST_WEIGHTS} weights, but there are "
                f"{len(self.weights)}: give one for each preference."
            )
        for weight in self.weights:
            check_finite("A weight", weight, "0.0 for an attribute that doesn't matter")
        if not (is_finite(self.beta) and self.beta > 0.0):
            raise ConfigurationError(
                f"beta must be finite and above 0, not {quoted(self.beta)}: 1.0 takes the "
                "weights as they are."
            )
        self.plan([Guidance()] * len(self.weights) or PROBE)

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """A stream for each preference, and the base stream.

        Raises:
            ConfigurationError: There are weights, but not as many as preferences.
        """
        prompted(preferences)  # which checks them
        if self.weights and preferences and len(self.weights) != len(preferences):
            raise ConfigurationError(
                f"Drift needs one weight per preference, but has {len(self.weights)} weights for "
                f"{len(preferences)} preferences: give one for each, or none for 1.0 each."
            )
        weights = self.weights or (1.0,) * len(preferences)
        differences = [
            Difference(
                each.weight * each.strength_or(weight) / self.beta,
                Stream((k,), self.model),
                Stream(model=self.model),
            )
            for k, (each, weight) in enumerate(zip(preferences, weights, strict=False))
        ]
        mask = plausibility_mask(self.plausibility)
        return Formula(BASE, differences).plan(mask, self.kl_cap)
