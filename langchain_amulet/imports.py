"""Things of one's own, named as ``module:name``, whose module may be one of a package.

This module knows Python's imports: nothing of what is imported.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from functools import reduce
from pathlib import Path
from typing import Any

from langchain_amulet.errors import ConfigurationError


def load(path: str) -> Any:
    """What ``package.module:name`` names. Modules may lie in the folder one works in.

    Raises:
        ConfigurationError: There is no such module, or no such name in it.
    """
    module, _, name = path.partition(":")
    if not (module and name):
        raise ConfigurationError(
            f"Something of one's own is named package.module:name, not {path!r}: put a colon "
            "between the module and the name."
        )
    _look_here()
    try:
        return reduce(getattr, name.split("."), importlib.import_module(module))
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigurationError(
            f"{path!r} must be importable from the folder one works in, but isn't: {error}. "
            "Check the name, and where the command is run."
        ) from error


def is_there(path: str) -> bool:
    """Whether ``module:name`` is the name of something; a module is imported if there is one.

    Raises:
        ConfigurationError: The module needs one that isn't installed.
    """
    module, _, name = path.partition(":")
    _look_here()
    if not (name and module.isidentifier()):
        return False
    if module not in sys.modules and importlib.util.find_spec(module) is None:
        return False
    try:
        return hasattr(importlib.import_module(module), name.partition(".")[0])
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"{path!r} must be importable, but isn't: {error}. Install what its module needs."
        ) from error


def _look_here() -> None:
    """Have modules found in the folder one works in."""
    folder = str(Path.cwd())
    if folder not in sys.path:  # as with `python -m`; a console script leaves it out
        sys.path.append(folder)
