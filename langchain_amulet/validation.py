"""Pydantic's complaints as the package's own errors: rule, value, remedy.

This module knows nothing of what is validated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from langchain_amulet.errors import AmuletError


@contextmanager
def explained(kind: type[AmuletError], names: Iterable[str] = ()) -> Iterator[None]:
    """Turn a ``ValidationError`` into an error of the package.

    Args:
        kind: The error to raise, unless a validator raised one of the package by itself.
        names: Names that would have been accepted, for the message on an unknown one.
    """
    try:
        yield
    except ValidationError as error:
        details = error.errors(include_url=False)
        own = (detail.get("ctx", {}).get("error") for detail in details)
        for cause in own:
            if isinstance(cause, AmuletError):
                raise cause from None
        raise kind(" ".join(_sentence(detail, names) for detail in details)) from error


def _sentence(detail: Any, names: Iterable[str]) -> str:
    place = ".".join(map(str, detail["loc"])) or "the value"
    if detail["type"] == "extra_forbidden":
        return f"{place!r} is unknown: use one of {', '.join(sorted(names))}."
    if detail["type"] == "missing":
        return f"{place!r} is missing: give it a value."
    rule = detail["msg"].removeprefix("Value error, ")
    return f"{place!r} can't be {_short(detail['input'])}: {rule[0].lower()}{rule[1:]}."


def _short(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}..."
