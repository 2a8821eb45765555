"""Methods by name: the package's own, those of one's own, those that other packages bring.

Knows names and classes. Doesn't know how a method is typed, or what it does.
"""

from __future__ import annotations

from typing import Any, TypeGuard, TypeVar

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.method import Method, check_kind
from langchain_amulet.methods.strengths import STRENGTHS
from langchain_amulet.registry import Registry, place_of
from langchain_amulet.validation.wording import quoted

RESERVED = STRENGTHS.keys() - {"amulet"}  # whose own strength has its name
"""What means a strength of Amulet's where a method is given as text, and so names no method."""

Kind = TypeVar("Kind", bound=type[Method])


def is_kind(value: Any) -> TypeGuard[type[Method]]:
    """Whether it is a class of methods."""
    return isinstance(value, type) and issubclass(value, Method)


def _check(name: str, kind: Any) -> None:
    if not is_kind(kind):
        raise ConfigurationError(
            f"A method must be registered by its class, but {name!r} is {quoted(kind)}: name a "
            "subclass of Method."
        )
    check_kind(kind)
    if kind.name != name:
        raise ConfigurationError(
            f"A method must be registered by its own name, but {place_of(kind)}, which is "
            f"{kind.name!r}, is brought as {name!r}: mend the package that brings it."
        )
    if name in RESERVED:
        raise ConfigurationError(
            f"A method's name must not be a strength's, but {name!r} is one: give "
            f"{place_of(kind)} another one."
        )


def method_registry() -> Registry[type[Method]]:
    """A registry without methods: the package's own register themselves, where they are defined."""
    return Registry("method", "langchain_amulet.methods", _check)


METHODS = method_registry()
"""All methods. A decorator needs one place to register in; this is it."""


def register(kind: Kind) -> Kind:
    """Let a method be found by its name; returns the class, so that it can be a decorator.

    Raises:
        ConfigurationError: The name is taken, or the class isn't fit, see `check_kind`.
    """
    METHODS.add(getattr(kind, "name", ""), kind)
    return kind


def is_registered(kind: type[Method]) -> bool:
    """Whether just this class is found by its name."""
    return METHODS.get(getattr(kind, "name", "")) is kind
