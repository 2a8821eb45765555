"""What one part of a schema excludes is told by all that another part takes, as it was asked."""

import json
from typing import Any

import jsonschema
import pytest
from llguidance import LLMatcher

from langchain_amulet.errors import SchemaError
from langchain_amulet.grammar import json_rule
from support.grammars import COMPILER, TOKENIZER, grammar_of, written
from support.schemas import Schema, obj

OPEN = {"type": "object"}
FIVE, SEVEN = (
    {"type": "object", "required": ["x"], "properties": {"x": {"const": value}}} for value in (5, 7)
)
NESTED: dict[str, Schema] = {
    "not in not": {**OPEN, "not": {**OPEN, "not": FIVE}},
    "not in oneOf": {"oneOf": [{**OPEN, "not": FIVE}, SEVEN]},
    "oneOf in oneOf": {"oneOf": [{**OPEN, "oneOf": [OPEN, FIVE]}, SEVEN]},
    "oneOf in not": {**OPEN, "not": {"oneOf": [OPEN, FIVE]}},
    "oneOf of a reference": {
        "oneOf": [{"$ref": "#/$defs/a"}, {"enum": [5, 6]}],
        "$defs": {"a": {"oneOf": [{"enum": [1, 2]}, {"enum": [2, 5]}]}},
    },
    "not beside oneOf": {
        "type": "integer",
        "oneOf": [{"enum": [1, 2]}, {"enum": [2, 5]}],
        "not": {"enum": [5]},
    },
}
VALUES: list[Any] = [1, 2, 5, {}, {"x": 5}, {"x": 7}, {"x": 1}, {"y": 1}]


def takes(schema: Schema, value: Any) -> bool:
    start = grammar_of("start: " + json_rule(schema))
    for token in TOKENIZER.encode(json.dumps(value), add_special_tokens=False):
        if not start.allowed()[token] or not start.accept(token):
            return False
    return bool(start.allowed()[TOKENIZER.eos_token_id])


@pytest.mark.parametrize("name", NESTED)
def test_what_is_excluded_within_an_exclusion_is_never_let_through(name: str) -> None:
    schema = NESTED[name]
    validator = jsonschema.Draft202012Validator(schema)
    try:
        json_rule(schema)
    except SchemaError as error:
        assert "may both hold" in str(error) or "not at" in str(error)
        return
    taken = [value for value in VALUES if takes(schema, value)]
    assert all(map(validator.is_valid, taken))
    validator.validate(json.loads(written(grammar_of("start: " + json_rule(schema)), 1)))


def test_of_two_choices_by_a_reference_one_is_given_up_beside_the_other() -> None:
    schema = NESTED["oneOf of a reference"]
    assert takes(schema, 1)
    assert takes(schema, 6)
    assert not takes(schema, 2)
    assert not takes(schema, 5)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"pattern": "^[^:]+$"}, {"pattern": "^[^:]+:[0-9]+$"}),
        ({"pattern": r"^Normal -"}, {"pattern": "^Primary -"}),
        ({"pattern": r"\.js$"}, {"pattern": r"\.css$"}),
        ({"pattern": r"^\d+$"}, {"maxLength": 0}),
    ],
)
def test_texts_are_told_apart_by_patterns_that_no_text_has_both_of(
    one: Schema, other: Schema
) -> None:
    json_rule({"type": "string", "oneOf": [one, other]})


@pytest.mark.parametrize(
    ("one", "other"), [("^a", "a$"), (r"^\w$", "^é$"), ("^a$", "a"), ("(?=a)", "^b$")]
)
def test_patterns_that_some_reader_may_find_in_one_text_tell_none_apart(
    one: str, other: str
) -> None:
    with pytest.raises(SchemaError, match="may both hold"):
        json_rule({"type": "string", "oneOf": [{"pattern": one}, {"pattern": other}]})


def test_a_definition_that_excludes_itself_without_end_is_refused() -> None:
    loop = {"type": "object", "oneOf": [{"required": ["a"]}, {"properties": {"b": {"$ref": "#"}}}]}
    try:
        json_rule(loop)
    except SchemaError as error:
        assert "may both hold" in str(error) or "more and more" in str(error)


def test_a_name_by_two_patterns_is_as_both_ask() -> None:
    named = {"^x": {"type": "integer"}, "y$": {"maximum": 5}}
    for others in (True, False):
        schema = {"type": "object", "patternProperties": named, "additionalProperties": others}
        assert takes(schema, {"xy": 4})
        assert not takes(schema, {"xy": 7})
        assert not takes(schema, {"xy": "a"})


def test_a_name_by_two_patterns_of_which_one_takes_nothing_is_refused_in_words() -> None:
    schema = {"type": "object", "patternProperties": {r"^\w": {"type": "integer"}, "a$": False}}
    with pytest.raises(SchemaError, match=r'"\^\\\\w" at # and .*"a\$" at # can\'t be held to'):
        COMPILER.check("start: " + json_rule(schema))


def test_a_type_beside_a_choice_of_that_type_stands_in_no_circle() -> None:
    item = {"type": "object", "anyOf": [{"$ref": "#/$defs/tree"}, {"$ref": "#/$defs/leaf"}]}
    tree = obj(items={"type": "array", "items": item})
    schema = {"$ref": "#/$defs/tree", "$defs": {"tree": tree, "leaf": obj(a={"type": "null"})}}
    grammar = LLMatcher.grammar_from_lark("start: " + json_rule(schema))
    assert not LLMatcher.validate_grammar(grammar)
    assert takes(schema, {"items": [{"a": None}]})
    assert not takes(schema, {"items": [5]})
