"""Tool calls while they are streamed: in every way of streaming, joined to the same message."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool

from langchain_amulet import ChatAmulet
from langchain_amulet.chat_formats.json_call_parser import JsonCallParser
from langchain_amulet.chat_formats.output_parser import OutputPart
from langchain_amulet.chat_models.chunk_writer import ChunkWriter
from support.ways import beta

QUESTION = "What is the weather in Rome?"
VERSIONS = pytest.mark.parametrize("version", [None, "v1"])


@tool
def get_weather(location: str) -> str:
    """Get the weather at a location."""
    return f"It is sunny in {location}."


@pytest.fixture(scope="module", params=[None, "v1"])
def bound(request: pytest.FixtureRequest) -> Iterator[Any]:
    """The bundled model with a tool, answering in the older and in the newer form of messages."""
    with ChatAmulet(
        model="pocket", temperature=0.0, max_tokens=128, output_version=request.param
    ) as llm:
        yield llm.bind_tools([get_weather])


def whole(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    return sum(chunks[1:], chunks[0])


def calls_of(message: AIMessage) -> list[tuple[str, dict[str, Any]]]:
    return [(call["name"], call["args"]) for call in message.tool_calls]


# --- The bundled model ---


def test_the_name_and_id_come_first_and_the_arguments_bit_by_bit(bound: Any) -> None:
    pieces = [piece for chunk in bound.stream(QUESTION) for piece in chunk.tool_call_chunks]
    assert pieces[0]["name"] == "get_weather"
    assert pieces[0]["id"]
    assert pieces[0]["args"] == ""
    assert len(pieces) > 3
    assert all(piece["name"] is None and piece["id"] is None for piece in pieces[1:])
    assert {piece["index"] for piece in pieces} == {0}
    assert "".join(piece["args"] for piece in pieces) == '{"location": "Rome"}'


def test_the_streamed_call_is_the_call(bound: Any) -> None:
    answer, streamed = bound.invoke(QUESTION), whole(list(bound.stream(QUESTION)))
    assert calls_of(answer) == calls_of(streamed) == [("get_weather", {"location": "Rome"})]
    for message in (answer, streamed):
        (block,) = message.content_blocks
        assert block == {**message.tool_calls[0], "type": "tool_call"}
        assert message.text == ""


def test_each_chunk_is_one_block_on_its_way(bound: Any) -> None:
    *chunks, last = bound.stream(QUESTION)
    blocks = [block for chunk in chunks for block in chunk.content_blocks]
    assert len(blocks) == len(chunks)
    assert {block["type"] for block in blocks} == {"tool_call_chunk"}
    assert last.content_blocks == []


async def test_events_v2_tell_of_the_call(bound: Any) -> None:
    events = [event async for event in bound.astream_events(QUESTION, version="v2")]
    chunks = [e["data"]["chunk"] for e in events if e["event"] == "on_chat_model_stream"]
    (output,) = (e["data"]["output"] for e in events if e["event"] == "on_chat_model_end")
    assert sum(bool(chunk.tool_call_chunks) for chunk in chunks) > 3
    assert calls_of(output) == calls_of(whole(chunks)) == calls_of(bound.invoke(QUESTION))


def test_events_v3_tell_of_the_call(bound: Any) -> None:
    with beta():
        stream = bound.stream_events(QUESTION, version="v3")
        events = list(stream)
    kinds = [event["event"] for event in events]
    assert kinds.count("content-block-start") == kinds.count("content-block-finish") == 1
    assert kinds.count("content-block-delta") > 2
    (finished,) = (e["content"] for e in events if e["event"] == "content-block-finish")
    assert finished["type"] == "tool_call"
    assert calls_of(stream.output) == [("get_weather", {"location": "Rome"})]


async def test_events_v3_tell_of_the_call_async(bound: Any) -> None:
    with beta():
        stream = await bound.astream_events(QUESTION, version="v3")
        assert calls_of(await stream.output) == [("get_weather", {"location": "Rome"})]


@pytest.mark.parametrize("max_tokens", range(9, 21, 2))
def test_a_call_cut_short_is_invalid_in_every_way(bound: Any, max_tokens: int) -> None:
    with beta():
        events = bound.stream_events(QUESTION, version="v3", max_tokens=max_tokens)
        messages = [
            bound.invoke(QUESTION, max_tokens=max_tokens),
            whole(list(bound.stream(QUESTION, max_tokens=max_tokens))),
            events.output,
        ]
    for message in messages:
        assert message.tool_calls == []
        (broken,) = message.invalid_tool_calls
        assert "<tool_call>" in broken["args"] or broken["name"] == "get_weather"


def test_structure_is_streamed_as_it_grows(bound: Any) -> None:
    schema = {
        "title": "Place",
        "description": "A place.",
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"],
    }
    *earlier, last = bound.bound.with_structured_output(schema).stream("Say Rome.")
    assert earlier
    assert all(last["city"].startswith(part.get("city", "")) for part in earlier)


# --- Any answer: several calls, text and thoughts around them ---


def joined(pieces: list[OutputPart], version: str | None) -> AIMessageChunk:
    writer = ChunkWriter(version)
    chunks = [*map(writer.write, pieces), writer.last(USAGE, {"model_name": "m"})]
    return whole([chunk.message for chunk in chunks])


USAGE: Any = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}
MIXED = [
    OutputPart("thought", "Hm, "),
    OutputPart("thought", "well."),
    OutputPart("text", "Let me "),
    OutputPart("text", "see."),
    OutputPart("call", "add"),
    OutputPart("arguments", '{"a": '),
    OutputPart("arguments", "1}"),
    OutputPart("call", "now"),
    OutputPart("arguments", "{}"),
    OutputPart("text", "Done."),
    OutputPart("call", "add"),
    OutputPart("arguments", '{"a": 2'),
    OutputPart("broken"),
]


@VERSIONS
def test_text_thoughts_and_calls_of_one_answer_are_told_apart(version: str | None) -> None:
    message = joined(MIXED, version)
    assert calls_of(message) == [("add", {"a": 1}), ("now", {})]
    assert [call["name"] for call in message.invalid_tool_calls] == ["add"]
    assert message.text == "Let me see.Done."
    assert message.additional_kwargs["reasoning_content"] == "Hm, well."
    assert len({call["id"] for call in [*message.tool_calls, *message.invalid_tool_calls]}) == 3
    indexes = [piece["index"] for piece in message.tool_call_chunks]
    assert indexes == sorted(set(indexes))


def test_blocks_are_in_the_order_they_were_written() -> None:
    kinds = [block["type"] for block in joined(MIXED[:-1], "v1").content_blocks]
    assert kinds == ["reasoning", "text", "tool_call", "tool_call", "text", "tool_call"]


class Scripted(ChatAmulet):
    """Its answers are always the same."""

    def _stream(self, *_: Any, **__: Any) -> Iterator[ChatGenerationChunk]:
        writer = ChunkWriter(self.output_version)
        yield from map(writer.write, MIXED)
        yield writer.last(USAGE, {"model_name": "m"})


@VERSIONS
def test_no_way_of_streaming_mixes_them_up(version: str | None) -> None:
    with Scripted(model="pocket", output_version=version) as llm, beta():
        messages = [whole(list(llm.stream("Go."))), llm.stream_events("Go.", version="v3").output]
    for message in messages:
        assert calls_of(message) == [("add", {"a": 1}), ("now", {})]
        assert [call["name"] for call in message.invalid_tool_calls] == ["add"]
        assert message.text == "Let me see.Done."
        (thought,) = (b for b in message.content_blocks if b["type"] == "reasoning")
        assert thought["reasoning"] == "Hm, well."


@settings(max_examples=60)
@given(
    arguments=st.dictionaries(
        st.text(), st.recursive(st.integers() | st.text(), st.lists, max_leaves=4), max_size=3
    ),
    data=st.data(),
)
@VERSIONS
def test_half_arguments_are_never_taken_for_a_call(
    version: str | None, arguments: dict[str, Any], data: st.DataObject
) -> None:
    written = json.dumps({"name": "pay", "arguments": arguments}, ensure_ascii=False)
    cut = written[: data.draw(st.integers(0, len(written) - 1))]
    parser = JsonCallParser("<tool_call>")
    message = joined([*parser.feed(cut), *parser.finish()], version)
    assert message.tool_calls == []
    assert len(message.invalid_tool_calls) == 1
