"""Steering methods as data: which streams, which weights, which mask.

A `Method` turns what the call's preferences bring (a `Pull` each) into a `Plan`. All of the
guided ones are the same guidance with strengths of their own origin:

=================  ============================================================
`Base`             the conversation alone
`Pref`             the conversation with the preferences in its prompt
`LinearAlignment`  l_pref + ratio (l_pref - l_base), without a mask
`Amulet`           l_pref + d (l_pref - l_base), d derived from the paper's loop
=================  ============================================================

Several preferences are combined by context steering, l_base + sum_k w_k (1 + d_k) (l_k - l_base).

This module knows neither tensors nor models, and no preference's text: only how strongly it pulls.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from langchain_amulet import steering
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.steering import Contrast, Plan, Stream

STRENGTHS: Mapping[str, float] = MappingProxyType(
    {"subtle": 0.5, "balanced": 1.0, "strong": 2.0, "amulet": steering.strength()}
)
"""Names for strengths. 0 would be the plain prompt, -1 the base prompt."""


def resolve_strength(value: float | str) -> float:
    """The number that a strength, given as a number or as one of `STRENGTHS`, stands for.

    Raises:
        ConfigurationError: The name is unknown, or the number isn't finite.
    """
    names = ", ".join(repr(name) for name in STRENGTHS)
    if isinstance(value, str):
        if value not in STRENGTHS:
            raise ConfigurationError(
                f"A strength's name must be one of {names}, not {value!r}: "
                "use one of those, or a number."
            )
        return STRENGTHS[value]
    if not _is_finite(value):
        raise ConfigurationError(
            f"A strength must be a finite number or a name, not {value!r}: "
            f"use a number such as 1.0, or one of {names}."
        )
    return float(value)


@dataclass(frozen=True)
class Pull:
    """What one preference brings to a method.

    Attributes:
        strength: Its own strength, in place of the method's; None for the method's.
        weight: Its share beside the call's other preferences; 0 leaves it out.
    """

    strength: float | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse numbers that no method could use."""
        if self.strength is not None:
            _check_finite("A preference's strength", self.strength, "None for the method's own")
        if not (_is_finite(self.weight) and self.weight >= 0.0):
            raise ConfigurationError(
                f"A preference's weight must be a finite number, at least 0, not {self.weight!r}: "
                "to push away from a preference, give it a strength below -1."
            )


class Method(ABC):
    """How preferences become a plan. Subclasses are frozen dataclasses."""

    name: ClassVar[str]
    """The method's name in settings and reports."""

    @abstractmethod
    def plan(self, preferences: Sequence[Pull]) -> Plan:
        """The plan for a call with these preferences; without any, the base prompt alone.

        Raises:
            ConfigurationError: Strength times weight is beyond what scores can carry.
        """


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
        return Plan.plain(tuple(k for k, pull in enumerate(preferences) if pull.weight > 0.0))


@dataclass(frozen=True)
class LinearAlignment(Method):
    """Linear Alignment as Amulet's paper compares with it: a fixed ratio, no mask.

    Attributes:
        ratio: The strength d in ``l_pref + d (l_pref - l_base)``.
    """

    name: ClassVar[str] = "linear_alignment"
    ratio: float = 2.0

    def __post_init__(self) -> None:
        """Refuse a ratio that isn't a number."""
        _check_finite("ratio", self.ratio, "2.0, as in the paper")
        self.plan([Pull()])  # refuses a ratio that scores could not carry

    def plan(self, preferences: Sequence[Pull]) -> Plan:
        """Guidance at ``ratio``, or at the preferences' own strengths."""
        return _guided(preferences, self.ratio)


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
        # A plan checks what it is made of: better now than at the first call. The second pull
        # makes it a guided one even at the strengths that leave a single prompt.
        self.plan([Pull(), Pull(strength=1.0)])

    @classmethod
    def with_strength(
        cls, strength: float | str, plausibility: float = 0.1, kl_cap: float | None = None
    ) -> Amulet:
        """Amulet at a given strength: a number, or one of the names in `STRENGTHS`."""
        return cls(plausibility=plausibility, strength=strength, kl_cap=kl_cap)

    @classmethod
    def paper(cls) -> Amulet:
        """The paper's own settings: derived strength, every token allowed."""
        return cls(plausibility=0.0)

    def plan(self, preferences: Sequence[Pull]) -> Plan:
        """Guidance at ``strength``, or at the preferences' own, with the mask and the cap."""
        return _guided(preferences, self.strength, self.plausibility, self.kl_cap)


def _guided(
    preferences: Sequence[Pull],
    strength: float,
    plausibility: float = 0.0,
    kl_cap: float | None = None,
) -> Plan:
    """Guidance by any number of preferences; ``strength`` is for those without their own.

    A preference's force is what multiplies ``l_k - l_base`` on top of the base stream. At 0 the
    preference is out. Below 0 it is pushed away from, so what it finds plausible can't be the
    measure: the reference is made of the others, or is the base prompt if there are none.
    """
    forces = {
        k: force for k, pull in enumerate(preferences) if (force := _force(pull, strength)) != 0.0
    }
    if not forces:
        return Plan.plain()
    if list(forces.values()) == [1.0]:
        return Plan.plain(tuple(forces))
    base = len(forces)
    towards = {row: preferences[k].weight for row, k in enumerate(forces) if forces[k] > 0.0}
    # One preference is anchored at its own stream: the same scores, and what is impossible there
    # stays impossible.
    anchor = 0 if base == 1 and towards else base
    offset = 1.0 if anchor != base else 0.0
    return Plan(
        streams=(*(Stream((k,)) for k in forces), Stream()),
        anchor=anchor,
        contrasts=tuple(
            Contrast(force - offset, row, base) for row, force in enumerate(forces.values())
        ),
        reference=_shares(towards or {base: 1.0}),
        plausibility=plausibility,
        kl_cap=kl_cap,
    )


def _force(pull: Pull, strength: float) -> float:
    return pull.weight * (1.0 + (strength if pull.strength is None else pull.strength))


def _shares(weights: Mapping[int, float]) -> tuple[tuple[int, float], ...]:
    total = math.fsum(weights.values())
    shares = ((row, weight / total) for row, weight in weights.items())
    return tuple((row, share) for row, share in shares if share > 0.0)  # tiny ones underflow


def _is_finite(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return math.isfinite(value)


def _check_finite(what: str, value: object, remedy: str) -> None:
    if not _is_finite(value):
        raise ConfigurationError(f"{what} must be a finite number, not {value!r}: use {remedy}.")
