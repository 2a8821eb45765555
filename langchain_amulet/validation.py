"""Pydantic's complaints as the package's own errors: rule, value, remedy.

This module knows nothing of what is validated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError

from langchain_amulet.errors import AmuletError


@contextmanager
def explained(
    kind: type[AmuletError], names: Iterable[str] = (), quoting: bool = True
) -> Iterator[None]:
    """Turn a ``ValidationError`` into an error of the package.

    Args:
        kind: The error to raise, unless a validator raised one of the package by itself.
        names: Names that would have been accepted, for the message on an unknown one.
        quoting: Whether messages quote the values that were refused, or name their types only.
    """
    try:
        yield
    except ValidationError as error:
        details = error.errors(include_url=False)
        own = (detail.get("ctx", {}).get("error") for detail in details)
        for cause in own:
            if isinstance(cause, AmuletError):
                raise cause from None
        message = " ".join(_sentence(detail, names, quoting) for detail in details)
        raise kind(message) from (error if quoting else None)


def _sentence(detail: Any, names: Iterable[str], quoting: bool) -> str:
    place = ".".join(map(str, detail["loc"])) or "the value"
    if detail["type"] == "extra_forbidden":
        close = get_close_matches(place, names := sorted(names), n=1)
        hint = f"did you mean {close[0]!r}? Use" if close else "use"
        return f"{place!r} is unknown: {hint} one of {', '.join(names)}."
    if detail["type"] == "missing":
        return f"{place!r} is missing: give it a value."
    rule = detail["msg"].removeprefix("Value error, ")
    value = _short(detail["input"]) if quoting else f"this {type(detail['input']).__name__}"
    return f"{place!r} can't be {value}: {rule[0].lower()}{rule[1:]}."


def _short(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}..."
