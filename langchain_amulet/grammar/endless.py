"""Schemas by which every value holds another of its own kind, and so on without end.

This module knows which keywords make values hold others: nothing of grammars or tokens.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from langchain_amulet.grammar.schema_tree import all_of, at, unheld


def check_ends(schema: Mapping[str, Any]) -> None:
    """Refuse a schema by which no value ends.

    Raises:
        SchemaError: None does; the message names a reference that leads back to itself.
    """
    references = _references(schema)
    ending: set[str] = set()
    while more := [
        each for each in references if each not in ending and _ends(at(schema, each), ending)
    ]:
        ending.update(more)
    if not _ends(schema, ending):
        first = next(each for each in references if each not in ending)
        raise unheld(
            f"what $ref {json.dumps(first)} leads to holds itself again in every value: let it "
            "end, by a property that isn't required, a list that may be empty, or another case "
            "in anyOf"
        )


def _references(schema: Mapping[str, Any]) -> list[str]:
    """All references in a schema, and in what they lead to, wherever that stands."""
    found: dict[str, None] = {}
    ahead: list[Any] = [schema]
    while ahead:
        here = (each.get("$ref") for each in all_of(ahead.pop()))
        new = [each for each in here if isinstance(each, str) and each not in found]
        found.update(dict.fromkeys(new))
        ahead += [at(schema, each) for each in dict.fromkeys(new)]
    return list(found)


def _ends(schema: Any, ending: Collection[str]) -> bool:
    """Whether some value ends that is valid by a schema; so it is of what isn't one.

    Args:
        schema: The schema.
        ending: References that are known to lead to what ends.
    """
    if not isinstance(schema, Mapping):
        return True
    cases = [schema[each] for each in ("anyOf", "oneOf") if schema.get(each)]
    has_case = all(any(_ends(each, ending) for each in branches) for branches in cases)
    reference = schema.get("$ref")
    leads_on = not isinstance(reference, str) or reference in ending
    return leads_on and has_case and all(_ends(each, ending) for each in _held(schema))


def _held(schema: Mapping[str, Any]) -> Iterator[Any]:
    """What each value that is valid by a schema holds, or is valid by, too."""
    yield from schema.get("allOf", ())
    if schema.get("type") == "object":
        listed = schema.get("properties", {})
        yield from (listed[name] for name in schema.get("required", ()) if name in listed)
    if schema.get("type") == "array":
        first = schema.get("prefixItems", ())
        fewest = schema.get("minItems", 0)
        yield from first[:fewest]
        if fewest > len(first):
            yield schema.get("items")
