"""Lists of items that must differ, as all such lists.

This module knows what keywords of JSON schemas ask of lists: nothing of grammars or tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations
from typing import Any

from langchain_amulet.grammar.schema_tree import Schema, any_of, unheld
from langchain_amulet.grammar.values import values_of

MOST_ORDERS, MOST_LISTS = 200, 1100
"""How many lists of different items are spelled out at the most, with the items in any order and in
all: beyond, longer lists have their items in the order of the schema."""


def with_different_items(schema: Schema, place: str, root: Schema) -> Any:
    """A list of items that must differ, by spelling out all such lists.

    Raises:
        SchemaError: There is none.
    """
    if not schema.get("uniqueItems") or "prefixItems" in schema or "contains" in schema:
        return schema
    values = values_of(schema.get("items"), root)
    if values is None:
        return schema
    fewest, most = schema.get("minItems", 0), schema.get("maxItems", len(values))
    lists = list(_different(values, fewest, min(most, len(values))))
    if not lists:
        raise unheld(
            f"uniqueItems at {place} of {len(values)} values, {fewest} of them at least: lower "
            "minItems, or allow more values"
        )
    kinds = schema.get("type", "array")
    others = [kind for kind in kinds if kind != "array"] if isinstance(kinds, list) else []
    if kinds != "array" and not (isinstance(kinds, list) and "array" in kinds):
        return schema
    rest = {
        key: value
        for key, value in schema.items()
        if key not in ("items", "uniqueItems", "minItems", "maxItems", "type")
    }
    if not others:
        return {**rest, "enum": lists}
    return any_of([{"enum": lists}, {**rest, "type": others}], schema)


def _different(values: list[Any], fewest: int, most: int) -> Iterator[list[Any]]:
    count = 0
    for size in range(fewest, most + 1):
        orders = list(_up_to(permutations(values, size), MOST_ORDERS - count))
        found = orders or list(_up_to(combinations(values, size), MOST_LISTS - count))
        count += len(found)
        yield from map(list, found)


def _up_to(lists: Any, most: int) -> Iterator[tuple[Any, ...]]:
    """The lists, or none if there are more."""
    found: list[tuple[Any, ...]] = []
    for each in lists:
        if len(found) >= most:
            return
        found.append(each)
    yield from found
