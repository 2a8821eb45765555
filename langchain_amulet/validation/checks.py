"""Checks of single values: of types, flags, counts, seconds, functions and texts.

What is refused raises an error of the package. Knows nothing of what a value is for.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from types import NoneType
from typing import Any

from pydantic import TypeAdapter, ValidationError

from langchain_amulet.errors import AmuletError, ConfigurationError
from langchain_amulet.validation.wording import quoted

LONGEST_WAIT = 1e8
"""The most seconds that anything may be waited for, three years: clocks count no further."""

FLAG = TypeAdapter(bool)


def is_finite(value: object) -> bool:
    """Whether it is a number that one can calculate with: neither infinite nor NaN, no bool."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all that floats reach
        return False


def as_flag(name: str, value: object) -> bool:
    """A truth value as pydantic reads it, where one is needed before the settings are checked.

    Args:
        name: What is set.
        value: What it is to be.

    Raises:
        ConfigurationError: It isn't one.
    """
    if isinstance(value, bool):
        return value
    try:
        return FLAG.validate_python(value)
    except ValidationError:
        raise ConfigurationError(
            f"{name!r} can't be {quoted(value)}: it must be True or False."
        ) from None


def check_type(
    name: str, value: object, *kinds: type, error: type[AmuletError] = ConfigurationError
) -> None:
    """Refuse what is of none of these types.

    Args:
        name: What is given.
        value: What it is.
        kinds: The types that it may have.
        error: What to raise.
    """
    if isinstance(value, kinds):
        return
    known = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
    raise error(f"{name} must be of type {known}, not {quoted(value)}: give one.")


def check_whole(name: str, text: str, error: type[AmuletError]) -> None:
    """Refuse a text that holds half a character, a surrogate by itself, which nobody can write.

    Args:
        name: What is given.
        text: What it is.
        error: What to raise.
    """
    try:
        text.encode()
    except UnicodeEncodeError as found:
        raise error(
            f"{name} must be whole characters and hold no half of one, {text[found.start]!r}: take "
            "it out, or put its other half beside it."
        ) from None


def check_callable(name: str, value: object) -> None:
    """Refuse what can't be called, with `ConfigurationError`."""
    if not callable(value):
        raise ConfigurationError(f"{name} must be a function, not {quoted(value)}: give one.")


def check_count(name: str, value: Any, least: int = 0, most: float = math.inf) -> None:
    """Refuse what is no whole number from ``least`` to ``most``, with `ConfigurationError`."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not (is_whole and least <= value <= most):
        bounds = f"at least {least}" + (f" and at most {most:g}" if most < math.inf else "")
        raise ConfigurationError(
            f"{name} must be a whole number, {bounds}, not {quoted(value)}: give one, or leave it "
            "out for the default."
        )


def check_timeout(value: Any) -> None:
    """Refuse what is no number of seconds to wait, nor None, with `ConfigurationError`."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not (is_number and 0.0 < value <= LONGEST_WAIT):
        raise ConfigurationError(
            f"timeout must be a number of seconds above 0 and at most {LONGEST_WAIT:g}, not "
            f"{quoted(value)}: use None to wait without a limit."
        )


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """What a function takes; None for some that are written in C, which don't tell."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None
