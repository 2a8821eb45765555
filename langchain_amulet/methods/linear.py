"""Methods whose weights are given: with and without preferences, added up.

This module knows strengths and weights: nothing of tensors, or of other models but a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.formula import BASE, Difference, Formula, plausibility_mask
from langchain_amulet.methods.guidance import PROBE, guided, side_by_side
from langchain_amulet.methods.method import Guidance, Method, prompted
from langchain_amulet.methods.strengths import check_finite
from langchain_amulet.steering import Plan, Stream, TopP
from langchain_amulet.steering.checks import is_finite


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
                f"weights must be a list of numbers, one per preference, not {self.weights!r}: "
                f"write it as Drift({example}) or 'drift:weights={list(example)}'."
            )
        for weight in self.weights:
            check_finite("A weight", weight, "0.0 for an attribute that doesn't matter")
        if not (is_finite(self.beta) and self.beta > 0.0):
            raise ConfigurationError(
                f"beta must be finite and above 0, not {self.beta!r}: 1.0 takes the weights as "
                "they are."
            )
        self.plan([Guidance()] * (len(self.weights) or 1))

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """A stream for each preference, and the base stream.

        Raises:
            ConfigurationError: There are weights, but not as many as preferences.
        """
        if self.weights and preferences and len(self.weights) != len(preferences):
            raise ConfigurationError(
                f"Drift needs one weight per preference, but has {len(self.weights)} weights for "
                f"{len(preferences)} preferences: give one for each, or none for 1.0 each."
            )
        weights = self.weights or (1.0,) * len(preferences)
        differences = [
            Difference(
                pull.weight * pull.own(weight) / self.beta,
                Stream((k,), self.model),
                Stream(model=self.model),
            )
            for k, (pull, weight) in enumerate(zip(preferences, weights, strict=False))
        ]
        mask = plausibility_mask(self.plausibility)
        return Formula(BASE, differences).plan(mask, self.kl_cap)
