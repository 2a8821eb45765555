"""A schema that no grammar holds is refused by its smallest part that isn't held, in our words."""

import random
import re
from typing import Any

import pytest

from langchain_amulet.errors import SchemaError
from langchain_amulet.grammar import json_rule
from langchain_amulet.grammar.fault_words import WORDS, words_for
from langchain_amulet.grammar.rewriting import UNHELD
from langchain_amulet.grammar.smallest_fault import Fault, smallest_fault
from support.grammars import COMPILER
from support.schemas import INTEGER, NUMBER, STRING, Schema, listed, obj

IMPOSSIBLE: dict[str, Schema] = {
    'type "integer", minimum 5 and maximum 3': {"type": "integer", "minimum": 5, "maximum": 3},
    'type "number", exclusiveMinimum 3 and maximum 3': {
        "type": "number", "exclusiveMinimum": 3, "maximum": 3,
    },
    'type "integer", exclusiveMinimum 3 and exclusiveMaximum 4': {
        "type": "integer", "exclusiveMinimum": 3, "exclusiveMaximum": 4,
    },
    'type "integer", multipleOf 10, minimum 1 and maximum 9': {
        "type": "integer", "multipleOf": 10, "minimum": 1, "maximum": 9,
    },
    'type "string", minLength 5 and maxLength 3': {
        "type": "string", "minLength": 5, "maxLength": 3,
    },
    'type "array", minItems 5 and maxItems 3': {
        "type": "array", "items": INTEGER, "minItems": 5, "maxItems": 3,
    },
    'type "array", items false and minItems 3': {
        "type": "array", "prefixItems": [INTEGER], "items": False, "minItems": 3,
    },
    'type "array", prefixItems [{"type": "integer"}, false] and minItems 2': {
        "type": "array", "prefixItems": [INTEGER, False], "minItems": 2,
    },
    'type "object", required ["a", "b"] and maxProperties 1': {
        **obj(a=INTEGER, b=INTEGER), "maxProperties": 1,
    },
    'properties {"a": {"type": "integer"}}, additionalProperties false and minProperties 2': {
        "properties": {"a": INTEGER}, "additionalProperties": False, "minProperties": 2,
    },
    'type "object", required ["b"] and additionalProperties false': {
        "type": "object", "properties": {"a": INTEGER}, "required": ["b"],
        "additionalProperties": False,
    },
    'type "object", properties {"a": false} and required ["a"]': obj(a=False, b=INTEGER),
    "enum []": {"enum": [], "description": "None."},
    "anyOf []": {"anyOf": []},
    "oneOf []": {"oneOf": []},
    "type []": {"type": []},
    "not {}": {"not": {}},
    'type "integer" and enum ["a"]': {"type": "integer", "enum": ["a"]},
    'type "integer" and const "a"': {"type": "integer", "const": "a"},
    "const 1 and enum [2]": {"const": 1, "enum": [2]},
    "const 1 and minimum 3": {"const": 1, "type": "integer", "minimum": 3},
    "const 7 and multipleOf 2": {"const": 7, "multipleOf": 2},
    'const "x" and pattern "^y$"': {"const": "x", "type": "string", "pattern": "^y$"},
    'enum ["x"] and minLength 3': {"enum": ["x"], "type": "string", "minLength": 3},
    'type "string", format "date" and minLength 50': {
        "type": "string", "format": "date", "minLength": 50,
    },
    'type "string", format "date" and pattern "^x$"': {
        "type": "string", "format": "date", "pattern": "^x$",
    },
    'type "string", pattern "^abc$" and minLength 4': {
        "type": "string", "pattern": "^abc$", "minLength": 4,
    },
    'type "string" and anyOf [{"type": "integer"}, {"type": "boolean"}]': {
        "type": "string", "anyOf": [INTEGER, {"type": "boolean"}],
    },
    'allOf [{"type": "integer"}, {"type": "string"}]': {"allOf": [INTEGER, NUMBER, STRING]},
    'allOf [{"const": true}, {"const": false}]': {"allOf": [{"const": True}, {"const": False}]},
}  # fmt: skip
"""Schemas by which nothing is valid, by the fewest things of them that say so."""

UNREAD: dict[str, tuple[Schema, str]] = {
    '$ref "#/$defs/x"': ({"$ref": "#/$defs/x"}, "leads to no schema: put "),
    '$ref "#/required"': ({"$ref": "#/required"}, "leads to no schema: put "),
    '$ref "#x"': ({"$ref": "#x"}, "leads to no schema: put "),
    '$ref "https://example.com/x.json"': (
        {"$ref": "https://example.com/x.json"},
        "leads elsewhere, where nothing is read: put ",
    ),
    '$ref "other.json#/a"': ({"$ref": "other.json#/a"}, "leads elsewhere, "),
    '$ref "http://[bad"': ({"$ref": "http://[bad"}, "can't be read as a reference: put "),
    "multipleOf 1e-30": ({**NUMBER, "multipleOf": 1e-30}, "has more digits than can be "),
    f"multipleOf {10**30}": ({**INTEGER, "multipleOf": 10**30}, "has more digits than can be "),
}
"""Parts that nothing can be made of, with what is said of them."""

PLACES = {
    "#": lambda part: part,
    "#/properties/a": lambda part: obj(a=part, b=STRING),
    "#/properties/a/items": lambda part: obj(a=listed(part, minItems=1), b=obj(c=NUMBER)),
    "#/properties/a/prefixItems/1": lambda part: obj(
        a={"type": "array", "prefixItems": [INTEGER, part], "minItems": 2}
    ),
    "#/$defs/b": lambda part: {**obj(a={"$ref": "#/$defs/b"}), "$defs": {"b": part, "c": STRING}},
    "#/properties/a/anyOf/0": lambda part: obj(a={"anyOf": [part]}),
    "#/properties/a/allOf/1": lambda part: obj(a={"allOf": [{}, part]}),
}
"""Where a part may stand, so that no value is valid without being valid by it."""


def refused(schema: Schema) -> SchemaError:
    with pytest.raises(SchemaError) as caught:
        COMPILER.check("start: " + json_rule(schema))
    return COMPILER.explained(caught.value, schema)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("told", IMPOSSIBLE)
def test_what_leaves_no_value_is_named_with_its_place(told: str, place: str) -> None:
    error = refused(PLACES[place](IMPOSSIBLE[told]))
    assert f"but: no value is valid by {told} at {place}: loosen " in str(error)
    assert isinstance(error.__cause__, ValueError)


@pytest.mark.parametrize("place", ["#", "#/properties/a", "#/properties/a/items", "#/$defs/b"])
@pytest.mark.parametrize("told", UNREAD)
def test_what_cannot_be_read_is_named_with_its_place(told: str, place: str) -> None:
    part, words = UNREAD[told]
    assert f"but: {told} at {place} {words}" in str(refused(PLACES[place](part)))


@pytest.mark.parametrize("told", [*IMPOSSIBLE, *UNREAD])
def test_nothing_is_said_in_the_words_of_the_library(told: str) -> None:
    said = str(refused(IMPOSSIBLE[told] if told in IMPOSSIBLE else UNREAD[told][0]))
    for word in ("Unsatisfiable", "registry", "Pointer", "does not exist", "Regex", "URI", "\n"):
        assert word not in said


def test_what_nothing_needs_is_not_blamed() -> None:
    """A property that is left out may be impossible, and so may a case among others."""
    impossible = IMPOSSIBLE["enum []"]
    schema = {
        "type": "object",
        "properties": {"a": impossible, "b": {"anyOf": [impossible, {"type": "integer"}]}, "c": 0},
        "required": ["b", "c"],
    }
    schema["properties"]["c"] = {"type": "integer", "minimum": 5, "maximum": 3}
    assert "minimum 5 and maximum 3 at #/properties/c:" in str(refused(schema))
    schema["properties"].pop("c")
    COMPILER.check("start: " + json_rule({**schema, "required": ["b"]}))


def test_each_of_several_faults_would_be_named() -> None:
    faulty = {"type": "integer", "minimum": 5, "maximum": 3}
    assert "at #/properties/a:" in str(refused(obj(a=faulty, b=faulty)))


def test_words_that_nobody_knows_are_told_whole() -> None:
    assert words_for(Fault({"type": "integer"}, "#", "Something new: 5")) == ""
    error = SchemaError("as it was")
    assert COMPILER.explained(error, INTEGER) is error
    assert COMPILER.explained(error, {"type": "integer", "minItems": "x"}) is error


def test_all_words_say_where_or_of_all() -> None:
    for _, words in WORDS:
        assert "{place}" in words or words.startswith("it ")


def test_the_smallest_fault_is_refused_by_itself_and_nothing_less_is() -> None:
    """Of a made-up library, by which no two of some names may come together."""
    rng = random.Random(0)
    names = [f"n{each}" for each in range(8)]
    for _ in range(50):
        pair = rng.sample(names, 2)

        def said(schema: Schema, pair: list[str] = pair) -> str:
            return "both" if schema.get("properties", {}).keys() >= {*pair} else ""

        fault = smallest_fault(obj(**dict.fromkeys(names, INTEGER)), said)
        assert fault is not None
        assert fault.part["properties"].keys() == {*pair}
        assert (fault.place, fault.reason) == ("#", "both")


def test_one_fault_among_many_parts_takes_few_more_tries_than_among_few() -> None:
    names = [f"n{each}" for each in range(256)]
    for at_fault in (names[0], names[100], names[-1]):
        tried: list[Schema] = []

        def said(schema: Schema, wrong: str = at_fault, tried: list[Schema] = tried) -> str:
            tried.append(schema)
            part = schema.get("properties", {}).get(wrong, schema)
            return "wrong" if isinstance(part, dict) and part.get("const") == wrong else ""

        fault = smallest_fault(obj([], **{name: {"const": name} for name in names}), said)
        assert fault == Fault({"const": at_fault}, f"#/properties/{at_fault}", "wrong")
        assert len(tried) < 30


@pytest.mark.parametrize("depth", [1, 5, 15])
def test_a_fault_is_found_at_any_depth(depth: int) -> None:
    schema: Schema = {"type": "integer", "minimum": 5, "maximum": 3}
    for _ in range(depth):
        schema = obj(a=schema, b=STRING)
    place = "/properties/a" * depth
    assert f"minimum 5 and maximum 3 at #{place}: loosen" in str(refused(schema))


LOOPS: list[Schema] = [
    {"$ref": "#"},
    {"$ref": ""},
    {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
    {"$ref": "#/$defs/a", "$defs": {"a": obj(b={"$ref": "#/$defs/a"})}},
    {"$ref": "#/$defs/a", "$defs": {"a": listed({"$ref": "#/$defs/a"}, minItems=1)}},
    {"$ref": "#/$defs/a", "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}]}}},
    {"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"$ref": "#/$defs/a"}, obj(b={"$ref": "#"})]}}},
]


@pytest.mark.parametrize("schema", LOOPS)
def test_what_holds_itself_without_end_is_refused_for_that(schema: Schema) -> None:
    with pytest.raises(SchemaError, match=r'what \$ref ".*" leads to holds itself again') as caught:
        json_rule(schema)
    assert "let it end" in str(caught.value)


@pytest.mark.parametrize("way", range(4))
@pytest.mark.parametrize("name", ["#", "#/$defs/a"])
def test_what_may_end_is_held_though_it_leads_back(way: int, name: str) -> None:
    back = {"$ref": name}
    ends: list[Schema] = [
        {"type": "object", "properties": {"a": back}},
        {"type": "array", "items": back},
        {"anyOf": [obj(a=back), {"type": "null"}]},
        obj(a={"anyOf": [back, INTEGER]}),
    ]
    root: dict[str, Any] = ends[way] if name == "#" else {"$ref": name, "$defs": {"a": ends[way]}}
    COMPILER.check("start: " + json_rule(root))


@pytest.mark.parametrize(
    "asking_nothing",
    [
        {"$schema": "http://example.com/own"},
        {"$schema": "https://json-schema.org/draft-07/schema#"},
        {"$id": "my schema"},
        {"$id": "::"},
        {"id": "my schema"},
        {"maxLength": 10**10},
    ],
)
def test_what_asks_nothing_of_an_answer_is_no_reason_to_refuse(asking_nothing: Schema) -> None:
    text = {"type": "string", **asking_nothing}
    COMPILER.check("start: " + json_rule({**text, "$defs": {"a": INTEGER}}))


@pytest.mark.parametrize("keyword", ["$defs", "definitions"])
def test_what_no_reference_leads_to_asks_nothing(keyword: str) -> None:
    elsewhere = {"$ref": "https://example.com/x.json"}
    unneeded = {"c": elsewhere, "d": {"$ref": f"#/{keyword}/c"}, "~/": {"oneOf": [{}, {}]}}
    needed = {"a": obj(a={"$ref": f"#/{keyword}/b~1"}), "b/": INTEGER}
    schema = {"$ref": f"#/{keyword}/a", keyword: {**needed, **unneeded}}
    COMPILER.check("start: " + json_rule(schema))
    with pytest.raises(SchemaError):
        json_rule({**schema, "$ref": f"#/{keyword}/~0~1"})


def test_references_by_the_name_of_the_schema_lead_into_it() -> None:
    name = "https://example.com/own"
    schema = {**obj(a={"$ref": f"{name}#/$defs/b"}), "$id": name, "$defs": {"b": INTEGER}}
    COMPILER.check("start: " + json_rule(schema))


@pytest.mark.parametrize("step", [0, -2, 0.0])
def test_a_step_that_is_none_is_refused_by_its_rule(step: float) -> None:
    with pytest.raises(SchemaError, match="multipleOf at #/properties/a must be a number above 0"):
        json_rule(obj(a={"type": "number", "multipleOf": step}))


UNSAID: dict[str, Schema] = {
    "not": {"type": "string", "not": {"type": "string", "pattern": "x"}},
    "if": {**obj([], a=INTEGER), "if": {"required": ["a"]}, "then": {"required": ["b"]}},
    "contains": listed(INTEGER, contains={"const": 5}, minContains=2),
    "propertyNames": {"type": "object", "propertyNames": {"not": {"const": "x"}}},
    "uniqueItems": listed(STRING, uniqueItems=True),
    "unevaluatedItems": {"type": "array", "prefixItems": [INTEGER], "unevaluatedItems": False},
    "unevaluatedProperties": {**obj(a=INTEGER), "unevaluatedProperties": False},
    "$dynamicRef": {"$dynamicRef": "#node"},
    "minProperties: 2": {"type": "object", "minProperties": 2},
    "oneOf": {"oneOf": [INTEGER, NUMBER]},
    "dependentRequired": {
        **obj([], a=INTEGER), "dependentRequired": {"a": ["b"]}, "dependencies": {"a": ["c"]},
    },
}  # fmt: skip
"""Schemas that are refused before there is a grammar, by the keyword that can't be said."""


@pytest.mark.parametrize("keyword", UNSAID)
@pytest.mark.parametrize("place", ["#", "#/properties/a"])
def test_what_no_grammar_says_is_told_with_its_place_and_what_to_write_instead(
    keyword: str, place: str
) -> None:
    schema = UNSAID[keyword] if place == "#" else obj(a=UNSAID[keyword])
    with pytest.raises(SchemaError) as caught:
        json_rule(schema)
    told = re.search(r"but: (.*)\. Take that out of the schema", str(caught.value))
    assert told is not None
    what, _, instead = told[1].rpartition(": ")
    assert place in what and len(what.split()) > 3 and instead
    assert keyword in what or keyword == "dependentRequired"


def test_every_keyword_that_may_be_left_has_words_for_it() -> None:
    assert all(words.partition(": ")[2] for words in UNHELD.values())
