"""What texts of a format look like, as patterns.

Of dates and times more is asked than llguidance does: no leap seconds, which hardly any reader
takes, no 29th of February but in leap years, no year 0. Of formats that it doesn't know, those of
JSON Schema and of Pydantic are held to, some of them to less than they could be; others are no
more than remarks, as JSON Schema has it.

This module knows formats: nothing of grammars.
"""

from __future__ import annotations

import re
from typing import Any

from langchain_amulet.grammar.asked_patterns import AS_ASKED, AskedPattern
from langchain_amulet.grammar.pattern_dialects import finds_by_all
from langchain_amulet.grammar.schema_tree import unheld

_SPAN = "(0[13-9]|1[0-2])-[0-9]{2}|02-([01][0-9]|2[0-8])"
_LEAP_YEAR = "([1-9][0-9](0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)"
_DATE = f"([1-9][0-9]{{3}}-({_SPAN})|{_LEAP_YEAR}-02-29)"
_TIME = r"[0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})"
EXACT = {"date": f"^{_DATE}$", "time": f"^{_TIME}$", "date-time": f"^{_DATE}T{_TIME}$"}
"""Formats of which more is asked than llguidance does."""

LONGEST = {"hostname": 253}
"""Characters that a format has at the most, which llguidance doesn't count."""

ALIASES = {
    "idn-email": "email", "idn-hostname": "hostname", "iri": "uri",
    "uuid1": "uuid", "uuid3": "uuid", "uuid6": "uuid", "uuid7": "uuid", "uuid8": "uuid",
    "ipvanyaddress": "ipv4", "ipvanyinterface": "ipv4", "ipvanynetwork": "ipv4",
    "ipv4interface": "ipv4", "ipv4network": "ipv4", "ipv6interface": "ipv6", "ipv6network": "ipv6",
}  # fmt: skip
"""Formats as others that whatever has them is held to."""

_HEX = "[0-9a-f]"
_POINTER = "(/([^~/]|~[01])*)*"
_PART = r"(\\[dwsDWS.]|[A-Za-z0-9 _/:@,.-]|\[\^?[A-Za-z0-9_ ]+\])([*+?]|\{[1-9]\})?"
_WORD = "[A-Za-z0-9._~-]+"
_REFERENCE = (
    rf"^([a-z]+://[a-z0-9]+(\.[a-z0-9]+)*)?(/?{_WORD})*/?(\?[A-Za-z0-9=&_.-]*)?(#[A-Za-z0-9_.-]*)?$"
)
PATTERNS = {
    "uri-reference": _REFERENCE,
    "iri-reference": _REFERENCE,
    "uri-template": rf"^(/?{_WORD})*(/?\{{[A-Za-z0-9_]+\}}(/{_WORD})*)*$",
    "json-pointer": f"^{_POINTER}$",
    "relative-json-pointer": f"^(0|[1-9]{{1,9}})(#|{_POINTER})$",
    "regex": rf"^\^?({_PART}|\(({_PART})(\|?{_PART})*\)[*+?]?)*\$?$",
    "uuid4": f"^{_HEX}{{8}}-{_HEX}{{4}}-4{_HEX}{{3}}-[89ab]{_HEX}{{3}}-{_HEX}{{12}}$",
    "uuid5": f"^{_HEX}{{8}}-{_HEX}{{4}}-5{_HEX}{{3}}-[89ab]{_HEX}{{3}}-{_HEX}{{12}}$",
}
"""Formats that llguidance doesn't know."""

KNOWN = {
    "date-time": "", "time": "", "date": "",
    "duration": "P0D",
    "email": "a@a",
    "hostname": "a",
    "ipv4": r"0\.0\.0\.0",
    "ipv6": "::",
    "uuid": f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}",
    "uri": "a:",
}  # fmt: skip
"""Formats that llguidance knows, with patterns of short texts that have them."""

CLASS = re.compile(r"\\.|\[(\^?)((?:\\.|[^\]\\])++)\]|\[(?:\\.|[^\]\\])*+\\?\Z", re.DOTALL)
"""An escape, or a class: whether it leaves out what it lists, and that; or one without an end, so
that none is looked for within it."""


def with_pattern(schema: dict[str, Any], place: str) -> dict[str, Any]:
    """The schema with its format said by a pattern, or not at all, where llguidance can't take it.

    Args:
        schema: The schema.
        place: Where it stands.
    """
    wanted = schema.get("format")
    if not isinstance(wanted, str):
        return schema
    asked, wanted = AskedPattern("format", wanted, place), ALIASES.get(wanted, wanted)
    if wanted not in KNOWN:
        kept = {key: value for key, value in schema.items() if key != "format"}
        return _by_pattern(PATTERNS[wanted], kept, asked) if wanted in PATTERNS else kept
    told = {**schema, "format": wanted}
    if wanted in LONGEST:
        told["maxLength"] = min(schema.get("maxLength", LONGEST[wanted]), LONGEST[wanted])
    return _by_pattern(EXACT[wanted], told, asked) if wanted in EXACT else told


def _by_pattern(pattern: str, schema: dict[str, Any], asked: AskedPattern) -> dict[str, Any]:
    """A schema with the pattern of its format, if it has none of its own."""
    return {"pattern": pattern, AS_ASKED: {pattern: asked}, **schema}


def without_escapes(pattern: str, told: str) -> str:
    """The pattern with classes that leave out a quote or a backslash leaving out what is escaped.

    Where a class has all control characters in it, llguidance takes any escape for one of them:
    ``[^"]`` would let a quote through.

    Args:
        pattern: The pattern.
        told: It in words.

    Raises:
        SchemaError: A class lists all of them, and not what is taken for them.
    """
    return CLASS.sub(lambda found: _without_escapes(found, told), pattern)


def _without_escapes(found: re.Match[str], told: str) -> str:
    whole, negation, members = found[0], found[1], found[2]
    if members is None:
        return whole
    takes = finds_by_all(whole)
    if takes('"') and takes("\\"):
        return whole
    if negation:
        return rf'[^"\\\x00-\x1f{members}]'
    if all(takes(chr(control)) for control in range(0x20)):
        raise unheld(
            f"{told} has in {whole} all control characters, but not quote and backslash: write "
            "which of them it takes, or all three"
        )
    return whole
