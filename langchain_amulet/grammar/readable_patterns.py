"""Schemas with patterns that say the same to all who read them, of texts with JSON's escapes.

This module knows which keywords have patterns: nothing of regular expressions or grammars.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_amulet.grammar.asked_patterns import (
    AS_ASKED,
    AskedPattern,
    all_asked,
    asked_as,
    with_asked,
)
from langchain_amulet.grammar.pattern_dialects import check_meaning, finds_by_any, for_all, for_any
from langchain_amulet.grammar.pattern_overlaps import may_overlap
from langchain_amulet.grammar.schema_tree import Schema
from langchain_amulet.grammar.text_formats import without_escapes


def with_checked_patterns(schema: Schema, place: str) -> Schema:
    """The schema with its patterns kept as what they are asked as.

    Raises:
        SchemaError: One of them means different things to those who read it.
    """
    asking = with_asked(schema, place)
    for pattern, asked in all_asked(asking):
        check_meaning(pattern, asked.told)
    return asking


def with_readable_patterns(schema: Schema, place: str) -> Schema:
    """The schema with patterns that say the same to all.

    Raises:
        SchemaError: A pattern leaves out what JSON may write for what it takes.
    """
    changed, asked = dict(schema), dict[str, AskedPattern]()
    if isinstance(schema.get("pattern"), str):
        pattern = schema["pattern"]
        known = asked_as(schema, pattern) or AskedPattern("pattern", pattern, place)
        changed["pattern"] = for_all(without_escapes(pattern, known.told))
        asked[changed["pattern"]] = known
    if isinstance(schema.get("patternProperties"), Mapping):
        changed |= _with_readable_names(schema, place, asked)
    return {**changed, AS_ASKED: asked} if asked else changed


def _with_readable_names(schema: Schema, place: str, asked: dict[str, AskedPattern]) -> Schema:
    """An object whose properties are as each reader of the patterns of their names asks.

    Where it may have others, one that some reader finds a pattern in the name of is as is asked of
    both. Where it may not, it is one that all readers find a pattern in the name of.

    Args:
        schema: The object's schema.
        place: Where it stands.
        asked: What its patterns were asked as: those of names are added.
    """
    named, listed = schema["patternProperties"], schema.get("properties", {})
    others = schema.get("additionalProperties", True)
    both = [] if others in (True, False, {}) else [others]
    found: dict[str, list[Any]] = {}
    for pattern, value in named.items():
        known = asked_as(schema, pattern) or AskedPattern("patternProperties", pattern, place)
        is_closed = others is False
        read = for_all(without_escapes(pattern, known.told)) if is_closed else for_any(pattern)
        found.setdefault(read, []).extend([value, *both])
        asked.setdefault(read, known)
    found = _apart(found)
    changed = {"patternProperties": {read: _all_of(values) for read, values in found.items()}}
    if listed and others is False:
        tellers = [(finds_by_any(pattern), value) for pattern, value in named.items()]
        changed["properties"] = {
            name: _all_of([each, *(value for finds, value in tellers if finds(name))])
            for name, each in listed.items()
        }
    return changed


def _apart(named: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """What names ask for by their patterns, with all that may be of the same name in one pattern.

    A name by one of those is then as all of them ask, which is more than it need be. What may be of
    no value stays by itself: else no name at all might be left.
    """
    apart: dict[str, list[Any]] = {}
    for pattern, values in named.items():
        alike = [
            other
            for other, asked in apart.items()
            if False not in (*values, *asked) and may_overlap(other, pattern)
        ]
        whole = "|".join(f"(?:{each})" for each in (*alike, pattern)) if alike else pattern
        apart[whole] = [*(value for each in alike for value in apart.pop(each)), *values]
    return apart


def _all_of(schemas: list[Any]) -> Any:
    return schemas[0] if len(schemas) == 1 else {"allOf": schemas}
