"""Methods that need one model: the same conversation with and without preferences.

This module knows how strengths become weights: nothing of tensors, or of other models but a name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from langchain_amulet import steering
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.method import Method, Pull, layers, mean_strength, own_key, prompted
from langchain_amulet.methods.strengths import check_finite, is_finite, resolve_strength
from langchain_amulet.methods.terms import BASE, Difference, Formula, plausibility_mask
from langchain_amulet.steering import Mask, Plan, Solver, Stream, TopP, Utility

UNBOUNDED = 100.0
"""A strength that only a cap stops: the distribution is all but the contrast's favourite token."""


@dataclass(frozen=True)
class Base(Method):
    """The conversation as it was given: no preference reaches the model."""

    name: ClassVar[str] = "base"

    def plan(self, preferences: Sequence[Pull]) -> Plan:
        """One base stream, whatever the preferences."""
        return Plan.plain()


@dataclass(frozen=True)
class Pref(Method):
    """The preferences as part of the prompt, and nothing more."""

    name: ClassVar[str] = "pref"

    def plan(self, preferences: Sequence[Pull]) -> Plan:
        """One stream whose prompt holds every preference with a weight above 0."""
        return Plan.plain(prompted(preferences))


@dataclass(frozen=True)
class LinearAlignment(Method):
    """Linear Alignment (arXiv 2401.11458): a fixed ratio.

    Without a mask as Amulet's paper compares with it, see `original` for its own authors' way.

    Attributes:
        ratio: The strength d in ``l_pref + d (l_pref - l_base)``.
        top_p: Choose from the fewest of the plain prompt's likeliest tokens that reach this
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

        Where the mask leaves no token that steering allows, the plain prompt decides.
        """
        return cls(ratio, top_p=0.8)

    def plan(self, preferences: Sequence[Pull]) -> Plan:
        """Guidance at ``ratio``, or at the preferences' own strengths."""
        mask = None if self.top_p is None else TopP(self.top_p)
        return _guided(preferences, self.ratio, mask, self.kl_cap)


@dataclass(frozen=True, init=False)
class Amulet(Method):
    """Amulet (arXiv 2502.19148): guidance whose strength its optimisation derives.

    Attributes:
        alpha: Weight of the utility.
        lam: Pull back towards the plain prompt, above 0.
        eta: Learning rate, above 0.
        updates: How many updates the optimisation makes.
        plausibility: Tokens below this share of the plain prompt's likeliest one are dropped.
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
            nats: Most that steering may move one token's distribution from the plain prompt's.
                Unlike a strength it means the same for every model and preference.
            plausibility: As above.
        """
        return cls(plausibility=plausibility, strength=UNBOUNDED, kl_cap=nats)

    @classmethod
    def paper(cls) -> Amulet:
        """The paper's own settings: derived strength, every token allowed."""
        return cls(plausibility=0.0)

    def plan(self, preferences: Sequence[Pull]) -> Plan:
        """Guidance at ``strength``, or at the preferences' own, with the mask and the cap."""
        mask = plausibility_mask(self.plausibility)
        return _guided(preferences, self.strength, mask, self.kl_cap)


@dataclass(frozen=True)
class Iterated(Method):
    """Amulet's optimisation for a utility of one's own, run for every token.

    Attributes:
        utility: ``utility(log_policy, log_base)``, what each token is worth, three tensors of one
            shape; see `langchain_amulet.steering.Solver` for which tokens it is given.
        lam: Pull back towards the plain prompt, above 0.
        eta: Learning rate, above 0.
        updates: How many updates it makes.
        plausibility: Tokens below this share of the plain prompt's likeliest one are dropped.
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

    def plan(self, preferences: Sequence[Pull]) -> Plan:
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


@dataclass(frozen=True)
class ContextSteering(Method):
    """Context steering (arXiv 2405.01768): every preference against the base prompt.

    Attributes:
        strength: d in ``l_base + sum_k w_k (1 + d) (l_k - l_base)``.
        plausibility: Tokens below this share of the plain prompts' likeliest one are dropped.
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

    def plan(self, preferences: Sequence[Pull]) -> Plan:
        """A stream for each preference, whatever its layer, and the base stream."""
        formula = _side_by_side(preferences, prompted(preferences), self.strength)
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
        for weight in self.weights:
            check_finite("A weight", weight, "0.0 for an attribute that doesn't matter")
        if not (is_finite(self.beta) and self.beta > 0.0):
            raise ConfigurationError(
                f"beta must be finite and above 0, not {self.beta!r}: 1.0 takes the weights as "
                "they are."
            )
        self.plan([Pull()] * (len(self.weights) or 1))

    def plan(self, preferences: Sequence[Pull]) -> Plan:
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


PROBE = (Pull(), Pull(strength=1.0))
"""For a plan to be made as soon as a method is: it checks the settings that it is made of. The
second preference makes it a guided one even at strengths that leave a single prompt."""


def _guided(
    preferences: Sequence[Pull], strength: float, mask: Mask | None, kl_cap: float | None
) -> Plan:
    """Guidance by any number of preferences; ``strength`` is for those without their own."""
    stacked = layers(preferences)
    if len(stacked) > 1:
        forces = [1.0 + mean_strength(preferences, layer, strength) for layer in stacked]
        formula = _stacked(list(zip(stacked, forces, strict=True)))
    else:
        formula = _side_by_side(preferences, prompted(preferences), strength)
    return formula.plan(mask, kl_cap)


def _side_by_side(preferences: Sequence[Pull], chosen: Sequence[int], strength: float) -> Formula:
    """Context steering: each preference in a prompt of its own, against the base prompt.

    A preference's force is what multiplies ``l_k - l_base`` on top of the base stream. At 0 the
    preference is out. Below 0 it is pushed away from, so what it finds plausible can't be the
    measure: the reference is made of the others, or is the base prompt if there are none.
    """
    forces = {k: preferences[k].weight * (1.0 + preferences[k].own(strength)) for k in chosen}
    forces = {k: force for k, force in forces.items() if force != 0.0}
    if len(forces) < 2:
        return _stacked([((k,), force) for k, force in forces.items()])
    towards = {Stream((k,)): preferences[k].weight for k, force in forces.items() if force > 0.0}
    differences = [Difference(force, Stream((k,))) for k, force in forces.items()]
    return Formula(BASE, differences, towards)


def _stacked(layers: Sequence[tuple[tuple[int, ...], float]]) -> Formula:
    """Each layer's preferences in the prompt, with those below, against the prompt below.

    The sum over layers of ``force (l_layer - l_below)`` on top of the base stream, written from
    the topmost prompt that is steered towards: the same scores, and what is impossible there
    stays impossible. What is pushed away from is no part of the prompts above it.
    """
    below, differences = BASE, []
    for layer, force in layers:
        if force == 0.0:
            continue
        above = Stream((*below.preferences, *layer))
        differences.append(Difference(force - 1.0 if force > 0.0 else force, above, below))
        below = above if force > 0.0 else below
    return Formula(below, differences)
