"""Structured output: whatever the model and however it is steered, the object is valid."""

import asyncio
import json
import operator
import re
from collections.abc import Iterator
from datetime import date
from enum import Enum
from functools import reduce
from typing import Annotated, Any, Literal, Required, TypedDict

import pytest
from langchain_core.exceptions import OutputParserException
from langchain_core.messages import AIMessage
from langchain_core.tools import StructuredTool
from pydantic import (
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    RootModel,
    field_validator,
    model_validator,
)

from langchain_amulet import ChatAmulet
from langchain_amulet.errors import ConfigurationError, ContextLengthError, SchemaError, ToolError


class Person(BaseModel):
    """Somebody."""

    name: str = Field(min_length=1, max_length=12)
    age: int = Field(ge=0, le=120)
    nicknames: list[Annotated[str, Field(max_length=8)]] = Field(default=[], max_length=2)


class PersonDict(TypedDict):
    """Somebody."""

    name: Annotated[str, ..., "what they are called"]
    age: Annotated[int, ..., "years"]


class Branch(BaseModel):
    """What grows."""

    name: str = Field(max_length=6)
    parts: list["Branch | Leaf"] = Field(min_length=1, max_length=2)


class Leaf(BaseModel):
    """Where it ends."""

    day: date


COLOURS = Enum("COLOURS", "red blue")
SCHEMA = Person.model_json_schema()
METHODS = ["function_calling", "json_schema", "json_mode"]


@pytest.fixture
def llm(tiny: str) -> Iterator[ChatAmulet]:
    """A random model, hot and steered at the paper's strength."""
    with ChatAmulet(
        model=tiny,
        dtype="float32",
        temperature=1.5,
        max_tokens=200,
        preference="Be kind.",
        method="amulet",
    ) as model:
        yield model


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", [Person, SCHEMA, PersonDict], ids=["class", "json", "typed"])
@pytest.mark.parametrize("strict", [None, True])
def test_every_method_gives_valid_objects(
    llm: ChatAmulet, method: Any, schema: Any, strict: bool | None
) -> None:
    chain = llm.with_structured_output(schema, method=method, strict=strict)
    for _ in range(2):
        found = chain.invoke("Who?")
        if schema is PersonDict:
            assert {key: type(value) for key, value in found.items()} == {"name": str, "age": int}
        else:
            Person.model_validate(found)


@pytest.mark.parametrize("method", METHODS)
async def test_every_way_of_calling_gives_valid_objects(llm: ChatAmulet, method: Any) -> None:
    chain = llm.with_structured_output(Person, method=method)
    assert isinstance(await chain.ainvoke("Who?"), Person)
    assert all(isinstance(found, Person) for found in chain.batch(["Who?", "And you?"]))
    assert isinstance(list(chain.stream("Who?"))[-1], Person)
    assert isinstance([found async for found in chain.astream("Who?")][-1], Person)


@pytest.mark.parametrize("method", METHODS)
def test_the_raw_answer_comes_along_if_wanted(llm: ChatAmulet, method: Any) -> None:
    found = llm.with_structured_output(Person, method=method, include_raw=True).invoke("Who?")
    assert isinstance(found["raw"], AIMessage)
    assert isinstance(found["parsed"], Person)
    assert found["parsing_error"] is None
    assert found["raw"].response_metadata["strength"] == pytest.approx(4.6487, abs=1e-4)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", [Branch, {"title": "branch", **Branch.model_json_schema()}])
def test_classes_and_schemas_may_contain_themselves(
    llm: ChatAmulet, schema: Any, method: Any
) -> None:
    chain = llm.with_structured_output(schema, method=method)
    for _ in range(2):
        Branch.model_validate(chain.invoke("Which?"))


def test_a_tool_may_take_what_contains_itself(llm: ChatAmulet) -> None:
    grow = StructuredTool(name="grow", description="Grow it.", args_schema=Branch, func=print)
    for seed in range(4):
        answer = llm.bind_tools([grow], tool_choice="grow", max_tokens=100).invoke("Go.", seed=seed)
        for call in answer.tool_calls:
            Branch.model_validate(call["args"])
        assert answer.tool_calls


def test_any_json_object_can_be_asked_for(llm: ChatAmulet) -> None:
    assert isinstance(llm.with_structured_output(method="json_mode").invoke("Who?"), dict)


LISTS = {"title": "numbers", "type": "array", "items": {"type": "integer"}, "maxItems": 3}


@pytest.mark.parametrize(
    "schema",
    [
        LISTS,
        {"title": "number", "type": "integer", "maximum": 99, "minimum": 0},
        {"title": "colour", "enum": ["red", "blue"]},
        {"title": "either", "anyOf": [{"type": "object"}, {"type": "null"}]},
        {"$defs": {"N": {"type": "integer"}}, "title": "n", "$ref": "#/$defs/N"},
        {"definitions": {"N": {"type": "integer"}}, "title": "n", "$ref": "#/definitions/N"},
        {"title": "n", "allOf": [{"type": "integer"}]},
        RootModel[Annotated[list[int], Field(max_length=3)]],
    ],
    ids=str,
)
def test_what_is_no_object_is_no_call_s_arguments_but_can_be_an_answer(
    llm: ChatAmulet, schema: Any
) -> None:
    with pytest.raises(SchemaError, match=r"must be an object.*use method='json_schema'"):
        llm.with_structured_output(schema)
    found = llm.with_structured_output(schema, method="json_schema", include_raw=True).invoke("?")
    assert found["parsing_error"] is None
    with pytest.raises(ToolError, match="arguments must be an object"):
        llm.bind_tools([schema])


@pytest.mark.parametrize(
    "schema",
    [
        RootModel[Person | Leaf],
        {"title": "who", "anyOf": [SCHEMA, {"type": "object"}]},
        {"title": "who", "properties": {"age": {"type": "integer"}}, "required": ["age"]},
        {"title": "anything"},
    ],
    ids=str,
)
def test_whatever_is_an_object_is_a_call_s_arguments(llm: ChatAmulet, schema: Any) -> None:
    for seed in range(3):
        assert llm.with_structured_output(schema, seed=seed).invoke("Who?") is not None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strict", [None, True])
def test_a_schema_needs_no_title(llm: ChatAmulet, method: Any, strict: bool | None) -> None:
    untitled = {key: value for key, value in SCHEMA.items() if key != "title"}
    found = llm.with_structured_output(untitled, method=method, strict=strict).invoke("Who?")
    Person.model_validate(found)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("schema", [{}, {"loud": True}, {"function": 3}, "str", 3, int])
def test_what_is_no_schema_is_refused(llm: ChatAmulet, schema: Any, method: Any) -> None:
    with pytest.raises(SchemaError, match=r"A schema must be a Pydantic class.*Use one of those"):
        llm.with_structured_output(schema, method=method)


@pytest.mark.parametrize("kind", [list[int], int | str, Person | None, COLOURS, int], ids=str)
def test_a_type_without_fields_is_told_what_to_make_of_it(llm: ChatAmulet, kind: Any) -> None:
    with pytest.raises(SchemaError, match="such as RootModel of that type, or a class with a"):
        llm.with_structured_output(kind)
    llm.with_structured_output(RootModel[kind], method="json_schema")


@pytest.mark.parametrize("name", ["include_Raw", "includeraw", "Strict", "allow_truncate"])
def test_an_argument_that_is_nearly_its_own_is_refused_at_once(llm: ChatAmulet, name: str) -> None:
    given: Any = {name: True}
    with pytest.raises(ConfigurationError, match=f"'{name}' is unknown .* did you mean"):
        llm.with_structured_output(Person, **given)


@pytest.mark.parametrize(
    ("method", "name"), [("function_calling", "tools"), ("json_schema", "response_format")]
)
def test_what_a_method_sets_by_itself_cannot_be_given_too(
    llm: ChatAmulet, method: Any, name: str
) -> None:
    given: dict[str, Any] = {name: None}
    with pytest.raises(SchemaError, match=rf"sets {name} by itself.*leave it out"):
        llm.with_structured_output(Person, method=method, **given)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("names", [{"name": "person", "strict": True}, {}])
def test_a_schema_may_be_wrapped_as_openai_wraps_it(
    llm: ChatAmulet, method: Any, names: dict[str, Any]
) -> None:
    wrapped = {"type": "json_schema", "json_schema": {**names, "schema": SCHEMA}}
    Person.model_validate(llm.with_structured_output(wrapped, method=method).invoke("Who are you?"))


def test_a_field_that_no_answer_could_have_is_refused_before_any_call(llm: ChatAmulet) -> None:
    class Deep(BaseModel):
        a: int = Field(validation_alias=AliasPath("aa", "b"))

    for refused in (llm.with_structured_output, lambda cls: llm.bind_tools([cls])):
        with pytest.raises(SchemaError, match=r"Deep reads 'a' from the path 'aa\.b'"):
            refused(Deep)


@pytest.mark.parametrize("schema", [Person, SCHEMA], ids=["class", "json"])
@pytest.mark.parametrize("method", ["json_schema", "json_mode"])
def test_a_call_of_a_tool_instead_of_an_answer_is_no_failure(
    llm: ChatAmulet, schema: Any, method: Any
) -> None:
    tool = {"name": "now", "description": "The time.", "parameters": {"type": "object"}}
    asked: dict[str, Any] = {"method": method, "tools": [tool], "tool_choice": "any"}
    found = llm.with_structured_output(schema, include_raw=True, **asked).invoke("When?")
    assert found["raw"].tool_calls
    assert (found["parsed"], found["parsing_error"]) == (None, None)
    assert llm.with_structured_output(schema, **asked).invoke("When?") is None
    assert list(llm.with_structured_output(schema, **asked).stream("When?")) == []


def test_the_preference_survives_structure(llm: ChatAmulet) -> None:
    plain = llm.with_preference(None)
    chains = [
        plain.bind(preference="Be rude.").with_structured_output(Person, include_raw=True),
        plain.with_structured_output(Person, include_raw=True, preference="Be rude."),
    ]
    for chain in chains:
        assert chain.invoke("Who?")["raw"].response_metadata["strength"]


def test_a_response_format_is_kept_to(llm: ChatAmulet) -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
    for response_format in (wanted, Person, SCHEMA):
        answer = llm.invoke("Who?", response_format=response_format)
        Person.model_validate_json(str(answer.content))
    assert isinstance(
        json.loads(str(llm.invoke("Who?", response_format={"type": "json_object"}).content)), dict
    )


def test_a_response_format_leaves_room_for_tools(llm: ChatAmulet) -> None:
    tool = {"name": "now", "description": "The time.", "parameters": {"type": "object"}}
    bound = llm.bind_tools([tool], response_format={"type": "json_schema", "schema": SCHEMA})
    for seed in range(4):
        answer = bound.invoke("Who?", seed=seed)
        assert answer.tool_calls or Person.model_validate_json(str(answer.content))


def test_a_format_that_is_none_is_refused(llm: ChatAmulet) -> None:
    with pytest.raises(SchemaError, match="response_format must be"):
        llm.invoke("Who?", response_format="json")
    with pytest.raises(SchemaError, match="method must be one of"):
        llm.with_structured_output(Person, method="xml")  # type: ignore[arg-type]
    with pytest.raises(SchemaError, match="needs a schema"):
        llm.with_structured_output()


def test_a_schema_that_cannot_be_held_to_is_refused_with_the_reason(llm: ChatAmulet) -> None:
    odd = {"title": "odd", "type": "object", "properties": {"a": {"uniqueItems": True}}}
    for method in METHODS:
        chain = llm.with_structured_output(odd, method=method)  # type: ignore[arg-type]
        with pytest.raises(SchemaError, match="uniqueItems"):
            chain.invoke("Who?")


@pytest.mark.parametrize("method", METHODS)
def test_too_little_room_is_refused_and_how_much_is_enough_is_told(
    llm: ChatAmulet, method: Any
) -> None:
    chain = llm.bind(max_tokens=5).with_structured_output(Person, method=method)
    with pytest.raises(ContextLengthError, match=r"raise max_tokens to \d+ or more") as caught:
        chain.invoke("Who?")
    (enough,) = re.findall(r"to (\d+) or more", str(caught.value))
    assert isinstance(chain.invoke("Who?", max_tokens=int(enough)), Person)
    with pytest.raises(ContextLengthError):
        chain.invoke("Who?", max_tokens=int(enough) - 1)


class Kind(Enum):
    fee = "fee"
    tax = "tax"


class Bill(BaseModel):
    """A bill, of which only JSON is taken."""

    model_config = ConfigDict(strict=True)

    due: date
    kind: Kind
    rates: dict[int, bool] = Field(max_length=2)


@pytest.mark.parametrize("method", METHODS)
def test_strict_classes_are_read_from_json(llm: ChatAmulet, method: Any) -> None:
    found = llm.with_structured_output(Bill, method=method).invoke("Which?")
    assert isinstance(found, Bill)
    assert isinstance(found.due, date)
    assert isinstance(found.kind, Kind)


class Optional(TypedDict, total=False):
    """Anything."""

    size: Required[Annotated[int, Field(ge=1, le=5)]]
    colour: Literal["red", "blue"]


@pytest.mark.parametrize("method", METHODS)
def test_a_typed_dict_always_has_the_keys_that_it_requires(llm: ChatAmulet, method: Any) -> None:
    chain = llm.with_structured_output(Optional, method=method)
    found = [chain.invoke("Which?", seed=seed) for seed in range(3)]
    assert all(1 <= each["size"] <= 5 for each in found)
    assert all(each.keys() <= {"size", "colour"} for each in found)


def test_arguments_of_a_call_are_those_of_the_model_with_the_raw_answer_too(
    llm: ChatAmulet,
) -> None:
    chain = llm.with_structured_output(Person, include_raw=True)
    arguments: dict[str, Any] = {"preference": None, "seed": 3, "max_tokens": 60, "trace": True}
    plain = llm.bind(**arguments).with_structured_output(Person, include_raw=True).invoke("Who?")
    for found in raw_answers(chain, "Who?", arguments):
        assert found["raw"].response_metadata == plain["raw"].response_metadata
        assert found["parsed"] == plain["parsed"]
    assert plain["raw"].response_metadata["strength"] is None
    assert plain["raw"].usage_metadata["output_tokens"] <= 60


def raw_answers(chain: Any, question: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    """What a chain answers, called in every way."""

    async def later() -> list[dict[str, Any]]:
        streamed = [part async for part in chain.astream(question, **arguments)]
        return [
            await chain.ainvoke(question, **arguments),
            *await chain.abatch([question], **arguments),
            reduce(operator.or_, streamed),
        ]

    return [
        chain.invoke(question, **arguments),
        *chain.batch([question], **arguments),
        reduce(operator.or_, chain.stream(question, **arguments)),
        *asyncio.run(later()),
    ]


@pytest.mark.parametrize("method", METHODS)
def test_stop_strings_end_no_object(llm: ChatAmulet, method: Any) -> None:
    stopped = llm.bind(stop=['"', "{", "\n", "a", "1"], seed=1)
    found = stopped.with_structured_output(Person, method=method).invoke("Who?")
    assert found == llm.bind(seed=1).with_structured_output(Person, method=method).invoke("Who?")
    assert isinstance(found, Person)


class Story(BaseModel):
    """What has no bounds."""

    text: str


@pytest.mark.parametrize("method", METHODS)
def test_an_object_that_was_closed_as_tokens_ran_out_says_so(
    llm: ChatAmulet, method: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ContextLengthError) as caught:
        llm.with_structured_output(Story, method=method).invoke("Tell.", max_tokens=1)
    (enough,) = re.findall(r"to (\d+) or more", str(caught.value))
    bound = llm.bind(max_tokens=int(enough))
    found = bound.with_structured_output(Story, method=method, include_raw=True).invoke("Tell.")
    assert isinstance(found["parsed"], Story)
    assert found["raw"].response_metadata["finish_reason"] == "length"
    assert "max_tokens ran out" in caplog.text
    refusing = bound.with_structured_output(Story, method=method, allow_truncated=False)
    with pytest.raises(OutputParserException, match=r"max_tokens ran out.*raise max_tokens"):
        refusing.invoke("Tell.")
    with pytest.raises(OutputParserException, match="max_tokens ran out"):
        list(refusing.stream("Tell."))
    raw = bound.with_structured_output(
        Story, method=method, include_raw=True, allow_truncated=False
    ).invoke("Tell.")
    assert raw["parsed"] is None
    assert isinstance(raw["parsing_error"], OutputParserException)


@pytest.mark.parametrize("method", METHODS)
def test_an_object_that_ended_by_itself_is_whole(llm: ChatAmulet, method: Any) -> None:
    chain = llm.with_structured_output(Leaf, method=method, allow_truncated=False)
    assert isinstance(chain.invoke("Which?"), Leaf)


class Checked(BaseModel):
    """Whose validators take what is read for whole, and say nothing of values."""

    first: Annotated[int, Field(ge=1, le=9)]
    last: Annotated[int, Field(ge=1, le=9)]

    @model_validator(mode="before")
    @classmethod
    def look(cls, values: dict[str, int]) -> dict[str, int]:
        if values["last"] < 0:
            raise LookupError("never")
        return values


class Looking(Checked):
    """Which fails by a mistake of its own."""

    @field_validator("last", mode="after")
    @classmethod
    def miss(cls, last: int) -> int:
        return {"none": 0}[str(last)]


@pytest.mark.parametrize("method", METHODS)
def test_whatever_a_validator_raises_ends_no_stream_and_is_told_by_the_whole(
    llm: ChatAmulet, method: Any
) -> None:
    assert isinstance(
        [*llm.with_structured_output(Checked, method=method).stream("?")][-1], Checked
    )
    with pytest.raises(OutputParserException, match="Looking doesn't take the answer"):
        llm.with_structured_output(Looking, method=method).invoke("?")


@pytest.mark.parametrize("method", METHODS)
def test_what_a_class_refuses_for_reasons_of_its_own_is_told(llm: ChatAmulet, method: Any) -> None:
    class Even(BaseModel):
        """An even number."""

        number: Annotated[int, Field(ge=1, le=9)]

        @field_validator("number", mode="before")
        @classmethod
        def refuse(cls, number: int) -> int:
            raise ValueError("never right")

    with pytest.raises(OutputParserException, match=r"Even doesn't take the answer.*"):
        llm.with_structured_output(Even, method=method).invoke("Which?")
    found = llm.with_structured_output(Even, method=method, include_raw=True).invoke("Which?")
    assert "never right" in str(found["parsing_error"])


def test_a_marker_of_thoughts_in_a_value_is_text_like_any_other(tiny: str) -> None:
    value = {"a": "<think> so </think>"}
    asked: Any = {"type": "json_schema", "schema": {"const": value}}
    template = "{{ messages[0].content }}{# <think></think> #}"
    with ChatAmulet(model=tiny, chat_template=template) as llm:
        answer = llm.invoke("Hello!", response_format=asked)
        pieces = list(llm.stream("Hello!", response_format=asked))
    assert json.loads(answer.text) == json.loads("".join(each.text for each in pieces)) == value
