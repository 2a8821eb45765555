"""What a schema says for the sake of references that nobody makes: it asks nothing.

This module knows where references lead: nothing of what other keywords ask, or of grammars.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from langchain_amulet.grammar.schema_tree import Schema, all_of, steps

DEFINITIONS = ("$defs", "definitions")
"""Keywords whose schemas ask something only where a reference leads to them."""

KNOWN_DIALECTS = re.compile(
    r"http://json-schema\.org/draft-0[467]/schema#?|https://json-schema\.org/draft/20(19-09|20-12)/schema"
)
"""Those of which grammars tell by ``$schema`` what their keywords mean."""


def without_own_name(schema: Schema) -> Schema:
    """The schema without what it is called, where nothing refers to that, or its unknown dialect.

    Many are called something that is no address.
    """
    references = (str(each.get("$ref", "#")) for each in all_of(schema))
    names = {"$id", "id"} if all(each.startswith("#") for each in references) else set()
    if not KNOWN_DIALECTS.fullmatch(str(schema.get("$schema", ""))):
        names.add("$schema")
    return {key: value for key, value in schema.items() if key not in names}


def without_unneeded(schema: Schema) -> Schema:
    """The schema without definitions that no reference leads to: they ask nothing.

    All are kept where some reference isn't by a path, and so may lead to any.
    """
    ahead: list[Any] = [_without_definitions(schema)]
    needed: set[tuple[str, ...]] = set()
    while ahead:
        references = {str(each["$ref"]) for each in all_of(ahead.pop()) if "$ref" in each}
        if not all(each in ("", "#") or each.startswith("#/") for each in references):
            return schema
        found = {tuple(steps(each)[:2]) for each in references} - needed
        needed |= found
        ahead += [schema.get(each[0], {}).get(each[1]) for each in found if _defines(each)]
    kept = {
        key: {name: each for name, each in schema[key].items() if (key, name) in needed}
        for key in DEFINITIONS
        if isinstance(schema.get(key), Mapping)
    }
    return {**schema, **kept}


def _defines(path: Sequence[str]) -> bool:
    """Whether steps from the root lead to a definition."""
    return len(path) > 1 and path[0] in DEFINITIONS


def _without_definitions(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key not in DEFINITIONS}
