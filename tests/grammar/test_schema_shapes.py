"""What is no JSON schema is refused by keyword and place, with what it is and what it must be."""

from typing import Any

import pytest

from langchain_amulet.errors import SchemaError
from langchain_amulet.grammar.schema_shapes import GIVEN, SHAPES, check_shapes
from langchain_amulet.grammar.schema_tree import Schema

VALUES: list[Any] = [None, True, 3, -1, 0.5, "a", [], ["a"], [3], {}, {"a": 3}, {"a": "b"}]

PLACES = {
    "#": lambda part: part,
    "#/properties/a": lambda part: {"properties": {"a": part}},
    "#/$defs/b/items": lambda part: {"$defs": {"b": {"items": part}}},
    "#/anyOf/1": lambda part: {"anyOf": [{}, part]},
    "#/dependentSchemas/a": lambda part: {"dependentSchemas": {"a": part}},
}


def wrong_for(keyword: str) -> list[Any]:
    return [value for value in VALUES if not SHAPES[keyword][1](value)]


@pytest.mark.parametrize("keyword", SHAPES)
def test_a_keyword_s_wrong_value_is_told_wherever_it_stands(keyword: str) -> None:
    assert wrong_for(keyword)
    for place, put in PLACES.items():
        for value in wrong_for(keyword):
            schema: Schema = put({keyword: value})
            with pytest.raises(SchemaError) as caught:
                check_shapes(schema, "'x'")
            told = f"A schema must be a JSON schema, but: {keyword} at {place} must be "
            assert str(caught.value).startswith(f"{told}{SHAPES[keyword][0]}, not ")
            assert str(caught.value).endswith(". Mend that. It is the schema of 'x'.")


@pytest.mark.parametrize("keyword", GIVEN)
def test_what_is_given_to_a_name_is_told_by_that_name(keyword: str) -> None:
    words, is_one = GIVEN[keyword]
    for value in (each for each in VALUES if not is_one(each)):
        with pytest.raises(SchemaError, match=f"but: a in {keyword} at # must be {words}, not "):
            check_shapes({keyword: {"a": value}})


def test_no_sentence_of_the_schema_s_author_is_told() -> None:
    with pytest.raises(SchemaError) as caught:
        check_shapes({"properties": "a secret of mine"})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("schema", [True, False, {}, {"x-own": 3}, {"default": 3, "examples": 3}])
def test_what_says_nothing_of_the_kind_is_taken(schema: Any) -> None:
    check_shapes(schema)


def test_definitions_that_nothing_leads_to_may_be_anything() -> None:
    check_shapes({"$defs": {"a": 3}, "dependencies": {"a": ["b"], "c": {}}})
