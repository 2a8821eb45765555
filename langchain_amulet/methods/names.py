"""Methods by name, as settings and command lines give them.

This module knows which methods there are: nothing of what they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.guidance import (
    Amulet,
    Base,
    ContextSteering,
    Drift,
    Iterated,
    LinearAlignment,
    Pref,
)
from langchain_amulet.methods.method import Method
from langchain_amulet.methods.models import PAD, DeRa, ProxyTuning
from langchain_amulet.methods.strengths import STRENGTHS

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (Amulet(), Base(), Pref(), LinearAlignment(), ContextSteering(), Drift())
    }
)
"""Methods that can be chosen by name."""

PARTICULAR: Mapping[str, type[Method]] = MappingProxyType(
    {method.name: method for method in (Iterated, PAD, DeRa, ProxyTuning)}
)
"""Methods whose name doesn't say enough: they need a function, or other models."""


def as_method(value: Method | str | float) -> Method:
    """A method, given as itself, by its name, or by the name or number of Amulet's strength.

    Raises:
        ConfigurationError: The name is unknown.
    """
    if isinstance(value, Method):
        return value
    if isinstance(value, str) and value in METHODS:
        return METHODS[value]
    if isinstance(value, str) and value in PARTICULAR:
        raise ConfigurationError(
            f"method can't be {value!r} by name alone, as it needs a model or a function: pass "
            f"a {PARTICULAR[value].__name__}(...) of langchain_amulet.methods."
        )
    if isinstance(value, str) and value not in STRENGTHS:
        raise ConfigurationError(
            f"method must be one of {', '.join({**METHODS, **STRENGTHS})}, a number or a Method, "
            f"not {value!r}: use one of those."
        )
    return Amulet(strength=value)
