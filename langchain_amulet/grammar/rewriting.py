"""JSON schemas rewritten into what grammars can hold: what is valid by the result is valid by them.

Keywords that ask nothing are left out. Some others are said in other words, and a few more
strictly: items that must differ are listed, for one. What can't be said is refused with its place.

This module knows what keywords of JSON schemas ask: nothing of grammars or tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from langchain_amulet.errors import SchemaError
from langchain_amulet.grammar.asked_patterns import AS_ASKED, AskedPattern, all_asked
from langchain_amulet.grammar.different_items import with_different_items
from langchain_amulet.grammar.endless import check_ends
from langchain_amulet.grammar.exclusion import kinds
from langchain_amulet.grammar.object_counts import with_counts
from langchain_amulet.grammar.one_of import EXCLUDING, without_exclusions
from langchain_amulet.grammar.pattern_dialects import finds_by_all
from langchain_amulet.grammar.readable_patterns import with_checked_patterns, with_readable_patterns
from langchain_amulet.grammar.references import without_own_name, without_unneeded
from langchain_amulet.grammar.schema_shapes import COUNTED, SHAPES, check_shapes
from langchain_amulet.grammar.schema_tree import (
    ANCHORED,
    Schema,
    all_of,
    any_of,
    everywhere,
    resolved,
    unheld,
    with_targets,
)
from langchain_amulet.grammar.text_formats import with_pattern
from langchain_amulet.grammar.values import REMARKS, values_of, with_near_bounds
from langchain_amulet.validation.checks import check_whole
from langchain_amulet.validation.json_data import as_json

CASES = "write the cases as anyOf, each with a const that tells it from the others"

UNHELD: Mapping[str, str] = MappingProxyType(
    {
        "not": EXCLUDING,
        "if": f"decides by a whole value what that must be: {CASES}",
        "contains": "asks for an item wherever it stands: put it first by prefixItems, or ask the "
        "same of all by items",
        "propertyNames": "asks of names what no pattern says: list them by properties with "
        "additionalProperties false, or give them a pattern",
        "uniqueItems": "compares items that aren't listed: give them an enum",
        "unevaluatedItems": "is about what other keywords leave over: list items by prefixItems, "
        "and say by items what others must be",
        "unevaluatedProperties": "is about what other keywords leave over: list all properties in "
        "one schema with additionalProperties",
        "dependentSchemas": f"decides by a name what the others must be: {CASES}",
        "$dynamicRef": "leads elsewhere from each place: use $ref",
        "$recursiveRef": "leads elsewhere from each place: use $ref",
    }
)
"""Keywords that grammars can't hold to, where nothing else was found to say for them: why not, and
what to write instead."""

ONE_CLASS = re.compile(r"\^(\[(?:[^\[\]\\]|\\.)+\]|\\[wd])([*+])\$")
"""A pattern of any number of characters of one class."""

KNOWN = frozenset({*SHAPES, *ANCHORED, *UNHELD, "const", "minContains", "maxContains"}) | {
    "$anchor", "$dynamicAnchor", "$recursiveAnchor",
}  # fmt: skip
"""Keywords of JSON Schema that ask something, or that references lead to."""

NO_BOUND = 2**31
"""From which number on a longest length asks nothing of an answer."""

MOST_DEPENDENCIES = 4
"""How many properties of an object may each ask for others: every one doubles the cases."""


def rewritten(schema: Mapping[str, Any]) -> Schema:
    """A schema that a grammar can hold to, and that lets through what this one does, or less.

    Objects that list properties and don't speak of others have no others, unless they are put
    together of parts, which closing would set against another.

    Raises:
        SchemaError: It asks for something that no grammar can hold.
    """
    schema = _as_json(schema)
    check_shapes(schema)
    schema = without_own_name(everywhere(schema, _with_whole_counts))
    check_ends(schema)
    schema = everywhere(without_unneeded(with_targets(schema)), _without_the_unknown)
    asking = everywhere(schema, with_checked_patterns)
    whole = _changed(asking, _bare)
    listed = everywhere(everywhere(whole, _without_the_vacuous), _with_all_required)
    whole = without_exclusions(listed)
    if not any(map(_is_composed, all_of(listed))):
        whole = everywhere(whole, _closed)
    for change in (_with_names, _with_dependencies, with_different_items, _without_known_types):
        whole = _changed(whole, change)
    for last in (with_counts, with_near_bounds, with_pattern, with_readable_patterns, _checked):
        whole = everywhere(whole, last)
    return whole if isinstance(whole, dict) else {"not": {}}


def _as_json(schema: Mapping[str, Any]) -> Schema:
    try:
        plain = dict(as_json(schema))
    except ValueError as error:
        raise unheld(str(error)) from None
    check_whole("A schema", json.dumps(plain, ensure_ascii=False), SchemaError)
    return plain


def _with_whole_counts(schema: Schema, place: str) -> Schema:
    """The schema with its counts as whole numbers, as 3.0 is one to JSON Schema."""
    return {key: int(each) if key in COUNTED else each for key, each in schema.items()}


def _changed(root: Any, change: Callable[[Schema, str, Schema], Any]) -> Any:
    """A schema changed everywhere by what needs to know where its references lead."""
    return everywhere(root, lambda each, place: change(each, place, root))


def _bare(schema: Schema, place: str, root: Schema) -> Schema:
    """A reference with nothing beside it that asks no more: grammars take others in no circle."""
    if "$ref" not in schema:
        return schema
    target = resolved({"$ref": schema["$ref"]}, root)
    kept = {"$ref", *ANCHORED} if place == "#" else {"$ref", "$defs", "definitions"}
    return {
        key: value
        for key, value in schema.items()
        if key in kept or (key in (*SHAPES, "const") and target.get(key) != value)
    }


def _without_the_unknown(schema: Schema, place: str) -> Schema:
    """The schema without remarks, and keywords of others than JSON Schema: they ask nothing.

    Grammars would have OpenAPI's, say, be held along with what stands beside them, which in a
    circle they can't be.
    """
    return {key: value for key, value in schema.items() if key in KNOWN}


def _without_the_vacuous(schema: Schema, place: str) -> Any:
    """The schema without keywords that ask nothing; False where nothing is valid."""
    if schema.get("not") in ({}, True) and "not" in schema:
        return False
    most = schema.get("maxItems")
    is_short = isinstance(most, int) and most <= 1
    asks_nothing = {
        "not": schema.get("not") is False,
        "uniqueItems": not schema.get("uniqueItems") or is_short,
        "contains": schema.get("minContains") == 0 and "maxContains" not in schema,
        "maxLength": schema.get("maxLength", 0) >= NO_BOUND,
        "minContains": "contains" not in schema or schema.get("minContains") in (0, 1),
        "maxContains": "contains" not in schema,
        "if": "then" not in schema and "else" not in schema,
        "then": "if" not in schema,
        "else": "if" not in schema,
        "unevaluatedItems": schema.get("unevaluatedItems") in ({}, True),
        "unevaluatedProperties": schema.get("unevaluatedProperties") in ({}, True),
        "propertyNames": schema.get("propertyNames") in ({}, True, {"type": "string"}),
        "dependentRequired": not any((schema.get("dependentRequired") or {}).values()),
        "dependentSchemas": all(s in ({}, True) for s in _named(schema, "dependentSchemas")),
        "dependencies": all(s in ({}, True, []) for s in _named(schema, "dependencies")),
    }
    return {key: value for key, value in schema.items() if not asks_nothing.get(key)}


def _named(schema: Schema, key: str) -> list[Any]:
    value = schema.get(key)
    return list(value.values()) if isinstance(value, Mapping) else []


def _with_all_required(schema: Schema, place: str) -> Schema:
    """An object that lists what it requires: else it would be closed against that."""
    listed, required = schema.get("properties"), schema.get("required")
    if schema.get("type") != "object" or not isinstance(required, list):
        return schema
    if not isinstance(listed, Mapping) or schema.get("additionalProperties") is False:
        return schema
    others = schema.get("additionalProperties", {})
    finders = [finds_by_all(pattern) for pattern in schema.get("patternProperties", ())]
    missing = {
        name: others
        for name in required
        if isinstance(name, str)
        and name not in listed
        and not any(finds(name) for finds in finders)
    }
    return {**schema, "properties": {**listed, **missing}} if missing else schema


def _is_composed(schema: Schema) -> bool:
    joins = not schema.keys().isdisjoint(("anyOf", "oneOf", "$ref", "dependentSchemas"))
    joins = joins or any(isinstance(each, Mapping) for each in _named(schema, "dependencies"))
    return ("properties" in schema and joins) or "allOf" in schema or "patternProperties" in schema


def _closed(schema: Schema, place: str) -> Schema:
    is_object = isinstance(schema.get("properties"), Mapping) and schema.get("type") == "object"
    return {"additionalProperties": False, **schema} if is_object else schema


def _with_names(schema: Schema, place: str, root: Schema) -> Schema:
    """An object whose names must be as a schema wants, by listing them or by their pattern."""
    names = resolved(schema.get("propertyNames"), root)
    if not isinstance(names, Mapping):
        return schema
    kept = {key: value for key, value in schema.items() if key != "propertyNames"}
    listed, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    if "patternProperties" in schema:
        return schema
    values = values_of(names, root)
    if values is not None:
        texts = [each for each in values if isinstance(each, str)]
        properties = {name: listed.get(name, others) for name in texts}
        return {**kept, "properties": properties, "additionalProperties": False}
    pattern = _pattern_of_names(dict(names), place)
    if pattern is None:
        return schema
    is_allowed = finds_by_all(pattern)
    properties = {name: s for name, s in listed.items() if is_allowed(name)}
    if others is not False:
        kept["patternProperties"] = {pattern: others}
        known = (asked for _, asked in all_asked(names))
        kept[AS_ASKED] = {pattern: next(known, AskedPattern("propertyNames", pattern, place))}
    return {**kept, "properties": properties, "additionalProperties": False}


def _pattern_of_names(names: Schema, place: str) -> str | None:
    """The pattern that says as much as the schema of names; None if there is none."""
    told = with_pattern(names, place)
    asked = told.keys() - {"type", "format"} - REMARKS
    if asked == {"pattern"}:
        return str(told["pattern"])
    fewest, most = told.get("minLength", 0), told.get("maxLength", "")
    repeated = ONE_CLASS.fullmatch(str(told.get("pattern")))
    if repeated and asked <= {"pattern", "minLength", "maxLength"}:
        return f"^{repeated[1]}{{{max(fewest, '*+'.index(repeated[2]))},{most}}}$"
    if asked and asked <= {"minLength", "maxLength"}:
        return f"^.{{{fewest},{most}}}$"
    return None


def _with_dependencies(schema: Schema, place: str, root: Schema) -> Schema:
    """An object with the cases told apart: without a property, or with all that it asks for."""
    asked: dict[str, Any] = {}
    for keyword in ("dependentRequired", "dependentSchemas", "dependencies"):
        for name, wanted in (schema.get(keyword) or {}).items():
            if name in asked:
                raise unheld(
                    f"{keyword} at {place} asks twice for what comes with {name!r}: ask for all "
                    "of it by dependentSchemas"
                )
            asked[name] = wanted
    if not asked:
        return schema
    if len(asked) > MOST_DEPENDENCIES:
        raise unheld(
            f"{len(asked)} dependencies at {place} are more than {MOST_DEPENDENCIES}, and each "
            f"doubles the cases: {CASES}"
        )
    keywords = {"dependentRequired", "dependentSchemas", "dependencies"}
    cases = [{key: value for key, value in schema.items() if key not in keywords}]
    for name, wanted in asked.items():
        cases = [case for each in cases for case in _cases(each, name, wanted)]
    return cases[0] if len(cases) == 1 else any_of(cases, schema)


def _cases(schema: Schema, name: str, wanted: Any) -> Iterator[Schema]:
    required = list(schema.get("required", ()))
    if name not in required:
        yield {**schema, "properties": {**schema.get("properties", {}), name: False}}
    if isinstance(wanted, list):
        yield {**schema, "required": list(dict.fromkeys([*required, name, *wanted]))}
    elif wanted is not False:
        whole = {**schema, "required": list(dict.fromkeys([*required, name]))}
        yield {**whole, "allOf": [*schema.get("allOf", ()), wanted]}


def _without_known_types(schema: Schema, place: str, root: Schema) -> Schema:
    """A choice without a type beside it, where all that it is of have that type.

    Grammars would put it into each of them, and can't where one leads back to the choice.
    """
    if schema.keys() - REMARKS != {"type", "anyOf"}:
        return schema
    allowed = kinds({"type": schema["type"]}, root)
    choices = [resolved(each, root) for each in schema["anyOf"]]
    are_typed = all(isinstance(each, Mapping) and "$ref" not in each for each in choices)
    if not are_typed or not all(kinds(each, root) <= allowed for each in choices):
        return schema
    return {key: value for key, value in schema.items() if key != "type"}


def _checked(schema: Schema, place: str) -> Schema:
    """The schema, if nothing is left in it that no grammar holds to."""
    for keyword, words in UNHELD.items():
        if keyword in schema:
            raise unheld(f"{keyword} at {place} {words}")
    fewest, required = schema.get("minProperties"), schema.get("required")
    is_closed = schema.get("additionalProperties") is False and not schema.get("patternProperties")
    if not isinstance(fewest, int) or is_closed:
        return schema
    # A grammar can't tell names from each other that aren't listed.
    if fewest > 1 + (len(required) if isinstance(required, list) else 0):
        raise unheld(
            f"minProperties: {fewest} at {place} counts names that may be the same: list them by "
            "properties, with additionalProperties false, or ask for them by required"
        )
    return schema
