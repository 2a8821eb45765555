"""What lies between a type's bounds: keywords for numbers, and patterns for days, times, durations.

A grammar can compare numbers but no other texts, so a pattern says which of those there are. Where
it would grow long, it leaves some out.

This module knows the bounds in Pydantic's core schemas: nothing of classes, or of what else is
said of types.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from pydantic.json_schema import JsonSchemaValue

from langchain_amulet.chat_models.text_patterns import TIME, dates_between, in_order, whole_numbers

UNBOUNDED = Decimal(10**15)
"""The largest amount of a finite number without bounds: floats are exact up to about there."""

LONGEST_FRACTION = 6
"""How many decimal places are written where the class says only how many digits there may be."""

LONGEST_DURATION = 10**8
"""The most seconds of a duration that has a bound on one side only."""

BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


def decimals(schema: Mapping[str, Any]) -> JsonSchemaValue:
    """Numbers of so many digits; never so large that a reader would take them for infinite."""
    digits, places = schema.get("max_digits"), schema.get("decimal_places")
    if digits is None:
        return _between(schema, UNBOUNDED, places)
    if places is None:
        fractions = range(min(digits, LONGEST_FRACTION) + 1)
        return {"anyOf": [_between(schema, _most(digits, each), each) for each in fractions]}
    places = min(places, digits)  # zeros behind the point are counted as digits
    most, least = _most(digits, places), Decimal(1).scaleb(-places)
    if digits > places:
        return _between(schema, most, places)
    # Not even a single 0 is taken before the point, so that the number 0 isn't, either.
    sides = [
        _between({**schema, "ge": max(schema.get("ge") or least, least)}, most, places),
        _between({**schema, "le": min(schema.get("le") or -least, -least)}, most, places),
    ]
    return {"anyOf": [side for side in sides if side["minimum"] <= side["maximum"]] or sides}


def _most(digits: int, places: int) -> Decimal:
    """The largest number of so many digits, of which so many are decimal places."""
    return min(UNBOUNDED, Decimal(10**digits - 1).scaleb(-places))


def _between(schema: Mapping[str, Any], most: Decimal, places: int | None) -> JsonSchemaValue:
    """Numbers within the schema's bounds and up to ``most``."""
    step = None if places is None else Decimal(1).scaleb(-places)
    bounds = {name: Decimal(schema[name]) for name in BOUNDS if schema.get(name) is not None}
    lowest, highest = bounds.pop("ge", -most), bounds.pop("le", most)
    multiple = schema.get("multiple_of") or step
    return {
        "type": "number",
        "minimum": float(max(lowest, -most)),
        "maximum": float(min(highest, most)),
        **{BOUNDS[name]: float(value) for name, value in bounds.items()},
        **({} if multiple is None else {"multipleOf": float(multiple)}),
    }


def finite(schema: Mapping[str, Any]) -> JsonSchemaValue:
    """Numbers within the bounds of a JSON schema; finite where it has none, too."""
    most = float(UNBOUNDED)
    low = {} if schema.keys() & {"minimum", "exclusiveMinimum"} else {"minimum": -most}
    high = {} if schema.keys() & {"maximum", "exclusiveMaximum"} else {"maximum": most}
    return {**schema, **low, **high}


def span(schema: Mapping[str, Any]) -> dict[str, Any]:
    """What days are allowed, as a keyword beside a day's format; empty if all are, or none.

    Past and future are those of now, and end with days that are so anywhere.
    """
    today = {datetime.now(UTC).date(), date.today()}
    lowest, highest = [date.min], [date.max]
    if schema.get("now_op") == "past":
        highest.append(min(today) - timedelta(days=1))
    if schema.get("now_op") == "future":
        lowest.append(max(today) + timedelta(days=1))
    lowest += [_day(schema[name], name == "gt") for name in ("ge", "gt") if name in schema]
    highest += [_day(schema[name], name == "lt", -1) for name in ("le", "lt") if name in schema]
    low, high = max(lowest), min(highest)
    if (low, high) == (date.min, date.max) or low > high:
        return {}
    return {"allOf": [{"pattern": f"^{dates_between(low, high)}"}]}


def _day(bound: date, is_exclusive: bool, inwards: int = 1) -> date:
    """The outermost day that is allowed as a whole by a bound, wherever in the world it is."""
    if isinstance(bound, datetime):
        return bound.date() + timedelta(days=2 * inwards)
    return bound + timedelta(days=inwards * is_exclusive)


def clock(schema: Mapping[str, Any]) -> str | None:
    """A pattern of times within the hours that are allowed as a whole; None if all are, or none."""
    bounds = [schema[name].replace(tzinfo=None) for name in ("ge", "gt") if name in schema]
    low = max((bound.hour + (bound > time(bound.hour)) for bound in bounds), default=0)
    if "gt" in schema and schema["gt"].replace(tzinfo=None) == time(low):
        low += 1
    high = min((schema[name].hour - 1 for name in ("le", "lt") if name in schema), default=23)
    if (low, high) == (0, 23) or low > high:
        return None
    return f"{in_order(f'{low:02}', f'{high:02}', '[0-9]')}{TIME[TIME.index(':') :]}"


def whole_seconds(schema: Mapping[str, Any]) -> str | None:
    """A pattern of durations, in whole seconds; None if all are allowed, or none of these."""
    bounds = {name: schema[name] / timedelta(seconds=1) for name in BOUNDS if name in schema}
    most = LONGEST_DURATION
    low = max(math.ceil(bounds.get("ge", -most)), math.floor(bounds.get("gt", -most)) + 1)
    high = min(math.floor(bounds.get("le", most)), math.ceil(bounds.get("lt", most)) - 1)
    if not bounds or low > high:
        return None
    positive = [f"PT{whole_numbers(max(0, low), high)}S"] if high >= 0 else []
    negative = [f"-PT{whole_numbers(max(1, -high), -low)}S"] if low < 0 else []
    return f"({'|'.join([*positive, *negative])})"
