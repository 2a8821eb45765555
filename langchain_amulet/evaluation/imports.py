"""Things of one's own, named as ``package.module:name``.

This module knows Python's imports: nothing of what is imported.
"""

from __future__ import annotations

import importlib
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
    folder = str(Path.cwd())
    if folder not in sys.path:  # as with `python -m`; a console script leaves it out
        sys.path.append(folder)
    try:
        return reduce(getattr, name.split("."), importlib.import_module(module))
    except (ModuleNotFoundError, AttributeError) as error:
        raise ConfigurationError(
            f"{path!r} must be importable from the folder one works in, but isn't: {error}. "
            "Check the name, and where the command is run."
        ) from error
