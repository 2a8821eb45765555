"""OpenAI's own client against a running server: sync, async, parsed and streamed."""

import asyncio
import json
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI
from pydantic import BaseModel

from langchain_amulet import Preference
from support.servers import CONVERSATION, QUESTION, RunningServer

TOOL: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
WEATHER: Any = [{"role": "user", "content": "What is the weather in Oslo?"}]


class Tip(BaseModel):
    tip: str


def test_an_answer_is_the_model_s_own(server: RunningServer) -> None:
    expected = server.service.llm.invoke(QUESTION)
    answer = server.openai().chat.completions.create(model="pocket", messages=CONVERSATION)
    assert answer.choices[0].message.content == expected.text
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None and expected.usage_metadata is not None
    assert answer.usage.total_tokens == expected.usage_metadata["total_tokens"]


CONCISE = Preference.trait("concise")


@pytest.mark.parametrize(
    "options, preference",
    [
        ({"model": "pocket@concise"}, CONCISE),
        ({"model": "pocket@friendly"}, Preference.preset("friendly")),
        ({"extra_body": {"preference": "concise +"}}, CONCISE),
        ({"metadata": {"preference": "Keep it short."}}, "Keep it short."),
        ({"extra_body": {"preference": {"text": "Keep it short."}}}, "Keep it short."),
    ],
    ids=str,
)
def test_every_way_to_say_a_preference_steers(
    server: RunningServer, options: dict[str, Any], preference: Any
) -> None:
    expected = server.service.llm.invoke(QUESTION, preference=preference).text
    assert server.ask(server.openai(), **options) == expected


def test_a_stream_is_the_answer_in_pieces(server: RunningServer) -> None:
    client = server.openai()
    chunks = list(
        client.chat.completions.create(
            model="pocket",
            messages=CONVERSATION,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    *pieces, ending, costs = chunks
    assert "".join(c.choices[0].delta.content or "" for c in pieces) == server.ask(client)
    assert ending.choices[0].finish_reason == "stop"
    assert costs.choices == [] and costs.usage is not None
    assert costs.usage.completion_tokens > 10
    assert all(chunk.usage is None for chunk in chunks[:-1])
    assert len({chunk.id for chunk in chunks}) == 1


def test_the_streaming_helper_puts_the_same_answer_together(server: RunningServer) -> None:
    client = server.openai()
    with client.chat.completions.stream(model="pocket", messages=CONVERSATION) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert {"chunk", "content.delta", "content.done"} <= kinds
    assert final.choices[0].message.content == server.ask(client)


async def test_calls_of_an_event_loop_are_answered_together(server: RunningServer) -> None:
    client = AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", timeout=60)
    styles = ["concise ++", "formal ++", "enthusiastic ++", ""]
    async with client:
        answers = await asyncio.gather(
            *(
                client.chat.completions.create(
                    model="pocket", messages=CONVERSATION, extra_body={"preference": style}
                )
                for style in styles
            )
        )
    texts = [answer.choices[0].message.content for answer in answers]
    assert texts == [server.ask(server.openai(), extra_body={"preference": s}) for s in styles]
    assert len(set(texts)) == len(styles)


def test_several_answers_differ_and_come_again_by_their_seed(server: RunningServer) -> None:
    client = server.openai()

    def answers(**options: Any) -> list[str | None]:
        found = client.chat.completions.create(
            model="pocket", messages=CONVERSATION, temperature=1.5, max_tokens=12, **options
        )
        return [choice.message.content for choice in found.choices]

    several = answers(n=4, seed=7)
    assert len(set(several)) > 1
    assert several == answers(n=4, seed=7)
    assert several[:1] == answers(seed=7)
    assert several[2:3] == answers(seed=9)


def test_several_answers_are_streamed_side_by_side(server: RunningServer) -> None:
    client = server.openai()
    chunks = client.chat.completions.create(
        model="pocket", messages=CONVERSATION, stream=True, n=2, max_tokens=5
    )
    texts = ["", ""]
    ends = 0
    for chunk in chunks:
        for choice in chunk.choices:
            texts[choice.index] += choice.delta.content or ""
            ends += choice.finish_reason == "length"
    assert texts == [server.ask(client, max_tokens=5)] * 2
    assert ends == 2


def test_what_is_said_ends_before_a_stop_string(server: RunningServer) -> None:
    client = server.openai()
    whole = server.ask(client)
    word = whole.split()[3]
    assert server.ask(client, stop=word) == whole.partition(word)[0]
    assert server.ask(client, stop=["nowhere", word]) == whole.partition(word)[0]


@pytest.mark.parametrize("stream", [False, True])
def test_log_probabilities_are_told_with_their_alternatives(
    server: RunningServer, stream: bool
) -> None:
    client = server.openai()
    options: Any = {"model": "pocket", "messages": CONVERSATION}
    options |= {"logprobs": True, "top_logprobs": 2}
    if stream:
        with client.chat.completions.stream(**options) as events:
            _ = list(events)
            choice: Any = events.get_final_completion().choices[0]
    else:
        choice = client.chat.completions.create(**options).choices[0]
    tokens = choice.logprobs.content
    assert "".join(token.token for token in tokens) == choice.message.content
    assert all(token.logprob <= 0 and len(token.top_logprobs) == 2 for token in tokens)


def test_a_parsed_answer_is_of_its_class(server: RunningServer) -> None:
    answer = server.openai().chat.completions.parse(
        model="pocket", messages=CONVERSATION, response_format=Tip
    )
    assert isinstance(answer.choices[0].message.parsed, Tip)


def test_any_object_may_be_asked_for(server: RunningServer) -> None:
    text = server.ask(server.openai(), response_format={"type": "json_object"})
    assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize(
    "choice, calls",
    [
        ("required", True),
        ({"type": "function", "function": {"name": "get_weather"}}, True),
        ("none", False),
        ("auto", True),
        (
            {
                "type": "allowed_tools",
                "allowed_tools": {
                    "mode": "required",
                    "tools": [{"type": "function", "function": {"name": "get_weather"}}],
                },
            },
            True,
        ),
    ],
    ids=["required", "named", "none", "auto", "allowed"],
)
def test_tools_are_called_as_chosen(server: RunningServer, choice: Any, calls: bool) -> None:
    found = server.openai().chat.completions.create(
        model="pocket", messages=WEATHER, tools=[TOOL], tool_choice=choice
    )
    called: Any = found.choices[0].message.tool_calls
    assert bool(called) == calls
    if calls:
        assert found.choices[0].finish_reason == "tool_calls"
        assert called[0].function.name == "get_weather"
        assert json.loads(called[0].function.arguments) == {"city": "Oslo"}


def test_calls_are_streamed_in_pieces_that_make_up_the_whole(server: RunningServer) -> None:
    client = server.openai()
    options: Any = {"model": "pocket", "messages": WEATHER, "tools": [TOOL]}
    with client.chat.completions.stream(**options, tool_choice="required") as events:
        pieces = [event for event in events if event.type == "tool_calls.function.arguments.delta"]
        (call,) = events.get_final_completion().choices[0].message.tool_calls or ()
    assert len(pieces) > 1
    assert json.loads(call.function.arguments) == {"city": "Oslo"}


def test_a_conversation_with_its_calls_and_results_goes_on(server: RunningServer) -> None:
    client = server.openai()
    first = client.chat.completions.create(model="pocket", messages=WEATHER, tools=[TOOL])
    called: Any = first.choices[0].message
    result = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "Sunny, 20 C"}
    messages: Any = [*WEATHER, called, result]
    answer = client.chat.completions.create(model="pocket", messages=messages, tools=[TOOL])
    assert answer.choices[0].finish_reason == "stop"
    assert answer.choices[0].message.content


def test_an_answer_tells_how_it_was_steered(server: RunningServer) -> None:
    asked = {"preference": "Be formal.", "method": "strong", "trace": True}
    options: Any = {"extra_body": asked}
    found = server.openai().chat.completions.create(
        model="pocket", messages=CONVERSATION, max_tokens=4, **options
    )
    told: Any = found.choices[0].model_extra
    assert told["amulet"]["strength"] == 2.0
    assert len(told["amulet"]["trace"]) == 4


def test_models_are_listed_with_their_styles(server: RunningServer) -> None:
    client = server.openai()
    names = [model.id for model in client.models.list()]
    assert names[:2] == ["pocket", "pocket@concise"]
    assert client.models.retrieve("pocket@concise").id == "pocket@concise"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("pocket@nothing")


@pytest.mark.parametrize(
    "options, error, param, code",
    [
        ({"model": "gpt"}, openai.NotFoundError, "model", "model_not_found"),
        ({"max_tokens": 10**5}, openai.BadRequestError, "messages", "context_length_exceeded"),
        ({"extra_body": {"style": "x"}}, openai.BadRequestError, "style", "unknown_parameter"),
        ({"n": 9}, openai.BadRequestError, "n", "too_many"),
        ({"tool_choice": "required"}, openai.BadRequestError, "tools", "invalid_tool"),
        ({"stream_options": {}}, openai.BadRequestError, "stream_options", "invalid_request"),
        (
            {"extra_body": {"preference": "x" * 3000}},
            openai.BadRequestError,
            "preference",
            "invalid_preference",
        ),
        (
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "a", "schema": {"type": "x"}},
                }
            },
            openai.BadRequestError,
            "response_format",
            "invalid_schema",
        ),
    ],
    ids=str,
)
@pytest.mark.parametrize("stream", [False, True])
def test_an_error_is_one_of_openai_s_before_anything_is_streamed(
    server: RunningServer, options: Any, error: Any, param: Any, code: str, stream: bool
) -> None:
    if stream and "stream_options" in options:
        return
    with pytest.raises(error) as caught:
        found: Any = server.openai().chat.completions.create(
            **{"model": "pocket", "messages": CONVERSATION, "stream": stream, **options}
        )
        _ = list(found)
    assert (caught.value.param, caught.value.code) == (param, code)


def test_thoughts_sent_back_don_t_change_what_was_said(server: RunningServer) -> None:
    said = {"role": "assistant", "content": "Hello!", "reasoning_content": "They say hello."}
    messages = [{"role": "user", "content": "Hello!"}, said, *CONVERSATION]
    assert server.ask(server.openai(), messages=messages)
