"""What a schema asks of texts, as patterns of whole texts that no quotation marks stand around.

This module knows keywords on texts: nothing of JSON, grammars or tokens.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_amulet.grammar.asked_patterns import AskedPattern
from langchain_amulet.grammar.pattern_dialects import check_meaning, for_all
from langchain_amulet.grammar.pattern_endings import by_length, endings
from langchain_amulet.grammar.pattern_faults import check_alone
from langchain_amulet.grammar.schema_tree import unheld
from langchain_amulet.grammar.text_formats import ALIASES, EXACT, KNOWN, PATTERNS

_BYTE = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
STRICT = {
    "uuid": KNOWN["uuid"],
    "email": "[a-z0-9._+-]{0,40}[a-z0-9]@[a-z0-9]{1,40}([.][a-z]{2,12}){1,3}",
    "hostname": "[a-z0-9]{1,40}([.-][a-z0-9]{1,40}){0,4}",
    "ipv4": rf"{_BYTE}([.]{_BYTE}){{3}}",
    "ipv6": "[0-9a-f]{1,4}(:[0-9a-f]{1,4}){7}",
    "uri": "[a-z]{2,12}://[a-z0-9-]{1,40}([.][a-z0-9-]{1,40}){0,4}(/[A-Za-z0-9._~=&?-]{0,40}){0,8}",
    "duration": "P([1-9][0-9]{0,2}D|T[1-9][0-9]{0,2}[HMS])",
}
"""Formats whose texts are none but these, for whoever checks them by the letter."""


def text_patterns(schema: Mapping[str, Any]) -> list[str]:
    """Patterns that a whole text has to match, all of them; none if any text is valid.

    Raises:
        SchemaError: A keyword isn't of the type that it must have.
    """
    wanted = schema.get("format")
    wanted = ALIASES.get(wanted, wanted) if isinstance(wanted, str) else None
    found = [EXACT.get(wanted) or PATTERNS.get(wanted) or STRICT.get(wanted)] if wanted else []
    found.append(schema.get("pattern"))
    known = [each for each in found if each is not None]
    return [_whole(for_all(each)) for each in known] + _lengths(schema)


def check_patterns(schema: Mapping[str, Any], place: str) -> None:
    """Refuse a schema with a pattern that no text can be held to.

    Args:
        schema: The schema.
        place: Where it stands, in words.

    Raises:
        SchemaError: It has one; the message says where, and by which part of it.
    """
    if isinstance(pattern := schema.get("pattern"), str):
        asked = AskedPattern("pattern", pattern, place)
        check_meaning(pattern, asked.told)
        check_alone(_whole(for_all(pattern)), asked)


def text_endings(schema: Mapping[str, Any]) -> Sequence[str]:
    """What may finish a text that is valid by a schema from somewhere in it, the shortest first."""
    patterns = text_patterns(schema)
    return sorted({text for each in patterns for text in endings(each)}, key=by_length)


def _lengths(schema: Mapping[str, Any]) -> list[str]:
    fewest, most = schema.get("minLength", 0), schema.get("maxLength")
    if not fewest and most is None:
        return []
    if not all(isinstance(each, int) for each in (fewest, most or 0)):
        raise unheld("minLength and maxLength must be integers")
    return [f"(?s:.{{{fewest},{'' if most is None else most}}})"]


def _whole(pattern: str) -> str:
    """A pattern that a part of a text has to match as one for all of it."""
    start = pattern.removeprefix("^")
    inner = re.sub(r"(?<!\\)((?:\\\\)*)\$\Z", r"\1", start)
    before = "" if start != pattern else "(?s:.*)"
    after = "" if inner != start else "(?s:.*)"
    return f"{before}({inner}){after}"
