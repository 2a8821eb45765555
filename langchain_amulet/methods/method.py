"""What a method is: preferences in, a plan out.

This module knows how strongly preferences pull: nothing of any method in particular.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import uuid4

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.strengths import check_finite
from langchain_amulet.steering import Plan
from langchain_amulet.steering.checks import is_finite


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
                f"A preference's weight must be a finite number, at least 0, not {self.weight!r}: "
                "to push away from a preference, give it a strength below -1."
            )
        if isinstance(self.layer, bool) or not isinstance(self.layer, int) or self.layer < 0:
            raise ConfigurationError(
                f"A preference's layer must be a whole number, at least 0, not {self.layer!r}: "
                "0 is for stored preferences, 1 for the call's."
            )

    def own(self, strength: float) -> float:
        """Its strength, if ``strength`` is the method's."""
        return strength if self.strength is None else self.strength


class Method(ABC):
    """How preferences become a plan. Subclasses are frozen dataclasses."""

    name: ClassVar[str]
    """The method's name in settings and reports."""

    @abstractmethod
    def plan(self, preferences: Sequence[Guidance]) -> Plan:
        """The plan for a call with these preferences; without any, the base prompt alone.

        Raises:
            ConfigurationError: Strength times weight is beyond what scores can carry.
        """


def own_key() -> Any:
    """A field that tells a method which holds a function from all others where it is printed.

    Caches tell calls apart by that, and a function's address may be another's tomorrow.
    """
    return field(default_factory=lambda: uuid4().hex, init=False, compare=False)


def layers(preferences: Sequence[Guidance]) -> list[tuple[int, ...]]:
    """Indices of the preferences that count, layer by layer, the lowest first."""
    found: dict[int, list[int]] = {}
    for k, pull in enumerate(preferences):
        if pull.weight > 0.0:
            found.setdefault(pull.layer, []).append(k)
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
    pulls = [preferences[k] for k in chosen]
    total = math.fsum(pull.weight for pull in pulls)
    return math.fsum(pull.weight / total * pull.own(strength) for pull in pulls)
