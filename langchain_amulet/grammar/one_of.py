"""`oneOf` as `anyOf`, where its branches exclude each other, or can be made to; and `not`.

A grammar can say that one of several branches holds, but not that no other does. Where no value
can be valid by two branches, that is no matter. Else a branch is made stricter, until nothing that
is valid by it is valid by another one: a property that only the other requires is left out, one
that tells them apart has to be there, values that both have are taken away. What isn't to be valid
at all is made impossible in the same ways.

This module knows what these keywords ask: nothing of grammars.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from langchain_amulet.grammar.exclusion import narrowed
from langchain_amulet.grammar.schema_tree import Schema, all_of, from_outside, joined, unheld

MOST_SCHEMAS, DEEPEST = 20_000, 128
"""How many schemas are looked at, and how many names lead to one: what leads back to itself may ask
for more of them without end."""


EXCLUDING = (
    "excludes what can't be told while it is written: say by type, enum or pattern what is valid"
)
"""What to say of ``not`` where it can't be said in other words."""


def without_exclusions(schema: Schema) -> Any:
    """The schema without ``oneOf`` and ``not``: what is valid by it is valid by the schema.

    Raises:
        SchemaError: Two branches might both hold, or ``not`` can't be said in other words.
    """
    if all({"oneOf", "not"}.isdisjoint(each) for each in all_of(schema)):
        return schema
    count = itertools.count()

    def change(each: Schema, place: str) -> Schema:
        if next(count) > MOST_SCHEMAS or place.count("/") > DEEPEST:
            raise unheld(
                "what oneOf or not excludes asks for more and more of the same to be said: use "
                "anyOf"
            )
        return _as_any_of(_without_not(each, place, schema), place, schema)

    # What is excluded has to be known as it is asked: by less of it, too much would be let through.
    return from_outside(schema, change)


def _as_any_of(schema: Schema, place: str, root: Mapping[str, Any]) -> Schema:
    """The schema with ``anyOf`` instead of ``oneOf``."""
    branches = schema.get("oneOf")
    if not isinstance(branches, list):
        return schema
    base = {key: value for key, value in schema.items() if key != "oneOf"}
    told_apart = [*branches]
    for one, other in itertools.permutations(range(len(branches)), 2):
        told_apart[one] = narrowed(told_apart[one], joined(base, branches[other], root), base, root)
        if told_apart[one] is None:
            first, second = sorted((one, other))
            raise unheld(
                f"oneOf at {place}: branches {first} and {second} may both hold: give them "
                "a const each, of a name that both require, or use anyOf"
            )
    if "anyOf" in base:
        return {**base, "allOf": [*base.get("allOf", ()), {"anyOf": told_apart}]}
    return {**base, "anyOf": told_apart}


def _without_not(schema: Schema, place: str, root: Mapping[str, Any]) -> Schema:
    """The schema without ``not``, by which nothing is valid that is to be valid by that."""
    if "not" not in schema:
        return schema
    stricter: Any = {key: value for key, value in schema.items() if key != "not"}
    refused = schema["not"]
    is_choice = isinstance(refused, Mapping) and refused.keys() == {"anyOf"}
    for each in refused["anyOf"] if is_choice else [refused]:
        stricter = narrowed(stricter, each, {}, root)
        if stricter is None:
            raise unheld(f"not at {place} {EXCLUDING}")
    return dict(stricter)
