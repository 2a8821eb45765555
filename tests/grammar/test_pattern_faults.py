"""A pattern that no grammar holds is refused with its place, in words, as its author wrote it."""

import json
from typing import Any

import pytest

from langchain_amulet.chat_formats.calls import Parameter
from langchain_amulet.chat_formats.raw_texts import raw_text_rules
from langchain_amulet.errors import AmuletError, ContextLengthError, SchemaError
from langchain_amulet.grammar import json_rule
from support.grammars import COMPILER, grammar_of
from support.schemas import Schema, obj

FAULTS = {
    r"\w+\b": r"\b,",
    r"\Ba\w": r"\B,",
    r"\w\b{end}": r"\b{end},",
    r"(?=.*\d).{8}": "(?=,",
    r"^(?!\w)": "(?!,",
    r"(?<=\w)a": "(?<=,",
    r"(?<!\w)a": "(?<!,",
    r"(\w)\1": r"\1,",
    r"(?P<n>\w)(?P=n)": "(?P=,",
    r"(?<n>\w)\k<n>": r"\k,",
    r"\w\p{Foo}": r"\p{Foo},",
    r"[\w\p{Foo}]": r"\p{Foo},",
    r"(?m)^\w$": "(?m),",
    r"(?L)\w": "(?L),",
    r"(?a:\w)": "(?a:,",
    r"(?-u)\xff": "(?-u),",
    r"(?>\w)a": "(?>,",
    r"(a)?(?(1)\w)": "(?(,",
    r"(?#any)\w": "(?#,",
    r"\w{5,3}": "{5,3},",
    r"\w{99999999999}": "{99999999999},",
    r"\w{,3}": "{ that",
    r"\w{x}": "{ that",
    r"\w\Z": r"\Z,",
    r"\w\0": r"\0,",
    r"\w\cA": r"\c,",
    r"\w$\w": "^ or $ within",
    r"\w^a": "^ or $ within",
    r"(\w": "isn't a regular expression",
    r"\w)": "isn't a regular expression",
    r"[\w": "isn't a regular expression",
    r"*\w": "isn't a regular expression",
    r"[b-a]\w": "isn't a regular expression",
    f"{'(' * 300}\\w{')' * 300}": "isn't a regular expression",
}
"""Patterns with what is said of each; in all of them ``\\w`` would be rewritten."""

RAW = ("regex", "lookaround", "look-around", "not supported", "error:", "Unicode", "0-9A-Z")
"""What only the grammars' library says, or only the rewritten pattern has."""


def refused(schema: Schema) -> AmuletError:
    with pytest.raises(AmuletError) as caught:
        grammar_of("start: " + json_rule(schema))
    return caught.value


def said_of(pattern: str, schema: Schema) -> str:
    """What is said of the schema, after the pattern and its place."""
    error = refused(schema)
    before, _, after = str(error).partition(f"{json.dumps(pattern)} at ")
    assert isinstance(error, SchemaError)
    assert after, before
    assert not [each for each in RAW if each in str(error).replace("a regular expression", "")]
    return after


@pytest.mark.parametrize("pattern", FAULTS)
def test_what_no_grammar_holds_is_named_with_its_place(pattern: str) -> None:
    text = {"type": "string", "pattern": pattern}
    names = {"type": "object", "patternProperties": {pattern: {"type": "integer"}}}
    for place, schema in {
        "#": text,
        "#/properties/a": obj(a=text),
        "#/properties/a/items": obj(a={"type": "array", "items": text}),
        "#/$defs/b/anyOf/1": {"$ref": "#/$defs/b", "$defs": {"b": {"anyOf": [obj(), text]}}},
        "#/properties/b/properties/c": obj(b=obj(c=names)),
        "#/properties/d": obj(d={**names, "additionalProperties": False}),
        "#/propertyNames": {"type": "object", "propertyNames": {"pattern": pattern}},
    }.items():
        said = said_of(pattern, schema)
        assert said.startswith(f"{place} ")
        assert FAULTS[pattern] in said
        assert ": " in said  # a remedy


def test_what_the_library_says_is_the_cause() -> None:
    error = refused({"type": "string", "pattern": r"a\b"})
    assert "lookarounds" in str(error.__cause__)


@pytest.mark.parametrize("pattern", FAULTS)
def test_so_it_is_of_an_argument_that_stands_as_it_is(pattern: str) -> None:
    parameter = Parameter("word", {"type": "string", "pattern": pattern}, is_required=True)
    with pytest.raises(SchemaError) as caught:
        raw_text_rules("a", parameter, "</a>", COMPILER)
    assert f"pattern {json.dumps(pattern)} at argument 'word'" in str(caught.value)
    assert FAULTS[pattern] in str(caught.value)


def test_a_pattern_that_nothing_needs_refuses_nothing() -> None:
    odd = {"pattern": r"(?=a)"}
    grammar_of("start: " + json_rule({**obj(a={"type": "integer", **odd}), "$defs": {"b": odd}}))


@pytest.mark.parametrize("asked", ["[[a]]", r"^[\x00-\x1f]$"])
def test_what_is_refused_for_its_meaning_has_its_place_too(asked: str) -> None:
    with pytest.raises(SchemaError, match="at #/properties/a has"):
        json_rule(obj(a={"type": "string", "pattern": asked}))


@pytest.mark.parametrize(
    "pattern", [r"^(\S+\s+){0,99}\S+$", r"(\w{500}){500}", r"(a{3000}){3000}", r"\d{4100}"]
)
def test_one_that_is_too_large_is_named_with_its_place(pattern: str) -> None:
    text: dict[str, Any] = {"type": "string", "pattern": pattern, "minLength": 200}
    error = refused(obj(a=text))
    assert isinstance(error, (SchemaError, ContextLengthError))
    assert f"pattern {json.dumps(pattern)} at #/properties/a" in str(error)


def test_patterns_that_no_text_has_together_are_both_named() -> None:
    both = {"type": "string", "allOf": [{"pattern": r"^\d$"}, {"pattern": "^a$"}]}
    error = str(refused(both))
    assert r'pattern "^\\d$" at #/allOf/0 and pattern "^a$" at #/allOf/1' in error
    assert "Regex" not in error


def test_a_schema_may_have_a_keyword_of_ours_for_anything() -> None:
    assert "x-asked" not in json_rule({"type": "integer", "x-asked": {"a": 1}})
    for odd in (5, {"a": 1}, {"a": "abc"}, [["a"]]):
        grammar_of(f"start: %json {json.dumps({'type': 'string', 'pattern': 'a', 'x-asked': odd})}")
