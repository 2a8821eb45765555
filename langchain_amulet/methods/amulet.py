"""Amulet's optimisation, as the guidance that it collapses to.

Knows how its strength is derived. Doesn't know tensors, or how preferences combine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from langchain_amulet import steering
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.formula import plausibility_mask
from langchain_amulet.methods.guidance import PROBE, Guidance, guided
from langchain_amulet.methods.method import Method
from langchain_amulet.methods.registry import register
from langchain_amulet.methods.strengths import STRENGTHS, resolve_strength
from langchain_amulet.steering import Plan
from langchain_amulet.validation.wording import quoted

UNBOUNDED = 100.0
"""A strength that only a cap stops: the distribution is all but the contrast's favourite token."""


@register
@dataclass(frozen=True, init=False)
class Amulet(Method):
    """Amulet (arXiv 2502.19148): guidance whose strength its optimisation derives.

    The optimisation's parameters are where its strength comes from, and nothing else of them is
    left: `Amulet` holds the strength alone. `dataclasses.replace` keeps it unless a strength is
    given; for one that is derived otherwise make another `Amulet`.

    Attributes:
        strength: d in ``l_pref + d (l_pref - l_base)``.
        plausibility: Tokens below this share of the likeliest prompted one are dropped.
        kl_cap: Most that steering may move one token's distribution, in nats; None for no limit.
    """

    name: ClassVar[str] = "amulet"
    strength: float = STRENGTHS["amulet"]
    plausibility: float = 0.1
    kl_cap: float | None = None

    def __init__(
        self,
        alpha: float = 2.0,
        lam: float = 2.0,
        eta: float = 10.0,
        updates: int = 60,
        plausibility: float = 0.1,
        *,
        strength: float | str | None = None,
        kl_cap: float | None = None,
    ) -> None:
        """Derive the strength from the first four, or take the one that is given.

        Args:
            alpha: Weight of the utility.
            lam: Pull back towards the prompted distribution, above 0.
            eta: Learning rate, above 0.
            updates: How many updates the optimisation makes.
            plausibility: See the attribute.
            strength: The strength, as a number or as one of `STRENGTHS`, in place of the first
                four.
            kl_cap: See the attribute.

        Raises:
            ConfigurationError: A value is outside its range, or a strength is given beside what
                it would be derived from.
        """
        derived = steering.strength(alpha, lam, eta, updates)
        if strength is not None and derived != STRENGTHS["amulet"]:
            raise ConfigurationError(
                "A strength is either given or derived from alpha, lam, eta and updates, but "
                f"{quoted(strength)} is given and {derived:g} derived: leave either out."
            )
        # A frozen dataclass can only be filled past its own __setattr__.
        self.__dict__.update(
            strength=derived if strength is None else resolve_strength(strength),
            plausibility=plausibility,
            kl_cap=kl_cap,
        )
        self.plan(PROBE)

    @classmethod
    def with_strength(
        cls, strength: float | str, plausibility: float = 0.1, kl_cap: float | None = None
    ) -> Amulet:
        """Amulet at a given strength: a number, or one of the names in `STRENGTHS`."""
        return cls(plausibility=plausibility, strength=strength, kl_cap=kl_cap)

    @classmethod
    def within(cls, nats: float, plausibility: float = 0.1) -> Amulet:
        """Amulet at no fixed strength: token by token, as strong as a divergence lets it be.

        Args:
            nats: Most that steering may move one token's distribution from the prompted one.
                Unlike a strength it means the same for every model and preference.
            plausibility: As above.
        """
        return cls(plausibility=plausibility, strength=UNBOUNDED, kl_cap=nats)

    @classmethod
    def paper(cls) -> Amulet:
        """The paper's own settings: derived strength, every token allowed."""
        return cls(plausibility=0.0)

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """Guidance at ``strength``, or at the preferences' own, with the mask and the cap."""
        mask = plausibility_mask(self.plausibility)
        return guided(preferences, self.strength, mask, self.kl_cap)
