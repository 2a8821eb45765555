"""Methods by name, as settings and command lines give them.

This module knows which methods there are: nothing of what they do.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.methods.amulet import Amulet
from langchain_amulet.methods.linear import ContextSteering, Drift, LinearAlignment
from langchain_amulet.methods.method import Method
from langchain_amulet.methods.models import PAD, DeRa, ProxyTuning
from langchain_amulet.methods.plain import Base, Pref
from langchain_amulet.methods.searches import BeamSearch, GuidedReranking
from langchain_amulet.methods.spec import make_method, read_spec
from langchain_amulet.methods.strengths import STRENGTHS
from langchain_amulet.validation import choose, nearest

METHODS: Mapping[str, type[Method]] = MappingProxyType(
    {
        kind.name: kind
        for kind in (
            *(Amulet, Base, Pref, LinearAlignment, ContextSteering),
            *(Drift, PAD, DeRa, ProxyTuning),
            *(BeamSearch, GuidedReranking),
        )
    }
)
"""Kinds of methods by their names, for all that can be typed."""

UNTYPED: Mapping[str, str] = MappingProxyType(
    {
        "best_of": "a scorer has no text, so use BestOf(n, scorer=...)",
        "iterated": "a utility has no text, so use Iterated(utility)",
    }
)
"""What to do about names of methods that hold a function, and so can't be typed."""


def as_method(value: Method | str | float) -> Method:
    """A method, given as itself or as text, or by the name or number of Amulet's strength.

    As text it is a name, with parameters where they differ from the method's own, or a number::

        "pref"  "strong"  "1.5"  "amulet:kl_cap=0.5,plausibility=0"  "pad:model=./reward,weight=1.5"

    Raises:
        ConfigurationError: The name or a parameter is unknown, or a value is out of its range.
    """
    if isinstance(value, Method):
        return value
    if not isinstance(value, str) or value in STRENGTHS:
        return Amulet(strength=value)
    if (strength := _number(value)) is not None:
        return Amulet(strength=strength)
    name, given = read_spec(value)
    if name not in METHODS:
        raise ConfigurationError(
            f"method must be one of {', '.join({**METHODS, **STRENGTHS})}, a number or a Method "
            f"such as BestOf(n, scorer=...), not {value!r}: {_remedy(name)}."
        )
    return make_method(METHODS[name], given)


def _remedy(name: str) -> str:
    """What to do about a name that no method has which could be typed."""
    known = [*METHODS, *STRENGTHS, *UNTYPED]
    meant = nearest(name, known)
    return UNTYPED.get(meant or "", f"{choose(name, known)} one of those")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
