"""Events of versions 2 and 3, and content as LangChain's standard blocks: text and thoughts."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage
from langchain_core.prompts import ChatPromptTemplate

from langchain_amulet import ChatAmulet
from support.usage import counted
from support.ways import DIRECT, INSIDE, Way, beta, invoke

QUESTION = "How do I sleep better?"
KIND: Any = {"preference": "Be kind."}
ANSWER = {
    "type": "object",
    "properties": {"hours": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["hours"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module", params=[None, "v1"])
def thinking(request: pytest.FixtureRequest, thinker: str) -> Iterator[Any]:
    """Thinks, and then answers: that is held to a schema, or it would think for ever."""
    with ChatAmulet(
        model=thinker,
        dtype="float32",
        temperature=1.0,
        seed=1,
        max_tokens=80,
        output_version=request.param,
    ) as llm:
        yield llm.bind(response_format={"type": "json_schema", "schema": ANSWER})


def whole(chunks: list[AIMessageChunk]) -> AIMessageChunk:
    return sum(chunks[1:], chunks[0])


def parts(message: AIMessage) -> list[tuple[str, str]]:
    """Kind and text of each of a message's blocks."""
    blocks: list[dict[str, Any]] = [dict(block) for block in message.content_blocks]
    return [(block["type"], block.get("reasoning") or block.get("text")) for block in blocks]


def test_a_thought_and_an_answer_are_a_block_each_in_every_way(thinking: Any) -> None:
    (kind, thought), (other_kind, text) = parts(thinking.invoke(QUESTION))
    assert (kind, other_kind) == ("reasoning", "text")
    assert len(thought) > 10
    assert json.loads(text).keys() == {"hours"}
    assert parts(whole(list(thinking.stream(QUESTION)))) == [(kind, thought), (other_kind, text)]
    with beta():
        events = thinking.stream_events(QUESTION, version="v3")
        assert ("".join(events.reasoning), "".join(events.text)) == (thought, text)
        assert parts(events.output) == [(kind, thought), (other_kind, text)]


async def test_the_same_holds_without_blocking(thinking: Any) -> None:
    expected = parts(thinking.invoke(QUESTION))
    assert parts(await thinking.ainvoke(QUESTION)) == expected
    assert parts(whole([chunk async for chunk in thinking.astream(QUESTION)])) == expected
    with beta():
        events = await thinking.astream_events(QUESTION, version="v3")
        assert parts(await events.output) == expected


def test_thoughts_are_counted_among_the_tokens_written(thinking: Any) -> None:
    usage = thinking.invoke(QUESTION).usage_metadata
    thoughts = usage["output_token_details"]["reasoning"]
    assert 5 < thoughts < usage["output_tokens"]
    (last,) = [chunk for chunk in thinking.stream(QUESTION) if chunk.usage_metadata]
    assert counted(last.usage_metadata) == counted(usage)


def test_content_is_a_text_or_blocks_as_the_output_version_says(tiny: str, llm: ChatAmulet) -> None:
    blocks = ChatAmulet(
        model=tiny, dtype="float32", temperature=0.0, max_tokens=12, output_version="v1"
    )
    text = invoke(llm, QUESTION, **KIND)
    answer = blocks.invoke(QUESTION, **KIND)
    assert answer.content == [{"type": "text", "text": text}]
    assert answer.text == text
    assert answer.response_metadata["output_version"] == "v1"
    assert "".join(chunk.text for chunk in blocks.stream(QUESTION, **KIND)) == text


def test_an_answer_in_blocks_goes_back_in_as_the_text_that_it_is(llm: ChatAmulet) -> None:
    def count(answer: AIMessage) -> int:
        conversation = [HumanMessage(QUESTION), answer, HumanMessage("Why?")]
        return llm.get_num_tokens_from_messages(conversation)

    blocks = [{"type": "reasoning", "reasoning": "Hm."}, {"type": "text", "text": "Sleep."}]
    assert count(AIMessage(content_blocks=blocks)) == count(AIMessage("Sleep."))


async def test_events_v2_of_a_chain_tell_whose_they_are(llm: ChatAmulet) -> None:
    chain = ChatPromptTemplate.from_messages([("user", "{question}")]) | llm.with_config(
        run_name="writer", tags=["mine"]
    )
    config: Any = {"configurable": KIND}
    events = [
        event
        async for event in chain.astream_events({"question": QUESTION}, config, version="v2")
        if event["event"].startswith("on_chat_model")
    ]
    kinds = [event["event"].removeprefix("on_chat_model_") for event in events]
    assert kinds == ["start", *["stream"] * (len(kinds) - 2), "end"]
    assert {event["name"] for event in events} == {"writer"}
    assert all("mine" in event["tags"] for event in events)
    assert len({event["run_id"] for event in events}) == 1
    text = "".join(e["data"]["chunk"].text for e in events[1:-1])
    output = events[-1]["data"]["output"]
    assert text == output.text == invoke(llm, QUESTION, **KIND)
    again = llm.invoke(QUESTION, **KIND)
    assert counted(output.usage_metadata) == counted(again.usage_metadata)


def test_events_v3_come_block_by_block(llm: ChatAmulet) -> None:
    with beta():
        events = list(llm.stream_events(QUESTION, version="v3", **KIND))
    kinds = [event["event"] for event in events]
    assert kinds[0] == "message-start"
    assert kinds[-1] == "message-finish"
    assert kinds.count("content-block-start") == kinds.count("content-block-finish") == 1
    assert kinds.count("content-block-delta") > 3


ANSWERING = {name: way for name, way in {**DIRECT, **INSIDE}.items() if name != "events_v2"}
"""Version 2 of the events tells of streamed answers only."""


@pytest.mark.parametrize("way", ANSWERING.values(), ids=ANSWERING)
def test_a_model_told_not_to_stream_answers_in_one_piece(
    tiny: str, llm: ChatAmulet, way: Way
) -> None:
    quiet = ChatAmulet(
        model=tiny, dtype="float32", temperature=0.0, max_tokens=12, disable_streaming=True
    )
    config: Any = {"configurable": KIND}
    assert way(quiet, QUESTION, config) == invoke(llm, QUESTION, **KIND)
    assert len(list(quiet.stream(QUESTION))) == 1
