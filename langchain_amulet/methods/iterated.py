"""Amulet's optimisation for a utility of one's own, run for every token.

Knows the optimisation's parameters. Doesn't know tensors, or what a utility is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.formula import BASE, plausibility_mask
from langchain_amulet.methods.guidance import PROBE, Guidance, prompted
from langchain_amulet.methods.method import CODE, Method, unique_key
from langchain_amulet.methods.registry import register
from langchain_amulet.steering import Plan, Solver, Stream, Utility
from langchain_amulet.validation.wording import quoted


@register
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
        key: See `unique_key`.
    """

    name: ClassVar[str] = "iterated"
    utility: Utility = field(metadata=CODE)
    lam: float = 2.0
    eta: float = 10.0
    updates: int = 60
    plausibility: float = field(default=0.1, kw_only=True)
    kl_cap: float | None = field(default=None, kw_only=True)
    key: str = unique_key()

    def __post_init__(self) -> None:
        """Refuse what no plan could be made of."""
        if not callable(self.utility):
            raise ConfigurationError(
                "utility must be a function of two tensors, the policy's and the base prompt's "
                f"log-probabilities, not {quoted(self.utility)}: see "
                "langchain_amulet.steering.Utility."
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
