"""Methods as an evaluation's settings spell them: as everywhere, and best-of-n with its scorer.

Elsewhere a scorer can't be spelled: a text that is a call's argument must not name code to import.
Who writes an evaluation's settings runs its code anyway.

This module knows names of methods: nothing of what they do.
"""

from __future__ import annotations

from langchain_amulet.imports import load
from langchain_amulet.methods import BestOf, Method, as_method
from langchain_amulet.methods.spec import make_method, read_spec


def method_of(value: Method | str | float) -> Method:
    """A method, given as for `as_method`, or as ``best_of:n=16,scorer=package.module:name``.

    Raises:
        ConfigurationError: It isn't a method, or its scorer can't be imported.
    """
    if not isinstance(value, str) or value.partition(":")[0].strip() != BestOf.name:
        return as_method(value)
    _, given = read_spec(value)
    if "scorer" in given:
        given["scorer"] = load(given["scorer"])
    return make_method(BestOf, given)
