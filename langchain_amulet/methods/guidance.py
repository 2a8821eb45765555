"""Guidance by a call's preferences: how their strengths become weights of prompts.

One preference is the conversation with it against the conversation alone. Several are each in a
prompt of their own; those of several layers are nested.

This module knows pulls and formulas: nothing of any method in particular.
"""

from __future__ import annotations

from collections.abc import Sequence

from langchain_amulet.methods.formula import BASE, Difference, Formula
from langchain_amulet.methods.method import Guidance, layers, mean_strength, prompted
from langchain_amulet.steering import Mask, Plan, Stream

PROBE = (Guidance(), Guidance(strength=1.0))
"""For a plan to be made as soon as a method is: it checks the settings that it is made of. The
second preference makes it a guided one even at strengths that leave a single prompt."""


def guided(
    preferences: Sequence[Guidance], strength: float, mask: Mask | None, kl_cap: float | None
) -> Plan:
    """Guidance by any number of preferences; ``strength`` is for those without their own."""
    stacked = layers(preferences)
    if len(stacked) > 1:
        forces = [1.0 + mean_strength(preferences, layer, strength) for layer in stacked]
        formula = _stacked(list(zip(stacked, forces, strict=True)))
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
