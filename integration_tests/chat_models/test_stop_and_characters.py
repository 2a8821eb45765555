"""Answers end before stop strings, and are streamed in whole characters."""

import asyncio
import operator
from functools import reduce

import pytest
from langchain_core.messages import AIMessageChunk

from langchain_amulet import ChatAmulet
from support.engines import wait_until_idle
from support.tokenizers import CONTROLS
from support.ways import DIRECT, Way, invoke


def get_weather(location: str) -> str:
    """Get the weather at a location."""
    return f"It is sunny in {location}."


QUESTION = "How do I sleep better?"
every_way = pytest.mark.parametrize("way", DIRECT.values(), ids=DIRECT)


def stop_inside(llm: ChatAmulet) -> tuple[str, str]:
    """A stop string out of the middle of the answer, and what comes before it."""
    whole = invoke(llm, QUESTION, max_tokens=40)
    stop = whole[len(whole) // 2 :][:3]
    return stop, whole[: whole.index(stop)]


@every_way
def test_an_answer_ends_before_the_stop_string(llm: ChatAmulet, way: Way) -> None:
    stop, before = stop_inside(llm)
    assert way(llm, QUESTION, stop=[stop], max_tokens=40) == before


def test_a_stop_string_is_a_reason_to_finish(llm: ChatAmulet) -> None:
    stop, _ = stop_inside(llm)
    answer = llm.invoke(QUESTION, stop=["never said", stop], max_tokens=40)
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.usage_metadata
    assert answer.usage_metadata["output_tokens"] < 40


def test_the_constructors_stop_strings_hold_unless_the_call_has_others(llm: ChatAmulet) -> None:
    stop, before = stop_inside(llm)
    other = ChatAmulet(model=llm.model, dtype="float32", temperature=0.0, max_tokens=40, stop=stop)
    assert invoke(other, QUESTION) == before
    assert invoke(other, QUESTION, stop=["never said"]) == invoke(llm, QUESTION, max_tokens=40)


def test_no_part_of_a_stop_string_is_streamed(llm: ChatAmulet) -> None:
    stop, before = stop_inside(llm)
    shown = ""
    for chunk in llm.stream(QUESTION, stop=[stop], max_tokens=40):
        shown += str(chunk.content)
        assert before.startswith(shown)


def test_a_stopped_answer_gives_its_rows_back(llm: ChatAmulet) -> None:
    stop, _ = stop_inside(llm)
    invoke(llm, QUESTION, stop=[stop], max_tokens=900)
    asyncio.run(wait_until_idle(llm))


def test_a_stop_string_ends_what_is_said_and_no_call() -> None:
    def now() -> str:
        """The time of day."""
        return "noon"

    asked, said = "What is the weather in Rome?", "Hello!"
    with ChatAmulet(model="pocket", temperature=0.0) as pocket:
        bound = pocket.bind_tools([get_weather, now])
        calls = bound.invoke(asked).tool_calls
        whole = bound.invoke(said).text
        for stop in ("\n", '"', "<tool_call>", "weather", "Rome"):
            found = bound.invoke(asked, stop=[stop])
            assert [each["args"] for each in found.tool_calls] == [each["args"] for each in calls]
            assert found.response_metadata["finish_reason"] == "tool_calls"
            streamed = reduce(operator.add, bound.stream(asked, stop=[stop]))
            assert isinstance(streamed, AIMessageChunk)
            assert streamed.tool_calls[0]["args"] == calls[0]["args"]
        for stop in {whole[start : start + 2] for start in range(0, len(whole) - 2, 7)}:
            cut = bound.invoke(said, stop=[stop], logprobs=True)
            assert cut.text == whole[: whole.index(stop)]
            shown = [each["token"] for each in cut.response_metadata["logprobs"]["content"]]
            assert "".join(shown[:-1]) == cut.text[: len("".join(shown[:-1]))]
            assert cut.text in "".join(shown)


def test_special_tokens_and_the_prompt_never_leak(llm: ChatAmulet) -> None:
    for seed in range(5):
        text = invoke(llm, QUESTION, temperature=5.0, seed=seed, max_tokens=40)
        assert not any(token in text for token in CONTROLS)
        assert QUESTION not in text


def test_what_is_streamed_is_what_invoke_returns_however_wild_the_tokens(llm: ChatAmulet) -> None:
    for seed in range(5):
        drawn = {"temperature": 3.0, "seed": seed, "max_tokens": 40}
        assert DIRECT["stream"](llm, QUESTION, **drawn) == invoke(llm, QUESTION, **drawn)


def test_characters_that_are_spread_over_tokens_are_streamed_whole(llm: ChatAmulet) -> None:
    """Joined bytes of the tokens are the truth; random weights often write broken characters."""
    spread = 0
    for seed in range(5):
        drawn = {"temperature": 3.0, "seed": seed, "max_tokens": 100, "logprobs": True}
        first, *others = llm.stream(QUESTION, **drawn)
        tokens = (first + others).response_metadata["logprobs"]["content"]
        written = b"".join(bytes(token["bytes"]) for token in tokens).decode("utf-8", "replace")
        shown = "".join(str(chunk.content) for chunk in [first, *others])
        assert shown == written
        broken = "".join(token["token"] for token in tokens)
        spread += broken.count("\ufffd") > written.count("\ufffd")
    assert spread


def test_an_answer_can_be_empty(llm: ChatAmulet) -> None:
    first = llm.invoke(QUESTION, max_tokens=1, logprobs=True, temperature=0.0)
    piece = str(first.content)
    chunks = list(llm.stream(QUESTION, stop=[piece]))
    assert "".join(str(chunk.content) for chunk in chunks) == ""
    assert chunks[-1].chunk_position == "last"
