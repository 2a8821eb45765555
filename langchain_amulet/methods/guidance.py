"""Guidance: what preferences bring to a method, and how that becomes weights of prompts.

One preference is the conversation with it against the conversation alone. Several are each in a
prompt of their own; those of several layers are nested.

Knows strengths, weights and formulas. Doesn't know any method, or what a preference says.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.formula import BASE, Difference, Formula
from langchain_amulet.methods.strengths import check_finite
from langchain_amulet.steering import Mask, Plan, Stream
from langchain_amulet.validation.checks import check_type, is_finite
from langchain_amulet.validation.wording import quoted


@dataclass(frozen=True)
class Guidance:
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
            check_finite("A preference's strength", self.strength, "None for the method's own")
        if not (is_finite(self.weight) and self.weight >= 0.0):
            raise ConfigurationError(
                "A preference's weight must be a finite number, at least 0, not "
                f"{quoted(self.weight)}: "
                "to push away from a preference, give it a strength below -1."
            )
        if isinstance(self.layer, bool) or not isinstance(self.layer, int) or self.layer < 0:
            raise ConfigurationError(
                "A preference's layer must be a whole number, at least 0, not "
                f"{quoted(self.layer)}: 0 is for stored preferences, 1 for the call's."
            )

    def strength_or(self, default: float) -> float:
        """Its own strength, or ``default``, the method's, if it has none."""
        return default if self.strength is None else self.strength


# The first preference meets a method's own numbers. The second, with a strength of its own, keeps
# the plan a steered one even where the first comes out as a single prompt, so that mask and cap
# are looked at, too; its weight is too small for it to hide a number of the first that is too big.
PROBE = (Guidance(), Guidance(strength=1.0, weight=1e-9))
"""For a plan to be made as soon as a method is: it checks the settings that it is made of."""


def layers(preferences: Sequence[Guidance]) -> list[tuple[int, ...]]:
    """Indices of the preferences that count, layer by layer, the lowest first."""
    check_type("preferences", preferences, Sequence)
    found: dict[int, list[int]] = {}
    for k, each in enumerate(preferences):
        check_type("What is in preferences", each, Guidance)
        if each.weight > 0.0:
            found.setdefault(each.layer, []).append(k)
    return [tuple(found[layer]) for layer in sorted(found)]


def prompted(preferences: Sequence[Guidance]) -> tuple[int, ...]:
    """Indices of the preferences that count, in the order in which one prompt holds them."""
    return tuple(k for layer in layers(preferences) for k in layer)


def mean_strength(preferences: Sequence[Guidance], chosen: Sequence[int], strength: float) -> float:
    """The strength of several preferences in one prompt: each one's own, by its share.

    Args:
        preferences: All of the call's.
        chosen: Indices of those in the prompt, one at least, with weights above 0.
        strength: For those without their own.
    """
    together = [preferences[k] for k in chosen]
    total = math.fsum(each.weight for each in together)
    return math.fsum(each.weight / total * each.strength_or(strength) for each in together)


def guided(
    preferences: Sequence[Guidance], strength: float, mask: Mask | None, kl_cap: float | None
) -> Plan:
    """The plan of guidance by any number of preferences.

    Args:
        preferences: All of the call's.
        strength: For those without their own.
        mask: Which tokens may be chosen; None for all.
        kl_cap: Most that steering may move one token's distribution, in nats; None for no limit.
    """
    nested = layers(preferences)
    if len(nested) > 1:
        forces = [1.0 + mean_strength(preferences, layer, strength) for layer in nested]
        formula = _stacked(list(zip(nested, forces, strict=True)))
    else:
        formula = side_by_side(preferences, prompted(preferences), strength)
    return formula.plan(mask, kl_cap)


def side_by_side(
    preferences: Sequence[Guidance], chosen: Sequence[int], strength: float
) -> Formula:
    """Context steering: each preference in a prompt of its own, against the base prompt.

    A preference's force is what multiplies ``l_k - l_base`` on top of the base stream. At 0 the
    preference is out. Below 0 it is pushed away from, so what it finds plausible can't be the
    measure: the reference is made of the others, or is the base prompt if there are none.
    """
    forces = {
        k: preferences[k].weight * (1.0 + preferences[k].strength_or(strength)) for k in chosen
    }
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
        # A prompt that becomes the anchor has its log-probability once already.
        differences.append(Difference(force - 1.0 if force > 0.0 else force, above, below))
        below = above if force > 0.0 else below
    return Formula(below, differences)
