"""Answers by OpenAI's own types: events of streams aren't checked by them while serving."""

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from openai.types import CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from amulet_server.protocol.completion import (
    DeltaWriter,
    Head,
    choice_delta,
    choice_opening,
    completion,
    event,
    usage,
)

HEAD = Head("chatcmpl-1", 1, "pocket")
LOGPROB = {"token": "H", "bytes": [72], "logprob": -0.1, "top_logprobs": []}
ENDING: dict[str, Any] = {"finish_reason": "tool_calls", "method": "amulet", "mean_kl": 0.1}

CHUNKS = [
    AIMessageChunk("", additional_kwargs={"reasoning_content": "Hm."}),
    AIMessageChunk("Hé", response_metadata={"logprobs": {"content": [LOGPROB]}}),
    AIMessageChunk("", response_metadata={"logprobs": {"content": [LOGPROB]}}),
    AIMessageChunk("", tool_call_chunks=[{"name": "look", "args": "", "id": "1", "index": 4}]),
    AIMessageChunk("", tool_call_chunks=[{"name": None, "args": "{}", "id": None, "index": 4}]),
    AIMessageChunk(
        "",
        response_metadata=ENDING,
        usage_metadata={"input_tokens": 3, "output_tokens": 4, "total_tokens": 7},
        chunk_position="last",
    ),
]


def events() -> list[str]:
    writer = DeltaWriter()
    choices = [choice_opening(0), *(choice_delta(0, chunk, writer) for chunk in CHUNKS)]
    written = [event(HEAD, [choice], usage=None) for choice in choices if choice]
    return [*written, event(HEAD, (), usage=usage([CHUNKS[-1]]))]


def test_every_event_is_one_of_openai_s() -> None:
    for written in events():
        read = ChatCompletionChunk.model_validate_json(written, strict=True)
        assert read.to_dict() == json.loads(written)


def test_events_say_all_that_the_chunks_do() -> None:
    choices = [ChatCompletionChunk.model_validate_json(each).choices for each in events()]
    deltas = [choice.delta for (choice,) in choices[:-1]]
    assert "".join(delta.content or "" for delta in deltas) == "Hé"
    assert [choice.logprobs is not None for (choice,) in choices[:-1]].count(True) == 2
    calls = [call for delta in deltas for call in delta.tool_calls or ()]
    assert [call.index for call in calls] == [0, 0]
    assert choices[-2][0].finish_reason == "tool_calls"


def test_a_chunk_that_says_nothing_is_no_event() -> None:
    assert choice_delta(0, AIMessageChunk(""), DeltaWriter()) is None


@pytest.mark.parametrize("number", [float("inf"), float("nan")])
def test_an_event_is_json_whatever_its_numbers_are(number: float) -> None:
    last = AIMessageChunk("", response_metadata={"mean_kl": number}, chunk_position="last")
    written = event(HEAD, [choice_delta(0, last, DeltaWriter())])
    assert json.loads(written)["choices"][0]["amulet"] == {"mean_kl": None}


def test_an_answer_in_one_piece_is_one_of_openai_s() -> None:
    first, *others = CHUNKS
    written = completion(HEAD, [first + others])
    message = ChatCompletion.model_validate(written).choices[0].message
    assert (message.content, message.annotations) == ("Hé", [])
    assert message.tool_calls


def test_the_prompt_is_counted_once_and_as_kept_what_no_choice_computed() -> None:
    found = [
        AIMessageChunk("", usage_metadata=used(prompt=5, kept=3, answer=2)),
        AIMessageChunk("", usage_metadata=used(prompt=5, kept=4, answer=1)),
    ]
    told = CompletionUsage.model_validate(usage(found), strict=True)
    assert (told.prompt_tokens, told.completion_tokens, told.total_tokens) == (5, 3, 8)
    assert told.prompt_tokens_details and told.prompt_tokens_details.cached_tokens == 3
    assert usage([])["prompt_tokens_details"] == {"cached_tokens": 0}


def used(prompt: int, kept: int, answer: int) -> UsageMetadata:
    return {
        "input_tokens": prompt,
        "output_tokens": answer,
        "total_tokens": prompt + answer,
        "input_token_details": {"cache_read": kept},
    }
