"""How strongly to steer, in words or numbers.

Knows numbers only.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from langchain_amulet import steering
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.validation.checks import is_finite
from langchain_amulet.validation.wording import choose, quoted

STRENGTHS: Mapping[str, float] = MappingProxyType(
    {"subtle": 0.5, "balanced": 1.0, "strong": 2.0, "amulet": steering.strength()}
)
"""Names for strengths. 0 would be the prompted distribution, -1 the base one."""


def resolve_strength(value: float | str) -> float:
    """The number that a strength, given as a number or as one of `STRENGTHS`, stands for.

    Raises:
        ConfigurationError: The name is unknown, or the number isn't finite.
    """
    names = ", ".join(repr(name) for name in STRENGTHS)
    if isinstance(value, str):
        if value not in STRENGTHS:
            raise ConfigurationError(
                f"A strength's name must be one of {names}, not {quoted(value)}: "
                f"{choose(value, STRENGTHS)} one of those, or a number."
            )
        return STRENGTHS[value]
    if not is_finite(value):
        raise ConfigurationError(
            f"A strength must be a finite number or a name, not {quoted(value)}: "
            f"use a number such as 1.0, or one of {names}."
        )
    return float(value)


def check_finite(what: str, value: object, remedy: str) -> None:
    """Refuse what isn't a finite number, with `ConfigurationError`."""
    if not is_finite(value):
        raise ConfigurationError(
            f"{what} must be a finite number, not {quoted(value)}: use {remedy}."
        )
