"""What an answer says of itself: tokens counted, how it was steered, why it ended."""

import asyncio
from typing import Any

import pytest
from langchain_core.callbacks import get_usage_metadata_callback
from langchain_core.messages import AIMessageChunk

from langchain_amulet import ChatAmulet, Preference
from support.usage import counted
from support.ways import beta

QUESTION = "How do I sleep better?"


def tokens_of_prompt(llm: ChatAmulet, *contents: tuple[str, str]) -> int:
    return llm.get_num_tokens_from_messages(llm._convert_input(list(contents)).to_messages())


def test_usage_tells_the_streams_apart(llm: ChatAmulet) -> None:
    base = tokens_of_prompt(llm, ("user", QUESTION))
    steered = tokens_of_prompt(llm, ("system", "Be kind."), ("user", QUESTION))
    assert counted(llm.invoke(QUESTION, preference="Be kind.").usage_metadata) == {
        "input_tokens": steered,
        "output_tokens": 12,
        "total_tokens": steered + 12,
        "input_token_details": {"base": base, "preference": steered},
    }


def test_a_plain_call_costs_one_stream(llm: ChatAmulet) -> None:
    base = tokens_of_prompt(llm, ("user", QUESTION))
    usage = counted(llm.invoke(QUESTION).usage_metadata)
    assert (usage["input_tokens"], usage["input_token_details"]) == (base, {"base": base})


def test_metadata_says_how_the_answer_was_steered(llm: ChatAmulet) -> None:
    metadata = llm.invoke(QUESTION, preference="Be kind.").response_metadata
    assert metadata["model_name"] == llm.model
    assert metadata["finish_reason"] == "length"
    assert metadata["method"] == "auto"
    assert metadata["strength"] == pytest.approx(4.6487, abs=1e-4)
    assert metadata["mean_kl"] > 0.0


def test_metadata_says_how_far_several_preferences_agree(llm: ChatAmulet) -> None:
    metadata = llm.invoke(QUESTION, preference=["Be kind.", "Be brief."]).response_metadata
    assert -1.0 <= metadata["agreement"] <= 1.0
    assert "agreement" not in llm.invoke(QUESTION, preference="Be kind.").response_metadata


@pytest.mark.parametrize(
    ("call", "strength"),
    [
        ({"preference": None}, None),
        ({"preference": "Be kind.", "method": "base"}, None),
        ({"preference": "Be kind.", "method": "pref"}, 0.0),
        ({"preference": "Be kind.", "method": "linear_alignment"}, 2.0),
        ({"preference": "Be kind.", "method": "subtle"}, 0.5),
        ({"preference": Preference("Be kind.", strength=-0.5)}, -0.5),
        ({"preference": [Preference("Be kind.", strength=1), "Be short."]}, [1.0, 4.6487]),
    ],
)
def test_the_strength_is_the_one_that_was_used(
    llm: ChatAmulet, call: dict[str, Any], strength: object
) -> None:
    found = llm.invoke(QUESTION, **call).response_metadata["strength"]
    assert found == (strength if strength is None else pytest.approx(strength, abs=1e-4))


def test_a_plain_answer_was_not_moved(llm: ChatAmulet) -> None:
    assert llm.invoke(QUESTION).response_metadata["mean_kl"] == pytest.approx(0.0, abs=1e-6)
    prompted = llm.invoke(QUESTION, preference="Be kind.", method="pref")
    assert prompted.response_metadata["mean_kl"] == pytest.approx(0.0, abs=1e-6)


def test_only_the_last_chunk_carries_usage_and_metadata(llm: ChatAmulet) -> None:
    *others, last = llm.stream(QUESTION, preference="Be kind.")
    assert last.chunk_position == "last"
    assert others
    assert all(c.usage_metadata is None and not c.response_metadata for c in others)
    answer = llm.invoke(QUESTION, preference="Be kind.")
    assert counted(last.usage_metadata) == counted(answer.usage_metadata)
    assert last.response_metadata == answer.response_metadata


def test_chunks_add_up_to_the_answer(llm: ChatAmulet) -> None:
    async def gather() -> AIMessageChunk:
        chunks = [chunk async for chunk in llm.astream(QUESTION, preference="Be kind.")]
        return sum(chunks[1:], chunks[0])

    joined, answer = asyncio.run(gather()), llm.invoke(QUESTION, preference="Be kind.")
    assert joined.content == answer.content
    assert counted(joined.usage_metadata) == counted(answer.usage_metadata)
    assert joined.response_metadata == answer.response_metadata


def test_events_v3_end_with_the_same_usage_and_metadata(llm: ChatAmulet) -> None:
    answer = llm.invoke(QUESTION, preference="Be kind.")
    with beta():
        events = llm.stream_events(QUESTION, version="v3", preference="Be kind.")
        output = events.output
    assert output.text == answer.content
    assert counted(output.usage_metadata) == counted(answer.usage_metadata)
    assert output.response_metadata.items() >= answer.response_metadata.items()


def test_usage_callbacks_add_up(llm: ChatAmulet) -> None:
    with get_usage_metadata_callback() as gathered:
        answers = [llm.invoke(QUESTION), llm.invoke(QUESTION, preference="Be kind.")]
    total = sum(a.usage_metadata["total_tokens"] for a in answers if a.usage_metadata)
    assert gathered.usage_metadata[llm.model]["total_tokens"] == total


def test_an_answer_cut_at_max_tokens_ends_by_length(llm: ChatAmulet) -> None:
    answer = llm.invoke(QUESTION, max_tokens=3)
    assert answer.response_metadata["finish_reason"] == "length"
    assert answer.usage_metadata
    assert answer.usage_metadata["output_tokens"] == 3
