"""How the streams of a request become one distribution, as data.

Knows indices and weights. Doesn't know tensors, and of models only their names.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import NoneType

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.steering.masks import BUILT_IN, Mask
from langchain_amulet.steering.optimiser import Utility, amulet_utility, check_optimiser
from langchain_amulet.validation.checks import check_callable, check_count, check_type, is_finite
from langchain_amulet.validation.wording import quoted

LARGEST_WEIGHT = 1e6  # a contrast beyond this drowns the anchor in float32's rounding


@dataclass(frozen=True)
class Stream:
    """One prompt of a request.

    Attributes:
        preferences: Which of the call's preferences it includes, by their index.
        model: The name of the model that reads it; None for the one that answers.
    """

    preferences: tuple[int, ...] = ()
    model: str | None = None

    def __post_init__(self) -> None:
        """Refuse what names no preferences, or no model."""
        check_type("preferences", self.preferences, tuple)
        for index in self.preferences:
            check_count("A preference's index", index)
        check_type("model", self.model, str, NoneType)


@dataclass(frozen=True)
class Contrast:
    """``weight (l_plus - l_minus)``, where ``plus`` and ``minus`` are indices of streams."""

    weight: float
    plus: int
    minus: int

    def __post_init__(self) -> None:
        """Refuse weights that float32 scores can't carry."""
        check_type("plus", self.plus, int)
        check_type("minus", self.minus, int)
        if not (is_finite(self.weight) and abs(self.weight) <= LARGEST_WEIGHT):
            raise ConfigurationError(
                f"A contrast's weight must be at most {LARGEST_WEIGHT:g} either way, "
                f"not {quoted(self.weight)}: lower the preference's strength or weight."
            )


@dataclass(frozen=True)
class Solver:
    """Amulet's optimisation for a utility of one's own, see `iterate`.

    It starts from the anchor and takes the place of the contrasts. Its policies are distributions
    over the tokens that the mask keeps; the utility is given these alone, in the order of their
    ids, both distributions renormalised.

    Attributes:
        base: Index of the stream that the utility compares with.
        utility: What each token is worth.
        lam: Pull back towards the anchor, above 0.
        eta: Learning rate, above 0.
        updates: How many updates are made.
    """

    base: int
    utility: Utility = amulet_utility
    lam: float = 2.0
    eta: float = 10.0
    updates: int = 60

    def __post_init__(self) -> None:
        """Refuse parameters at which the optimisation isn't one."""
        check_type("base", self.base, int)
        check_callable("utility", self.utility)
        check_optimiser(self.lam, self.eta, self.updates)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the streams of a request become one distribution.

    Attributes:
        streams: The prompts, in the order of the rows that `steer` is given.
        anchor: Index of the stream that the contrasts are added to.
        contrasts: What is added to it.
        reference: The prompted distribution, which the mask and the cap are measured
            against: a mixture of ``(stream, weight)`` pairs, whose weights sum to 1. What it is
            prompted with is the method's choice: mostly the preferences, for some nothing.
        mask: Which tokens may be chosen; None for all.
        kl_cap: Most that steering may move one token's distribution, in nats; None for no limit.
        solver: What takes the place of the contrasts; None for nothing.
    """

    streams: tuple[Stream, ...]
    anchor: int
    contrasts: tuple[Contrast, ...] = ()
    reference: tuple[tuple[int, float], ...]
    mask: Mask | None = None
    kl_cap: float | None = None
    solver: Solver | None = None

    def __post_init__(self) -> None:
        """Refuse plans that don't fit together."""
        self._check_parts()
        used = {self.anchor, *(stream for stream, _ in self.reference)}
        used.update(index for each in self.contrasts for index in (each.plus, each.minus))
        used.update([] if self.solver is None else [self.solver.base])
        if not all(0 <= index < len(self.streams) for index in used):
            raise ConfigurationError(
                f"A plan's indices must name its {len(self.streams)} streams, counted from 0, "
                f"not {quoted(sorted(used))}: add the stream or mend the index."
            )
        weights = [weight for _, weight in self.reference]
        if not (all(weight > 0.0 for weight in weights) and abs(sum(weights) - 1.0) < 1e-6):
            raise ConfigurationError(
                f"A plan's reference weights must be above 0 and sum to 1, not {weights}: "
                "leave out streams of weight 0 and divide by the sum."
            )
        if self.kl_cap is not None and not (is_finite(self.kl_cap) and self.kl_cap >= 0.0):
            raise ConfigurationError(
                f"kl_cap must be finite and at least 0, not {quoted(self.kl_cap)}: use None for "
                "no cap."
            )
        if self.solver is not None and self.contrasts:
            raise ConfigurationError(
                f"A plan has either a solver or contrasts, not both, but has {self.solver} and "
                f"{self.contrasts}: leave one of them out."
            )

    def _check_parts(self) -> None:
        """Refuse parts that are none."""
        check_type("anchor", self.anchor, int)
        check_type("mask", self.mask, Mask, NoneType)
        check_type("solver", self.solver, Solver, NoneType)
        for name, kind in (("streams", Stream), ("contrasts", Contrast), ("reference", tuple)):
            parts = getattr(self, name)
            check_type(name, parts, tuple)
            for part in parts:
                check_type(f"What is in {name}", part, kind)
        pairs = (len(each) == 2 and type(each[0]) is int for each in self.reference)
        if not (all(pairs) and all(is_finite(weight) for _, weight in self.reference)):
            raise ConfigurationError(
                "A plan's reference must be pairs of a stream and its weight, not "
                f"{quoted(self.reference)}: give such pairs."
            )

    @classmethod
    def plain(cls, preferences: tuple[int, ...] = ()) -> Plan:
        """One prompt with these preferences in it, left as the model gives it."""
        return cls(streams=(Stream(preferences),), anchor=0, reference=((0, 1.0),))

    @property
    def is_plain(self) -> bool:
        """Whether there is one stream, with nothing to combine and nothing left out."""
        return len(self.streams) == 1 and not self.contrasts and self.mask is None

    @property
    def steers(self) -> bool:
        """Whether it leads away from its reference; a mask alone only leaves tokens out."""
        return self.solver is not None or any(each.weight for each in self.contrasts)

    @property
    def is_batched(self) -> bool:
        """Whether it can be computed together with others: it has no code of somebody's own."""
        return self.solver is None and (self.mask is None or type(self.mask) in BUILT_IN)

    @property
    def base(self) -> int | None:
        """Index of the answering model's stream without preferences, if there is one."""
        bare = (index for index, stream in enumerate(self.streams) if stream == Stream())
        return next(bare, None)

    def with_base(self) -> tuple[Plan, int]:
        """The same with a stream without preferences, if only to compare with, and its index."""
        if self.base is not None:
            return self, self.base
        return replace(self, streams=(*self.streams, Stream())), len(self.streams)

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the models that it needs besides the one that answers."""
        names = (stream.model for stream in self.streams if stream.model is not None)
        return tuple(dict.fromkeys(names))

    @property
    def masked(self) -> Plan:
        """The same streams and mask without steering."""
        return replace(self.unsteered, mask=self.mask)

    @property
    def unsteered(self) -> Plan:
        """The same streams without steering: the reference's own, of several the heaviest."""
        anchor = max(self.reference, key=lambda part: part[1])[0]
        return replace(self, anchor=anchor, contrasts=(), mask=None, kl_cap=None, solver=None)


def strengths(plan: Plan) -> float | list[float] | None:
    """How strongly a plan steers: d in ``l_pref + d (l_pref - l_base)``.

    A number for one preference, 0 if it is only part of the prompt; a list for several, in their
    order, or for several layers of them, the lowest first; None without any, and for a solver.
    Where other models have their say, the weights of what they say.
    """
    check_type("plan", plan, Plan)
    found = [_strength(plan, contrast) for contrast in plan.contrasts]
    if not found:
        is_prompted = plan.streams[plan.anchor].preferences and plan.solver is None
        return 0.0 if is_prompted else None
    return found[0] if len(found) == 1 else found


def _strength(plan: Plan, contrast: Contrast) -> float:
    plus = plan.streams[contrast.plus]
    # What isn't in the anchor's prompt counts from the base stream, not from its own.
    is_anchored = set(plus.preferences) <= set(plan.streams[plan.anchor].preferences)
    return contrast.weight if plus.model or is_anchored else contrast.weight - 1.0
