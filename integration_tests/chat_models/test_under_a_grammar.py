"""Answers held to a schema, come what may: several wishes, stop strings, few tokens, company."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import jsonschema
import pytest

from langchain_amulet import ChatAmulet, Preference
from langchain_amulet.errors import ContextLengthError, SchemaError
from langchain_amulet.methods import Amulet
from support.engines import engine_of
from support.schemas import BOOLEAN, INTEGER, REFUSED, SCHEMAS, SHORT, Schema, listed, obj, one_of

ORDER = obj(
    ["dish", "size"],
    dish=SHORT,
    size=one_of("small", "large"),
    extras=listed(SHORT, maxItems=3),
    paid=BOOLEAN,
)
TOOLS = [
    {"name": "order", "description": "Order a dish.", "parameters": ORDER},
    {"name": "count", "description": "Count.", "parameters": obj(to=INTEGER)},
]
WISHES = [
    Preference(text="Be kind."),
    Preference(text="Keep it short.", weight=0.5),
    Preference(text="Never be rude.", strength=2.0),
]


@pytest.fixture(scope="module")
def llm(tiny: str) -> Iterator[ChatAmulet]:
    """A random model, hot and steered as in the paper: it writes whatever it may."""
    with ChatAmulet(
        model=tiny,
        dtype="float32",
        temperature=1.5,
        max_tokens=160,
        preference="Be kind.",
        method=Amulet.paper(),
    ) as model:
        yield model


def as_format(schema: Schema) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}


@pytest.mark.parametrize("placement", ["system", "user"])
@pytest.mark.parametrize("choice", ["any", "order"])
def test_several_wishes_pull_and_calls_stay_valid(
    llm: ChatAmulet, choice: str, placement: Any
) -> None:
    bound = llm.bind_tools(TOOLS, tool_choice=choice, preference=WISHES, placement=placement)
    for seed in range(6):
        answer = bound.invoke("Go.", seed=seed)
        assert len(answer.response_metadata["strength"]) == 3
        assert not answer.invalid_tool_calls
        for call in answer.tool_calls:
            schema = next(tool["parameters"] for tool in TOOLS if tool["name"] == call["name"])
            jsonschema.validate(call["args"], schema)  # type: ignore[arg-type]
        assert answer.tool_calls


def test_a_stop_string_that_cannot_come_changes_nothing(llm: ChatAmulet) -> None:
    wanted = as_format(ORDER)
    plain = llm.invoke("Go.", response_format=wanted, seed=3)
    stopped = llm.invoke("Go.", response_format=wanted, seed=3, stop=["\n", "}}"])
    assert stopped.content == plain.content


def test_a_stop_string_is_for_what_is_said_and_cuts_no_structure(llm: ChatAmulet) -> None:
    wanted = as_format(ORDER)
    plain = llm.invoke("Go.", response_format=wanted, seed=3)
    answer = llm.invoke("Go.", response_format=wanted, seed=3, stop=['"size"'])
    assert answer.content == plain.content


def test_a_stop_string_cuts_no_call(llm: ChatAmulet) -> None:
    bound = llm.bind_tools(TOOLS, tool_choice="order", seed=3)
    (call,) = bound.invoke("Go.").tool_calls
    (same,) = bound.invoke("Go.", stop=['"size"']).tool_calls
    assert same["args"] == call["args"]


@pytest.mark.parametrize("name", ["search", "expression", "email", "tree"])
def test_the_fewest_tokens_that_are_taken_make_a_whole_answer(llm: ChatAmulet, name: str) -> None:
    schema = SCHEMAS[name]
    wanted = {"type": "json_object", "schema": schema}
    for tokens in count(1):
        try:
            answer = llm.invoke("Go.", response_format=wanted, max_tokens=tokens)
        except ContextLengthError:
            continue
        break
    jsonschema.validate(json.loads(str(answer.content)), schema)
    assert answer.usage_metadata
    assert answer.usage_metadata["output_tokens"] <= tokens
    for seed in range(4):
        answer = llm.invoke("Go.", response_format=wanted, max_tokens=tokens + 3, seed=seed)
        jsonschema.validate(json.loads(str(answer.content)), schema)


def test_a_seed_means_the_same_answer_whoever_else_decodes(llm: ChatAmulet) -> None:
    names = ["search", "pattern", "tree", "array of objects", "any of objects", "number"]

    def ask(seed: int) -> Any:
        schema = SCHEMAS[names[seed % len(names)]]
        wanted = {"type": "json_object", "schema": schema}
        wishes = WISHES[: 1 + seed % 3]
        return llm.invoke(
            "Go.", response_format=wanted, seed=seed, preference=wishes, max_tokens=160
        ).content

    alone = [ask(seed) for seed in range(9)]
    with ThreadPoolExecutor(9) as pool:
        assert list(pool.map(ask, range(9))) == alone
    assert len(set(alone)) > 6


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_held_to_is_refused_before_decoding_in_every_way(
    llm: ChatAmulet, name: str
) -> None:
    schema = {"title": "odd", "description": "Odd.", **REFUSED[name]}
    tool = {"name": "odd", "description": "Odd.", "parameters": schema}
    ways: list[Any] = [
        lambda: llm.with_structured_output(schema),
        lambda: llm.with_structured_output(schema, method="json_schema"),
        lambda: llm.with_structured_output(schema, method="json_mode"),
        lambda: llm.bind_tools([tool], strict=True),
        lambda: llm.bind_tools([tool], tool_choice="any"),
        lambda: llm.bind_tools([tool], tool_choice="odd"),
        lambda: llm.bind(response_format=as_format(schema)),
        lambda: llm.bind(response_format={"type": "json_object", "schema": schema}),
    ]
    before = engine_of(llm).stats().admitted
    for way in ways:
        with pytest.raises(SchemaError, match=r"A schema must be .+, but: \S.+"):
            way().invoke("Go.")
    assert engine_of(llm).stats().admitted == before
