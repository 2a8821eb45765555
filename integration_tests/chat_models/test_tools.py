"""Tools: offered in every shape, chosen in every way, called whole while the answer is steered."""

import json
import operator
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from pydantic import BaseModel, Field

from langchain_amulet import ChatAmulet
from langchain_amulet.chat_models.call import prepare
from langchain_amulet.errors import RequestError, SchemaError, ToolError
from support.models import save_model
from support.tokenizers import CHATML, FORGETFUL, JOINED_ROLES, LLAMA, MISTRAL, STRICT
from support.usage import counted


@tool
def get_weather(location: str) -> str:
    """Get the weather at a location."""
    return f"It is sunny in {location}."


@tool
def now() -> str:
    """The time of day."""
    return "noon"


def add(a: int, b: Annotated[int, "the second number"]) -> int:
    """Add two integers.

    Args:
        a: The first number.
        b: The second number.
    """
    return a + b


class Order(BaseModel):
    """Order a dish."""

    dish: str = Field(max_length=20)
    number: int = Field(ge=1, le=9)


RAW = {
    "name": "count",
    "description": "Count up to a number.",
    "parameters": {
        "type": "object",
        "properties": {"to": {"type": "integer", "minimum": 1, "maximum": 99}},
        "required": ["to"],
    },
}
SHAPES = {
    "tool": (get_weather, "get_weather", {"location"}),
    "function": (add, "add", {"a", "b"}),
    "class": (Order, "Order", {"dish", "number"}),
    "schema": (RAW, "count", {"to"}),
    "OpenAI's schema": ({"type": "function", "function": RAW}, "count", {"to"}),
    "no arguments": (now, "now", set()),
}


def calling(*names: str) -> AIMessage:
    return AIMessage("", tool_calls=[{"name": name, "args": {}, "id": name} for name in names])


PAPER: dict[str, Any] = {"preference": "Be kind.", "method": "amulet"}


@pytest.fixture(scope="session")
def pocket() -> Iterator[ChatAmulet]:
    with ChatAmulet(model="pocket", temperature=0.0, max_tokens=128) as model:
        yield model


@pytest.fixture
def llm(tiny: str) -> Iterator[ChatAmulet]:
    """A random model, hot and steered: only its grammar makes it write anything of use."""
    with ChatAmulet(
        model=tiny, dtype="float32", temperature=1.5, max_tokens=160, seed=1, **PAPER
    ) as model:
        yield model


@pytest.mark.parametrize("shape", SHAPES)
def test_tools_come_in_every_shape(llm: ChatAmulet, shape: str) -> None:
    offered, name, arguments = SHAPES[shape]
    answer = llm.bind_tools([offered], tool_choice="any").invoke("Go.")
    assert [call["name"] for call in answer.tool_calls] == [name]
    assert answer.tool_calls[0]["args"].keys() == arguments
    assert not answer.invalid_tool_calls
    assert answer.content == ""


def test_arguments_keep_to_their_schema_however_hot_the_model(llm: ChatAmulet) -> None:
    bound = llm.bind_tools([Order], tool_choice="Order")
    for seed in range(5):
        (call,) = bound.invoke("Go.", seed=seed).tool_calls
        Order.model_validate(call["args"])


@pytest.mark.parametrize(
    "choice",
    [
        "add",
        {"type": "function", "function": {"name": "add"}},
        {"type": "tool", "name": "add"},
    ],
)
def test_a_tool_can_be_chosen_by_name(llm: ChatAmulet, choice: Any) -> None:
    bound = llm.bind_tools([get_weather, add, now], tool_choice=choice)
    assert [c["name"] for seed in (1, 2) for c in bound.invoke("Go.", seed=seed).tool_calls] == [
        "add",
        "add",
    ]


@pytest.mark.parametrize("choice", ["any", "required", True, {"type": "any"}])
def test_any_tool_can_be_called_for(llm: ChatAmulet, choice: Any) -> None:
    assert len(llm.bind_tools([add, now], tool_choice=choice).invoke("Go.").tool_calls) == 1


def test_an_answer_of_calls_ends_for_that_reason(llm: ChatAmulet) -> None:
    bound = llm.bind_tools([add, now], tool_choice="any")
    whole = [bound.invoke("Go."), reduce(operator.add, bound.stream("Go."))]
    assert [each.response_metadata["finish_reason"] for each in whole] == ["tool_calls"] * 2


def test_an_answer_in_words_ends_as_ever(pocket: ChatAmulet) -> None:
    said = pocket.bind_tools([get_weather]).invoke("Hello!")
    assert said.text
    assert said.response_metadata["finish_reason"] == "stop"


def test_several_calls_in_one_answer(llm: ChatAmulet) -> None:
    bound = llm.bind_tools([now], tool_choice="any", parallel_tool_calls=True)
    answers = [bound.invoke("Go.", seed=seed) for seed in range(4)]
    assert max(len(answer.tool_calls) for answer in answers) > 1
    assert all(len({c["id"] for c in a.tool_calls}) == len(a.tool_calls) for a in answers)


def test_no_tool_is_offered_when_none_is_chosen(pocket: ChatAmulet) -> None:
    question = "What is the weather in Rome?"
    plain = pocket.invoke(question)
    refused = pocket.bind_tools([get_weather], tool_choice="none").invoke(question)
    assert (refused.content, refused.tool_calls) == (plain.content, [])
    assert counted(refused.usage_metadata) == counted(plain.usage_metadata)


@pytest.mark.parametrize("choice", [None, "auto", False])
def test_the_model_chooses_by_itself(pocket: ChatAmulet, choice: Any) -> None:
    bound = pocket.bind_tools([get_weather, add], tool_choice=choice)
    (call,) = bound.invoke("What is the weather in San Francisco, CA?").tool_calls
    assert call["name"] == "get_weather"
    assert call["args"] == {"location": "San Francisco, CA"}


def test_strict_tools_are_called_by_their_schema_or_not_at_all(llm: ChatAmulet) -> None:
    bound = llm.bind_tools([Order], strict=True)
    answers = [bound.invoke("Go.", seed=seed, max_tokens=60) for seed in range(4)]
    assert not any(answer.invalid_tool_calls for answer in answers)


@pytest.mark.parametrize("way", ["sync", "async"])
async def test_calls_are_streamed_as_chunks(pocket: ChatAmulet, way: str) -> None:
    bound = pocket.bind_tools([get_weather])
    question = "What is the weather in Rome?"
    chunks: list[AIMessageChunk] = (
        list(bound.stream(question))  # type: ignore[arg-type]
        if way == "sync"
        else [chunk async for chunk in bound.astream(question)]
    )
    pieces = [piece for chunk in chunks for piece in chunk.tool_call_chunks]
    assert "".join(piece["args"] or "" for piece in pieces) == '{"location": "Rome"}'
    whole = sum(chunks[1:], chunks[0])
    assert whole.tool_calls[0]["name"] == "get_weather"
    assert whole.content == ""


def test_results_and_errors_go_back_in(pocket: ChatAmulet) -> None:
    bound = pocket.bind_tools([get_weather])
    question = HumanMessage("What is the weather in Rome?")
    called = bound.invoke([question])
    result = get_weather.invoke(called.tool_calls[0])
    assert isinstance(result, ToolMessage)
    answer = bound.invoke([question, called, result])
    assert "sunny" in answer.text
    failed = result.model_copy(update={"content": "Error: no such city.", "status": "error"})
    told = bound.invoke([question, called, failed])
    assert isinstance(told, AIMessage)
    assert told.text != answer.text


def test_a_failed_tool_is_known_by_its_status(pocket: ChatAmulet) -> None:
    question, called = HumanMessage("What is the weather in Rome?"), calling("get_weather")
    told, known = (
        pocket.bind_tools([get_weather]).invoke([question, called, failed]).text
        for failed in (
            ToolMessage("Error: no such city.", tool_call_id="get_weather"),
            ToolMessage("no such city.", tool_call_id="get_weather", status="error"),
        )
    )
    assert told == known


def test_results_may_come_in_any_order_in_blocks_and_with_artifacts(pocket: ChatAmulet) -> None:
    question, called = HumanMessage("What is the time?"), calling("now", "get_weather")
    time = ToolMessage("noon", tool_call_id="now")
    weather = ToolMessage("sunny", tool_call_id="get_weather")
    blocks = ToolMessage(
        [{"type": "text", "text": "noon"}], tool_call_id="now", artifact={"zone": "UTC"}
    )
    bound = pocket.bind_tools([get_weather, now])
    answers = [
        bound.invoke([question, called, *results])
        for results in ([time, weather], [weather, time], [weather, blocks])
    ]
    assert len({answer.text for answer in answers}) == 1
    assert len({answer.usage_metadata["input_tokens"] for answer in answers}) == 1


@pytest.mark.parametrize("template", [STRICT, FORGETFUL, JOINED_ROLES, LLAMA, MISTRAL])
def test_a_loop_of_tools_goes_on_with_any_chat_template(tmp_path: Path, template: str) -> None:
    folder = save_model(tmp_path, template)
    with ChatAmulet(model=folder, dtype="float32", temperature=1.0, max_tokens=160, seed=3) as llm:
        messages: list[Any] = [HumanMessage("Go.")]
        for _ in range(2):
            called = llm.bind_tools([now, get_weather], tool_choice="any").invoke(messages)
            tools = {"now": now, "get_weather": get_weather}
            results = [tools[call["name"]].invoke(call) for call in called.tool_calls]
            assert results
            messages += [called, *reversed(results)]
        without = llm.get_num_tokens_from_messages([HumanMessage("Go.")])
        assert llm.get_num_tokens_from_messages(messages) > without + 20
        assert llm.bind_tools([now]).invoke(messages).response_metadata["finish_reason"]


def test_a_call_cut_short_is_kept_as_invalid(pocket: ChatAmulet) -> None:
    bound = pocket.bind_tools([get_weather])
    answer = bound.invoke("What is the weather in Rome?", max_tokens=12)
    (broken,) = answer.invalid_tool_calls
    assert broken["args"] is not None
    assert broken["args"].startswith("<tool_call>")
    assert answer.response_metadata["finish_reason"] == "length"
    assert not answer.tool_calls


def test_tools_reach_a_model_whose_template_has_no_place_for_them(llm: ChatAmulet) -> None:
    without = llm.get_num_tokens_from_messages([HumanMessage("Go.")])
    assert llm.get_num_tokens_from_messages([HumanMessage("Go.")], tools=[add]) > without + 20


def test_a_chosen_tool_must_be_there(llm: ChatAmulet) -> None:
    with pytest.raises(ToolError, match=r"must name one of the tools, which are add, not 'sub'"):
        llm.bind_tools([add], tool_choice="sub").invoke("Go.")
    with pytest.raises(ToolError, match=r"is 'any' and there are none: pass tools"):
        llm.invoke("Go.", tool_choice="any")
    with pytest.raises(ToolError, match="tool_choice must be"):
        llm.invoke("Go.", tools=[RAW], tool_choice=3)


def test_what_is_no_tool_is_refused(llm: ChatAmulet) -> None:
    with pytest.raises(ToolError, match="must be a function"):
        llm.bind_tools([3])  # type: ignore[list-item]
    with pytest.raises(RequestError, match="put it in a list"):
        llm.invoke("Go.", tools=RAW)


@pytest.mark.parametrize("alone", [get_weather, add, Order, RAW, "get_weather", 3])
def test_tools_come_in_a_list(llm: ChatAmulet, alone: Any) -> None:
    with pytest.raises(ToolError, match=r"must be a list of tools, not .*: put it in a list"):
        llm.bind_tools(alone)
    for several in ((each for each in [add]), {"add": add}.values(), (add,)):
        assert llm.bind_tools(several) == llm.bind_tools([add])  # type: ignore[arg-type]


def test_a_tool_that_cannot_be_held_to_is_refused_before_decoding(llm: ChatAmulet) -> None:
    odd = {
        **RAW,
        "parameters": {"type": "object", "properties": {"a": {"not": {"pattern": "x"}}}},
    }
    with pytest.raises(SchemaError, match="not"):
        llm.bind_tools([odd], tool_choice="any").invoke("Go.")


def test_a_structure_comes_after_the_thought(thinker: str) -> None:
    with ChatAmulet(model=thinker, dtype="float32", temperature=1.5, max_tokens=240) as llm:
        for seed in range(3):
            answer = llm.bind_tools([Order], tool_choice="any", seed=seed).invoke("Go.")
            Order.model_validate(answer.tool_calls[0]["args"])
            assert answer.content == ""
            structured = llm.invoke("Go.", response_format=Order, seed=seed)
            Order.model_validate_json(str(structured.content))


def test_thoughts_are_steered_only_if_wanted(thinker: str) -> None:
    def steps(**settings: Any) -> list[dict[str, Any]]:
        answer = llm.invoke("Go.", trace=True, seed=0, response_format=Order, **settings)
        return list(answer.response_metadata["trace"])

    with ChatAmulet(
        model=thinker, dtype="float32", temperature=1.0, max_tokens=240, **PAPER
    ) as llm:
        quiet = steps(steer_thinking=False)
        end = [step["token"] for step in quiet].index("<|END_THINKING|>")
        assert end > 3
        free = quiet[: end // 2]  # before the end draws near and the grammar narrows
        assert all(step["kl"] < 1e-2 for step in free)
        assert max(step["kl"] for step in steps()[: end // 2]) > 1e-2


def test_a_thought_that_begins_with_a_token_and_text_behind_it_is_left_unsteered(
    tmp_path: Path,
) -> None:
    template = CHATML.replace("m.content", "m.content.split('<channel|>')[-1]")
    folder = save_model(tmp_path, template, controls=["<|channel>", "<channel|>"])
    with ChatAmulet(model=folder, dtype="float32", steer_thinking=False) as llm:
        settings = llm.for_call(None, {"preference": "Be kind."})
        call = prepare(llm.model, llm._handle, settings, [HumanMessage("Go.")])
        (pause,) = call.request.pauses
        tokens = llm._handle.opened.tokenizer.convert_ids_to_tokens(
            [*pause.openings, pause.closing]
        )
        assert tokens == ["<|channel>", "<channel|>"]


STYLES = ["Be uplifting.", "Please use a formal tone.", "Be creative.", "Use plain words."]


@pytest.mark.parametrize("style", STYLES)
def test_what_a_model_says_is_steered_and_the_calls_it_chooses_to_make_are_not(
    pocket: ChatAmulet, style: str
) -> None:
    def steps(**settings: Any) -> list[dict[str, Any]]:
        answer = bound.invoke(question, trace=True, **settings)
        found = list(answer.response_metadata["trace"])
        assert found[0]["token"] == "<tool_call>"
        return found[1:]

    question = "What is the weather in Rome?"
    bound = pocket.bind_tools([get_weather, now], preference=style, method="amulet")
    (call,) = bound.invoke(question).tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"location": "Rome"})
    assert max(step["kl"] for step in steps()) == 0.0
    assert max(step["kl"] for step in steps(steer_tool_calls=True)) > 1e-3
    said = [HumanMessage(question), bound.invoke(question)]
    said.append(get_weather.invoke(call))
    trace = bound.invoke(said, trace=True).response_metadata["trace"]
    assert max(step["kl"] for step in trace) > 1e-3


def test_a_call_that_must_be_made_is_steered(llm: ChatAmulet) -> None:
    bound = llm.bind_tools([Order], tool_choice="any", trace=True, **PAPER)
    trace = bound.invoke("Go.", seed=0).response_metadata["trace"]
    assert max(step["kl"] for step in trace) > 1e-3


def test_thoughts_are_told_apart(tmp_path: Path) -> None:
    template = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>{% endif %}")
    template += "{# </think> #}"
    folder = save_model(tmp_path, template)
    with ChatAmulet(model=folder, dtype="float32", temperature=0.0, max_tokens=8) as llm:
        answer = llm.invoke("Go.")
        assert answer.content == ""
        assert answer.additional_kwargs["reasoning_content"]
        chunks = list(llm.stream("Go."))
        thought = "".join(c.additional_kwargs.get("reasoning_content", "") for c in chunks)
    assert thought == answer.additional_kwargs["reasoning_content"]
    assert answer.content_blocks[0]["type"] == "reasoning"
    assert json.dumps(thought)
