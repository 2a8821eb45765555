"""Data that nests: how deep it may lie and how much it may hold, and how JSON writes it.

Knows lists, dicts and what JSON can write. Doesn't know schemas, or what the data says.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from langchain_amulet.errors import AmuletError
from langchain_amulet.validation.wording import MOST_DIGITS, message_of, quoted

DEEPEST = 64
"""How deep lists and dicts may lie in one another."""

MOST_VALUES = 100_000
"""How many values lists and dicts may hold together."""


def as_json(value: Any) -> Any:
    """Data as JSON writes it: in lists and dicts of one's own, whose keys are texts.

    Raises:
        ValueError: JSON can't write it: it holds something else, itself, or no finite number.
    """
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except RecursionError:
        raise ValueError("JSON can't write it: it nests too deep") from None
    except (TypeError, ValueError) as error:
        raise ValueError(f"JSON can't write it: {message_of(error)}") from None


def as_written(value: Any) -> Any:
    """Data as `as_json` gives it, with words in place of what JSON can't write, such as a date.

    For what a program's own tools gave or were given, and what is to be read by a model: there it
    is better read in other words than refused. `check_nesting` is for before.
    """
    if value is None or isinstance(value, (str, bool, float)):
        return value
    if isinstance(value, Mapping):
        return {_in_words(key): as_written(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_written(each) for each in value]
    is_short = isinstance(value, int) and abs(value) < 10**MOST_DIGITS
    return value if is_short else _in_words(value)


def check_nesting(
    kind: type[AmuletError], what: str, value: object, most: int = MOST_VALUES
) -> None:
    """Refuse lists and dicts that hold themselves, or more or deeper than anybody reads.

    Args:
        kind: The kind of error.
        what: What holds them, for the message.
        value: What is looked at.
        most: How many values they may hold together. What can be come to in several ways counts
            as often: written out it is as long.
    """
    # Each once, with how many ways there are to it, of which there may be more than can be gone.
    level, count = {id(value): (value, 1)}, 0
    for _ in range(DEEPEST):
        count += sum(_size(outer) * ways for outer, ways in level.values())
        if count > most:
            raise kind(
                f"{what} may hold lists and dicts of {most} values together, but some hold more: "
                "leave out what needn't be there."
            )
        below: dict[int, tuple[object, int]] = {}
        for outer, ways in level.values():
            for each in _held(outer):
                below[id(each)] = (each, ways + below.get(id(each), (each, 0))[1])
        level = below
        if not level:
            return
    raise kind(
        f"{what} may hold lists and dicts in one another up to {DEEPEST} deep, but some lie deeper "
        "or hold themselves: flatten them."
    )


def _in_words(value: object) -> str:
    try:
        return str(value)
    except Exception:  # whatever a class of the caller's raises, or too many digits
        return quoted(value)


def _size(value: object) -> int:
    """How many values a list or dict holds itself."""
    return len(value) if isinstance(value, (Mapping, list, tuple)) else 0


def _held(value: object) -> list[object]:
    """The lists and dicts that a list or dict holds."""
    inner: Iterable[object] = ()
    if isinstance(value, Mapping):
        inner = value.values()
    elif isinstance(value, (list, tuple)):
        inner = value
    return [each for each in inner if isinstance(each, (Mapping, list, tuple))]
