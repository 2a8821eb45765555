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
Those of several layers, such as a user's stored ones and the call's, are nested: each layer is
measured against the prompt with the layers below it. For a stored layer s and the call's on top::

    l_sc + d_c (l_sc - l_s) + d_s (l_s - l_base)

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

BASE = Stream()
"""The conversation as it was given."""


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
        layer: What it stands on: preferences of layer 1, the call's, are measured on top of those
            of layer 0, the stored ones.
    """

    strength: float | None = None
    weight: float = 1.0
    layer: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that no method could use."""
        if self.strength is not None:
            _check_finite("A preference's strength", self.strength, "None for the method's own")
        if not (_is_finite(self.weight) and self.weight >= 0.0):
            raise ConfigurationError(
                f"A preference's weight must be a finite number, at least 0, not {self.weight!r}: "
                "to push away from a preference, give it a strength below -1."
            )
        if isinstance(self.layer, bool) or not isinstance(self.layer, int) or self.layer < 0:
            raise ConfigurationError(
                f"A preference's layer must be a whole number, at least 0, not {self.layer!r}: "
                "0 is for stored preferences, 1 for the call's."
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
        return Plan.plain(tuple(k for layer in _layers(preferences) for k in layer))


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
    layers = _layers(preferences)
    if len(layers) > 1:
        terms = _nested([(layer, 1.0 + _mean(preferences, layer, strength)) for layer in layers])
    else:
        forces = {k: _force(preferences[k], strength) for layer in layers for k in layer}
        forces = {k: force for k, force in forces.items() if force != 0.0}
        if len(forces) > 1:
            terms = _context(forces, preferences)
        else:
            terms = _nested([((k,), force) for k, force in forces.items()])
    if not any(contrast.weight for contrast in terms.contrasts):
        return Plan.plain(terms.anchor.preferences)
    return terms.plan(plausibility, kl_cap)


@dataclass(frozen=True)
class _Difference:
    """``weight (l_plus - l_minus)``, where a stream is named by its preferences."""

    weight: float
    plus: Stream
    minus: Stream = BASE


@dataclass(frozen=True)
class _Terms:
    """A plan before its streams have rows."""

    anchor: Stream
    contrasts: Sequence[_Difference]
    reference: Mapping[Stream, float]

    def plan(self, plausibility: float, kl_cap: float | None) -> Plan:
        """The plan, with a row for each stream that it reads."""
        contrasts = [each for each in self.contrasts if each.weight != 0.0]
        plus, minus = [each.plus for each in contrasts], [each.minus for each in contrasts]
        streams = tuple(dict.fromkeys([*plus, self.anchor, *minus, *self.reference]))
        row = {stream: index for index, stream in enumerate(streams)}
        return Plan(
            streams=streams,
            anchor=row[self.anchor],
            contrasts=tuple(
                Contrast(each.weight, row[each.plus], row[each.minus]) for each in contrasts
            ),
            reference=_shares({row[stream]: share for stream, share in self.reference.items()}),
            plausibility=plausibility,
            kl_cap=kl_cap,
        )


def _context(forces: Mapping[int, float], preferences: Sequence[Pull]) -> _Terms:
    """Context steering: each preference in a prompt of its own, against the base prompt."""
    towards = {Stream((k,)): preferences[k].weight for k, force in forces.items() if force > 0.0}
    contrasts = [_Difference(force, Stream((k,))) for k, force in forces.items()]
    return _Terms(BASE, contrasts, towards or {BASE: 1.0})


def _nested(layers: Sequence[tuple[tuple[int, ...], float]]) -> _Terms:
    """Each layer's preferences in the prompt, with those below, against the prompt below.

    The sum over layers of ``force (l_layer - l_below)`` on top of the base stream, written from
    the topmost prompt that is steered towards: the same scores, and what is impossible there
    stays impossible. What is pushed away from is no part of the prompts above it.
    """
    below, contrasts = BASE, []
    for layer, force in layers:
        if force == 0.0:
            continue
        above = Stream((*below.preferences, *layer))
        contrasts.append(_Difference(force - 1.0 if force > 0.0 else force, above, below))
        below = above if force > 0.0 else below
    return _Terms(below, contrasts, {below: 1.0})


def _layers(preferences: Sequence[Pull]) -> list[tuple[int, ...]]:
    """Indices of the preferences that count, layer by layer, the lowest first."""
    found: dict[int, list[int]] = {}
    for k, pull in enumerate(preferences):
        if pull.weight > 0.0:
            found.setdefault(pull.layer, []).append(k)
    return [tuple(found[layer]) for layer in sorted(found)]


def _force(pull: Pull, strength: float) -> float:
    return pull.weight * (1.0 + _own(pull, strength))


def _mean(preferences: Sequence[Pull], layer: Sequence[int], strength: float) -> float:
    """A layer's strength: that of its preferences, each by its share."""
    pulls = [preferences[k] for k in layer]
    total = math.fsum(pull.weight for pull in pulls)
    return math.fsum(pull.weight / total * _own(pull, strength) for pull in pulls)


def _own(pull: Pull, strength: float) -> float:
    return strength if pull.strength is None else pull.strength


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
