"""Which packages are ours: who calls them is warned, and told which others are to be installed.

Knows names of packages. Doesn't know what they are needed for, or what is warned of.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from langchain_amulet.errors import MissingExtraError

OWN = frozenset({"langchain_amulet", "amulet_evals", "amulet_server"})
"""The packages that this distribution holds."""

BETWEEN = OWN | {
    "asyncio",
    "concurrent",
    "contextvars",
    "threading",
    "langchain",
    "langchain_core",
    "langgraph",
}
"""The packages through which a program's call gets to ours."""


@contextmanager
def needing(extra: str, what: str) -> Iterator[None]:
    """Say which extra is to be installed where an import lacks a package that comes with it.

    Args:
        extra: The name of the extra.
        what: What needs it, for the message.

    Raises:
        MissingExtraError: A package isn't installed, other than our own.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in OWN:
            raise  # a mistake of ours, which no installation mends
        raise MissingExtraError(
            f"{what} must have the package {package}, which isn't installed: install the extra "
            f"that brings it, as in pip install 'langchain-amulet[{extra}]'."
        ) from error


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn whoever called: the warning's place is the nearest code that isn't a library's of ours.

    Args:
        message: What it says.
        category: Its kind.
    """
    frame, level = sys._getframe(1), 2
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
