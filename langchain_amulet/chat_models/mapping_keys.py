"""What names of an object look like that are read as keys of a type.

JSON has texts for keys whatever they are read as. Where a type has more of them than a pattern can
say, fewer are let through.

This module knows what Pydantic says of types in JSON schemas: nothing of classes or grammars.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

from langchain_amulet.chat_models.text_patterns import (
    DATE,
    FORMATS,
    NUMBER,
    TIME,
    literally,
    whole_numbers,
)

NO_NAME = literally([])
"""A pattern of no name at all."""

MOST_MULTIPLES = 100
"""How many multiples of a number are listed."""

CHARACTER, VISIBLE = r"[ !#-\[\]-~]", r"[!#-\[\]-~]"
"""What names are made of that may be any: what JSON writes as it is, with spaces or without."""

KEY_FORMATS: Mapping[str, str] = {
    "date": DATE,
    "time": TIME,
    "date-time": f"{DATE}T{TIME}Z",
    "uuid": FORMATS["uuid4"],
}
"""What names look like that are read as values of these formats."""

NUMBERED = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum", "multipleOf")

Keys = Mapping[str, Any]
"""What Pydantic says of keys, as a JSON schema."""


def name_pattern(
    keys: Keys, referred: Callable[[str], Keys], reads: Callable[[str], bool]
) -> str | None:
    """A pattern of names that are read as keys of a type; None where any name will do.

    Args:
        keys: The type.
        referred: What a reference leads to.
        reads: Whether a name is read, asked where there are few.

    Returns:
        `NO_NAME` where none is read, or it isn't clear which are.
    """
    if "$ref" in keys:
        return name_pattern(referred(keys["$ref"]), referred, reads)
    for keyword in ("anyOf", "oneOf"):
        if keyword in keys:
            patterns = {name_pattern(each, referred, reads) for each in keys[keyword]}
            several = sorted(each for each in patterns - {NO_NAME} if each is not None)
            return None if None in patterns else f"({'|'.join(several)})"
    if "enum" in keys or "const" in keys:
        values = map(str, keys.get("enum", [keys.get("const")]))
        return literally(filter(reads, values))
    return _of_kind(keys)


def _of_kind(keys: Keys) -> str | None:
    kind, name = keys.get("type"), str(keys.get("format"))
    if kind in ("array", "object", "null"):
        return NO_NAME
    if kind == "number" and keys.keys().isdisjoint(NUMBERED):
        return NUMBER
    if kind in ("integer", "number"):
        return _whole(keys)
    if kind == "boolean":
        return "(true|false)"
    if name in KEY_FORMATS:
        return NO_NAME if "allOf" in keys else KEY_FORMATS[name]
    if "pattern" in keys:
        return NO_NAME if keys.keys() & {"allOf", "minLength", "maxLength"} else _whole_names(keys)
    if keys.get("minLength") or "maxLength" in keys:
        return _of_lengths(keys, is_stripped="allOf" in keys)
    return None


def _whole(keys: Keys) -> str:
    """Whole numbers within bounds, or multiples of a number that isn't a part of 1."""
    step = Fraction(str(keys.get("multipleOf", 1)))
    step = Fraction(1) if (1 / step).denominator == 1 else step
    low, high = -math.inf, math.inf
    if "minimum" in keys:
        low = math.ceil(Fraction(keys["minimum"]) / step)
    if "exclusiveMinimum" in keys:
        low = max(low, math.floor(Fraction(keys["exclusiveMinimum"]) / step) + 1)
    if "maximum" in keys:
        high = math.floor(Fraction(keys["maximum"]) / step)
    if "exclusiveMaximum" in keys:
        high = min(high, math.ceil(Fraction(keys["exclusiveMaximum"]) / step) - 1)
    if step == 1:
        return whole_numbers(low, high)
    first = low if low > -math.inf else min(0, high - MOST_MULTIPLES + 1)
    count = min(MOST_MULTIPLES, max(0, high - first + 1))
    multiples = [(int(first) + n) * step for n in range(int(count))]
    return literally(each if each.denominator == 1 else float(each) for each in multiples)


def _whole_names(keys: Keys) -> str:
    """A pattern of names in which a pattern is found."""
    pattern = str(keys["pattern"])
    opening, closing = pattern.startswith("^"), pattern.endswith("$") and pattern[-2:] != r"\$"
    inner = pattern[opening : len(pattern) - closing]
    return f"{'' if opening else '.*'}({inner}){'' if closing else '.*'}"


def _of_lengths(keys: Keys, is_stripped: bool) -> str:
    """Names of so many characters, with nothing to strip at their ends if need be."""
    fewest, most = keys.get("minLength", 0), keys.get("maxLength")
    if not is_stripped:
        return f"{CHARACTER}{{{fewest},{'' if most is None else most}}}"
    inner = f"{CHARACTER}{{{max(0, fewest - 2)},{'' if most is None else max(0, most - 2)}}}"
    if most == 1:
        return VISIBLE
    return f"{VISIBLE}({inner}{VISIBLE}){'?' if fewest < 2 else ''}"
