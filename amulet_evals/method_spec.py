"""Methods as a config file or a command line spells them: as everywhere, and by ``module:Name``.

A text that is a call's argument must not name code to import. Who writes an evaluation's settings
runs its code anyway.
"""

from __future__ import annotations

from langchain_amulet.methods import Method, as_method
from langchain_amulet.registry import import_named


def method_of(value: Method | str | float) -> Method:
    """A method, given as for `as_method`; its text may name code, as ``package.module:name``.

    Raises:
        ConfigurationError: It isn't a method, or what it names can't be imported.
    """
    return as_method(value, import_named)
