"""Amulet's optimisation: as the guidance that it collapses to, and for a utility of one's own.

This module knows the optimisation's parameters: nothing of tensors, or of how preferences combine.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from langchain_amulet import steering
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.formula import BASE, plausibility_mask
from langchain_amulet.methods.guidance import PROBE, guided
from langchain_amulet.methods.method import Guidance, Method, own_key, prompted
from langchain_amulet.methods.strengths import resolve_strength
from langchain_amulet.steering import Plan, Solver, Stream, Utility

UNBOUNDED = 100.0
"""A strength that only a cap stops: the distribution is all but the contrast's favourite token."""


@dataclass(frozen=True, init=False)
class Amulet(Method):
    """Amulet (arXiv 2502.19148): guidance whose strength its optimisation derives.

    Attributes:
        alpha: Weight of the utility.
        lam: Pull back towards the prompted distribution, above 0.
        eta: Learning rate, above 0.
        updates: How many updates the optimisation makes.
        plausibility: Tokens below this share of the likeliest prompted one are dropped.
        strength: d in ``l_pref + d (l_pref - l_base)``. `dataclasses.replace` keeps it unless it
            is replaced too.
        kl_cap: Most that steering may move one token's distribution, in nats; None for no limit.
    """

    name: ClassVar[str] = "amulet"
    alpha: float
    lam: float
    eta: float
    updates: int
    plausibility: float
    strength: float
    kl_cap: float | None

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
        """Derive the strength from the first four, unless ``strength`` gives or names it.

        Raises:
            ConfigurationError: A value is outside its range.
        """
        derived = steering.strength(alpha, lam, eta, updates)
        # A frozen dataclass can only be filled past its own __setattr__.
        self.__dict__.update(
            alpha=alpha,
            lam=lam,
            eta=eta,
            updates=updates,
            plausibility=plausibility,
            strength=derived if strength is None else resolve_strength(strength),
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


@dataclass(frozen=True)
class Iterated(Method):
    """Amulet's optimisation for a utility of one's own, run for every token.

    Attributes:
        utility: ``utility(log_policy, log_base)``, what each token is worth, three tensors of one
            shape; see `langchain_amulet.steering.Solver` for which tokens it is given.
        lam: Pull back towards the prompted distribution, above 0.
        eta: Learning rate, above 0.
        updates: How many updates it makes.
        plausibility: Tokens below this share of the likeliest prompted one are dropped.
            0 keeps all, which costs the whole vocabulary times ``updates`` per token.
        kl_cap: Most that steering may move one token's distribution, in nats; None for no limit.
    """

    name: ClassVar[str] = "iterated"
    utility: Utility
    lam: float = 2.0
    eta: float = 10.0
    updates: int = 60
    plausibility: float = field(default=0.1, kw_only=True)
    kl_cap: float | None = field(default=None, kw_only=True)
    key: str = own_key()

    def __post_init__(self) -> None:
        """Refuse what no plan could be made of."""
        if not callable(self.utility):
            raise ConfigurationError(
                "utility must be a function of two tensors, the policy's and the base prompt's "
                f"log-probabilities, not {self.utility!r}: see langchain_amulet.steering.Utility."
            )
        self.plan(PROBE)

    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """The prompt with all preferences, to be optimised; their strengths don't matter."""
        if not (chosen := prompted(preferences)):
            return Plan.plain()
        return Plan(
            streams=(Stream(chosen), BASE),
            anchor=0,
            reference=((0, 1.0),),
            mask=plausibility_mask(self.plausibility),
            kl_cap=self.kl_cap,
            solver=Solver(1, self.utility, self.lam, self.eta, self.updates),
        )
