"""Tools and schemas in every form that callers have, as one form."""

import json
import re
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal, NotRequired, Protocol, Required, TypedDict

import pytest
from langchain_core.tools import StructuredTool, Tool
from langchain_core.tools import tool as as_base_tool
from pydantic import BaseModel, ConfigDict, Field

from langchain_amulet.chat_models.answer_schema import as_schema, schema_tool
from langchain_amulet.chat_models.function_schema import ARGUMENTS
from langchain_amulet.chat_models.tools import as_tool, as_tools
from langchain_amulet.errors import SchemaError, ToolError
from support.sampled import sampled

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}
FUNCTION = {"name": "weather", "description": "The weather.", "parameters": PARAMETERS}
FORMS: dict[str, dict[str, Any]] = {
    "OpenAI's": {"type": "function", "function": FUNCTION},
    "OpenAI's function": FUNCTION,
    "OpenAI's of responses": {"type": "function", **FUNCTION},
    "Anthropic's": {"name": "weather", "description": "...", "input_schema": PARAMETERS},
    "Bedrock's": {"toolSpec": {"name": "weather", "inputSchema": {"json": PARAMETERS}}},
    "MCP's": {"name": "weather", "title": "The weather", "inputSchema": PARAMETERS},
    "JSON schema": {"title": "weather", **PARAMETERS},
    "JSON schema with a name": {"name": "weather", **PARAMETERS},
}


def test_what_is_strict_keeps_its_mappings() -> None:
    class Stock(BaseModel):
        shelf: str
        counts: dict[str, int]

    for form in (Stock, {"title": "stock", **Stock.model_json_schema()}):
        schema = schema_tool(form, strict=True)["function"]["parameters"]
        assert schema["additionalProperties"] is False
        assert schema["properties"]["counts"]["additionalProperties"] == {"type": "integer"}


class City(BaseModel):
    name: str


class Route(BaseModel):
    """A way from one city to another."""

    start: City
    end: City


class Tree(BaseModel):
    """What grows."""

    branches: list["Tree"] = []


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("strict", [None, True, False])
def test_every_form_of_a_tool_keeps_its_arguments_and_is_strict_if_asked(
    form: dict[str, Any], strict: bool | None
) -> None:
    (found,) = as_tools([form], strict)
    function = found["function"]
    assert function["name"] == "weather"
    assert function["parameters"]["properties"] == PARAMETERS["properties"]
    assert function.get("strict") is strict
    assert as_tool(found) == found  # bound, and read once more by each call


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_of_a_tool_is_a_schema(form: dict[str, Any]) -> None:
    schema = as_schema(form)
    assert schema["title"] == "weather"
    assert schema["properties"] == PARAMETERS["properties"]


def bare(x: int) -> int:
    return x


class Bare(BaseModel):
    x: int


@pytest.mark.parametrize(
    "tool",
    [
        {"name": "bare"},
        {"type": "function", "function": {"name": "bare"}},
        {"name": "bare", "description": None, "parameters": None},
        {"title": "bare", "type": "object"},
        bare,
        Bare,
        Tool(name="bare", description="", func=print),
    ],
    ids=["name", "OpenAI", "nulls", "title", "function", "class", "tool"],
)
@pytest.mark.parametrize("strict", [None, True])
def test_tools_have_a_description_and_arguments_even_if_they_say_nothing(
    tool: Any, strict: bool | None
) -> None:
    function = as_tool(tool, strict)["function"]
    assert function["description"] == ""
    assert function["parameters"]["type"] == "object"


def travel(route: Route, back: Route) -> str:
    """Travel.

    Args:
        route: The way there.
        back: The way back.
    """
    return f"{route} {back}"


@pytest.mark.parametrize(
    "tool",
    [travel, as_base_tool(travel), StructuredTool.from_function(travel)],
    ids=["function", "decorated", "made"],
)
def test_what_arguments_share_is_told_once(tool: Any) -> None:
    parameters = as_tool(tool)["function"]["parameters"]
    assert parameters["properties"]["route"]["$ref"] == "#/$defs/Route"
    assert parameters["$defs"].keys() == {"City", "Route"}


@pytest.mark.parametrize(("said", "written"), [(True, {}), (False, {"not": {}})])
def test_a_property_s_schema_is_an_object_however_it_is_said(said: bool, written: Any) -> None:
    inner = {"type": "object", "properties": {"a": said}, "additionalProperties": False}
    parameters = {"type": "object", "properties": {"a": said, "b": inner}, "required": ["a"]}
    found = as_tool({"name": "put", "description": "", "parameters": parameters})
    shown = {**inner, "properties": {"a": written}}
    assert found["function"]["parameters"]["properties"] == {"a": written, "b": shown}
    assert parameters["properties"]["a"] is said  # it is the caller's


def test_what_a_class_shares_is_told_once_without_titles() -> None:
    for described in (schema_tool(Route)["function"]["parameters"], as_schema(Route)):
        assert described["properties"] == {
            "start": {"$ref": "#/$defs/City"},
            "end": {"$ref": "#/$defs/City"},
        }
        assert described["$defs"]["City"]["properties"] == {"name": {"type": "string"}}


@pytest.mark.parametrize("key", ["const", "enum", "default", "examples"])
def test_a_value_in_a_schema_keeps_its_title(key: str) -> None:
    value: Any = {"title": "Dune"} if key in ("const", "default") else [{"title": "Dune"}]
    book = {"title": "Book", "type": "object", key: value}
    schema = as_schema({"type": "object", "properties": {"book": book}})
    assert schema["properties"]["book"] == {"type": "object", key: value}


@pytest.mark.parametrize("key", ["const", "enum", "default", "examples"])
def test_a_property_is_told_without_its_title_whatever_it_is_called(key: str) -> None:
    book = {"type": "object", "properties": {key: {"title": "Key", "type": "integer"}}}
    assert as_schema(book)["properties"] == {key: {"type": "integer"}}


def test_a_class_that_holds_itself_keeps_its_name_and_description() -> None:
    function = as_tool(Tree)["function"]
    assert (function["name"], function["description"]) == ("Tree", "What grows.")
    assert function["parameters"]["$ref"] == "#/$defs/Tree"


def test_a_class_is_called_as_it_says() -> None:
    class Named(BaseModel):
        model_config = ConfigDict(title="Called")

    assert as_tool(Named)["function"]["name"] == "Called"


def test_a_tool_without_arguments_of_a_server_takes_none() -> None:
    tool = StructuredTool(name="now", description="", args_schema={}, func=print)
    assert as_tool(tool)["function"]["parameters"] == {"type": "object"}


class Mood(Enum):
    good = "good"


class Named(Protocol):
    name: str


@dataclass
class Point:
    x: int


CLASSES = [Mood, Named, list, int, dict, str, object, list[int], Route | City, Literal["a"], travel]


@pytest.mark.parametrize("schema", [*CLASSES, Point, Route(start=City(name=""), end=City(name=""))])
def test_what_says_no_fields_is_no_schema(schema: Any) -> None:
    with pytest.raises(SchemaError, match=r"must be a Pydantic class, a TypedDict or a JSON"):
        schema_tool(schema)


@pytest.mark.parametrize("tool", [Mood, Named, list, int, dict, str, object])
def test_classes_that_say_no_arguments_are_no_tools(tool: Any) -> None:
    with pytest.raises(ToolError, match=r"another class: make a function"):
        as_tool(tool)


@pytest.mark.parametrize(
    "tool",
    [{"type": "web_search_preview"}, {"type": "web_search_20250305", "name": "web_search"}],
    ids=str,
)
def test_tools_that_a_provider_would_run_are_refused(tool: Any) -> None:
    with pytest.raises(ToolError, match="no tools of its own"):
        as_tool(tool)


@pytest.mark.parametrize(
    "schema",
    [
        {"name": "Package", **PARAMETERS},
        {"name": {"first": "Ada"}, **PARAMETERS},
        {"name": "Package", "schema": PARAMETERS, "strict": True},
        {"name": "Package", "$defs": {"P": PARAMETERS}, "$ref": "#/$defs/P"},
        {"name": "Package", "anyOf": [PARAMETERS]},
    ],
    ids=str,
)
def test_a_schema_with_a_name_says_what_is_valid_all_the_same(schema: Any) -> None:
    described = as_schema(schema)
    assert isinstance(described["title"], str)
    assert str(PARAMETERS["properties"]) in str(described)


class Part(TypedDict):
    """A part."""

    day: Annotated[str, Field(pattern="^[0-9]+$")]
    inner: NotRequired[list["Part"]]


class Whole(TypedDict, total=False):
    """A whole.

    Args:
        size: How large it is.
    """

    size: Required[int]
    colour: Annotated[str, ..., "what it looks like"]
    count: Annotated[int, 3, "how many there are"]
    note: Annotated[str, "whatever else"]
    parts: list[Part | None]
    first: Part


def test_typed_dicts_say_what_may_be_left_out() -> None:
    schema = as_schema(Whole)
    assert (schema["title"], schema["description"]) == ("Whole", "A whole.")
    assert schema["required"] == ["size"]
    told = {name: each.get("description") for name, each in schema["properties"].items()}
    assert told["size"] == "How large it is."
    assert told["colour"] == "what it looks like"
    assert told["note"] == "whatever else"
    assert schema["properties"]["count"]["default"] == 3
    part = schema["$defs"]["Part"]
    assert part["required"] == ["day"]
    assert part["properties"]["day"]["pattern"] == "^[0-9]+$"
    assert part["properties"]["inner"]["items"] == {"$ref": "#/$defs/Part"}


class Ruled(TypedDict):
    size: Annotated[int, Field(ge=1, le=5), "how large"]


def test_a_rule_in_front_of_a_description_is_no_default() -> None:
    schema = as_schema(Ruled)
    assert schema["required"] == ["size"]
    assert schema["properties"]["size"]["maximum"] == 5


class Circle(TypedDict):
    kind: Literal["circle"]
    radius: int


class Square(TypedDict):
    kind: Literal["square"]
    side: int


class Drawing(TypedDict):
    shape: Annotated[Circle | Square, Field(discriminator="kind")]


def test_typed_dicts_may_be_told_apart_by_a_tag() -> None:
    for text in sampled(dict(as_schema(Drawing)), count=4):
        assert json.loads(text)["shape"].keys() in ({"kind", "radius"}, {"kind", "side"})


class Node(TypedDict):
    nodes: list["Node"]
    first: Literal[1]


One = Node


class Node(TypedDict):  # type: ignore[no-redef]
    second: Literal[2]


class Both(TypedDict):
    one: One
    other: Node


def test_typed_dicts_may_be_called_the_same() -> None:
    one, other = as_schema(Both)["$defs"].values()
    assert {*one["properties"], *other["properties"]} == {"nodes", "first", "second"}


def test_a_type_that_is_none_is_told_by_its_name() -> None:
    """As Gemini's schemas have them."""
    shouted = {"type": "OBJECT", "properties": {"city": {"type": "STRING"}}}
    for refused in (schema_tool, lambda each: as_tool({**FUNCTION, "parameters": each})):
        with pytest.raises(SchemaError, match=r"type at #.* must be one of array"):
            refused(shouted)


@pytest.mark.parametrize("key", ["schema", "args_schema", "parametersJsonSchema"])
def test_a_tool_whose_arguments_nobody_reads_is_refused(key: str) -> None:
    with pytest.raises(ToolError, match=f"must be called 'parameters', not '{key}'"):
        as_tool({"name": "weather", "description": "The weather.", key: PARAMETERS})


Odd = TypedDict("Odd", {"model_config": int, "a b": int, "_x": int, "copy": int})


def test_keys_of_a_typed_dict_need_be_no_names() -> None:
    schema = as_schema(Odd)
    assert schema["required"] == list(schema["properties"]) == ["model_config", "a b", "_x", "copy"]
    assert "description" not in schema


class Shirt(TypedDict, total=False):
    size: Required[int]
    colour: Literal["red", "blue"]


def test_what_may_be_left_out_of_a_typed_dict_sometimes_is() -> None:
    found = [json.loads(text) for text in sampled(dict(as_schema(Shirt)), count=12)]
    assert {frozenset(each) for each in found} == {
        frozenset({"size"}),
        frozenset(Shirt.__annotations__),
    }


MISSHAPEN: dict[str, Any] = {
    "properties": ["a"],
    "required": "a",
    "enum": {},
    "items": 3,
    "$defs": [],
    "anyOf": {},
    "not": 3,
    "type": "colour",
}
"""Keywords with values of another kind than they must have."""


def with_part(keyword: str, place: str) -> list[dict[str, Any]]:
    """A schema that has a keyword with a wrong value, in every form."""
    part = {keyword: MISSHAPEN[keyword]}
    inner = part if place == "#" else {"properties": {"x": part}}
    schema = {"type": "object", **inner}
    return [
        {"type": "function", "function": {**FUNCTION, "parameters": schema}},
        {"name": "weather", "description": "...", "input_schema": schema},
        {"title": "weather", **schema},
    ]


@pytest.mark.parametrize("keyword", MISSHAPEN)
@pytest.mark.parametrize("place", ["#", "#/properties/x"])
def test_what_is_no_schema_is_refused_with_its_place_in_every_form(
    keyword: str, place: str
) -> None:
    told = f"but: {re.escape(keyword)} at {place} must be .*, not .*. Mend that"
    for form in with_part(keyword, place):
        for strict in (None, True):
            with pytest.raises(SchemaError, match=told):
                schema_tool(form, strict)


@pytest.mark.parametrize("keyword", [key for key in MISSHAPEN if key != "type"])
@pytest.mark.parametrize("place", ["#", "#/properties/x"])
def test_a_tool_s_schema_that_is_none_is_left_to_the_model(keyword: str, place: str) -> None:
    """It refuses itself where its calls must be valid, and no other tool beside it."""
    for form in with_part(keyword, place):
        assert as_tool(form)["function"]["name"] == "weather"


def test_a_keyword_of_null_asks_nothing_and_a_value_may_be_null() -> None:
    part = {"type": "string", "enum": None, "maxLength": None, "const": None, "default": None}
    schema = {"type": "object", "properties": {"x": part}}
    function = as_tool({"name": "weather", "description": "...", "input_schema": schema})
    read = function["function"]["parameters"]["properties"]["x"]
    assert read == {"type": "string", "const": None, "default": None}


@pytest.mark.parametrize("said", [{"description": 3}, {"strict": "yes"}, {"parameters": [1]}])
def test_what_is_said_of_a_tool_is_told_where_it_is_of_another_kind(said: dict[str, Any]) -> None:
    (name,) = said
    with pytest.raises(ToolError, match=f"{name} of 'weather' must be .*, not .*: mend it"):
        as_tool({"type": "function", "function": {**FUNCTION, **said}})
    with pytest.raises(SchemaError, match="description of 'x' must be a text, not 3"):
        schema_tool({"title": "x", "type": "object", "description": 3})


@pytest.mark.parametrize("key", ARGUMENTS)
@pytest.mark.parametrize("value", [[1], "x", 3, True])
def test_arguments_that_are_no_schema_are_refused_whatever_a_description_calls_them(
    key: str, value: Any
) -> None:
    with pytest.raises(ToolError):
        as_tool({"name": "weather", "description": "...", key: value})
