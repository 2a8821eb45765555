"""On request an answer shows each token's probability, and what steering made of it."""

import asyncio
import math
from collections.abc import Iterable
from itertools import chain
from typing import Any

import pytest

from langchain_amulet import ChatAmulet
from langchain_amulet.errors import ConfigurationError

QUESTION = "How do I sleep better?"


def spelled(entries: Iterable[dict[str, Any]]) -> str:
    return b"".join(bytes(entry["bytes"]) for entry in entries).decode("utf-8", "replace")


def test_neither_is_there_unless_it_is_asked_for(llm: ChatAmulet) -> None:
    metadata = llm.invoke(QUESTION, preference="Be kind.").response_metadata
    assert "logprobs" not in metadata
    assert "trace" not in metadata


def test_logprobs_cover_the_answer_token_by_token(llm: ChatAmulet) -> None:
    answer = llm.invoke(QUESTION, preference="Be kind.", logprobs=True, top_logprobs=3)
    content = answer.response_metadata["logprobs"]["content"]
    assert spelled(content) == answer.content
    for entry in content:
        assert entry["logprob"] <= 0.0
        assert 1 <= len(entry["top_logprobs"]) <= 3
        likeliest = [top["logprob"] for top in entry["top_logprobs"]]
        assert likeliest == sorted(likeliest, reverse=True)
        # A greedy answer takes the likeliest token of the steered distribution.
        assert entry["logprob"] == pytest.approx(likeliest[0])
        assert all(math.isfinite(logprob) for logprob in likeliest)


def test_a_call_can_turn_off_the_model_s_own(llm: ChatAmulet) -> None:
    listing = llm.model_copy(update={"logprobs": True, "top_logprobs": 3})
    assert "logprobs" in listing.invoke(QUESTION).response_metadata
    assert "logprobs" not in listing.invoke(QUESTION, logprobs=False).response_metadata
    with pytest.raises(ConfigurationError, match="set logprobs=True, or leave top_logprobs out"):
        listing.invoke(QUESTION, logprobs=False, top_logprobs=2)


def test_without_a_number_no_alternatives_are_listed(llm: ChatAmulet) -> None:
    content = llm.invoke(QUESTION, logprobs=True).response_metadata["logprobs"]["content"]
    assert all(entry["top_logprobs"] == [] for entry in content)


def test_the_trace_shows_base_prompt_and_steered_probabilities(llm: ChatAmulet) -> None:
    answer = llm.invoke(QUESTION, preference="Be kind.", trace=True, logprobs=True)
    trace = answer.response_metadata["trace"]
    assert len(trace) == 12
    for entry, scored in zip(trace, answer.response_metadata["logprobs"]["content"], strict=True):
        assert entry["token"] == scored["token"]
        assert entry["steered"] == pytest.approx(math.exp(scored["logprob"]), rel=1e-4)
        assert 0.0 <= entry["base"] <= 1.0
        assert 0.0 <= entry["pref"] <= 1.0
    mean = sum(entry["kl"] for entry in trace) / len(trace)
    assert answer.response_metadata["mean_kl"] == pytest.approx(mean)


def test_a_token_that_was_not_moved_has_one_probability(llm: ChatAmulet) -> None:
    for entry in llm.invoke(QUESTION, trace=True).response_metadata["trace"]:
        assert entry["base"] == pytest.approx(entry["pref"]) == pytest.approx(entry["steered"])


def test_streamed_in_every_way_they_are_the_same(llm: ChatAmulet) -> None:
    asked: dict[str, Any] = {"preference": "Be kind.", "trace": True, "logprobs": True}
    whole = llm.invoke(QUESTION, **asked).response_metadata

    async def added_up() -> dict[str, Any]:
        first, *others = [chunk async for chunk in llm.astream(QUESTION, **asked)]
        return (first + others).response_metadata

    assert asyncio.run(added_up()) == whole
    first, *others = llm.stream(QUESTION, **asked)
    assert (first + others).response_metadata == whole


@pytest.mark.parametrize("stop", [None, ["never said", "nor this"]], ids=["free", "watched"])
def test_each_chunk_has_log_probabilities_and_trace_of_what_it_adds(
    llm: ChatAmulet, stop: list[str] | None
) -> None:
    chunks = list(llm.stream(QUESTION, logprobs=True, trace=True, stop=stop))
    told = [chunk.response_metadata.get("logprobs", {}).get("content", []) for chunk in chunks]
    traced = [chunk.response_metadata.get("trace", []) for chunk in chunks]
    assert [[e["bytes"] for e in each] for each in traced] == [
        [e["bytes"] for e in each] for each in told
    ]
    texts = [chunk.text for chunk in chunks]
    for end in range(1, len(chunks)):  # never ahead of what is shown, unless part of a character
        assert len(spelled(chain(*told[:end]))) <= len("".join(texts[:end])) + 1
    assert sum(map(bool, told)) > len(chunks) // 2
    assert spelled(chain(*told)) == "".join(texts)


def test_tokens_of_a_stop_string_are_not_listed(llm: ChatAmulet) -> None:
    whole = llm.invoke(QUESTION, preference="Be kind.", logprobs=True)
    tokens = whole.response_metadata["logprobs"]["content"]
    place = next(i for i, t in enumerate(tokens) if i > 2 and t["token"].isascii())
    stop = tokens[place]["token"]
    cut = llm.invoke(QUESTION, preference="Be kind.", logprobs=True, trace=True, stop=[stop])
    shown = cut.response_metadata["logprobs"]["content"]
    assert spelled(shown) == cut.content
    assert len(cut.response_metadata["trace"]) == len(shown) < len(tokens)
