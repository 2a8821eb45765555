"""`ChatAmulet` on a vLLM server: the same calls, the same answers."""

import asyncio
from collections.abc import Iterator

import pytest

from langchain_amulet import ChatAmulet
from langchain_amulet.errors import DeadlineError

QUESTION = "How do I sleep better?"
PREFERENCES = ["Keep it short.", "Be uplifting."]
SETTINGS = {"model": "pocket", "temperature": 0.0, "max_tokens": 32}


@pytest.fixture
def there(url: str) -> Iterator[ChatAmulet]:
    with ChatAmulet(**SETTINGS, backend="vllm", base_url=url) as llm:
        yield llm


@pytest.fixture(scope="module")
def here() -> Iterator[ChatAmulet]:
    with ChatAmulet(**SETTINGS, dtype="float32") as llm:
        yield llm


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"preference": PREFERENCES[0]},
        {"preference": PREFERENCES},
        {"preference": PREFERENCES, "method": "context_steering"},
        {"preference": PREFERENCES[1], "method": "amulet:kl_cap=0.5"},
        {"preference": PREFERENCES[1], "method": "linear_alignment"},
        {"preference": PREFERENCES[1], "temperature": 0.9, "seed": 5, "top_p": 0.9},
        {"preference": PREFERENCES[0], "stop": ["."]},
    ],
    ids=str,
)
def test_an_answer_is_the_same_as_in_this_process(here, there, asked) -> None:
    ours, theirs = (llm.invoke(QUESTION, **asked) for llm in (here, there))
    assert theirs.text == ours.text
    assert theirs.usage_metadata["output_tokens"] == ours.usage_metadata["output_tokens"]
    assert theirs.usage_metadata["input_tokens"] == ours.usage_metadata["input_tokens"]
    for name in ("finish_reason", "method", "strength", "mean_kl"):
        assert theirs.response_metadata[name] == pytest.approx(
            ours.response_metadata[name], abs=1e-3
        )


def test_logprobs_are_those_of_the_steered_distribution(here, there) -> None:
    asked = {"preference": PREFERENCES[0], "logprobs": True, "top_logprobs": 3}
    ours, theirs = (
        llm.invoke(QUESTION, **asked).response_metadata["logprobs"]["content"]
        for llm in (here, there)
    )
    assert [each["token"] for each in theirs] == [each["token"] for each in ours]
    for own, other in zip(ours, theirs, strict=True):
        assert other["logprob"] == pytest.approx(own["logprob"], abs=1e-3)
        assert [each["token"] for each in other["top_logprobs"]] == [
            each["token"] for each in own["top_logprobs"]
        ]


def test_answers_stream_and_come_in_batches_by_threads_and_tasks(here, there) -> None:
    expected = [here.invoke(QUESTION, preference=each).text for each in PREFERENCES]
    configs = [{"metadata": {"preference": each}} for each in PREFERENCES]
    chunks = list(there.stream(QUESTION, preference=PREFERENCES[0]))
    assert len(chunks) > 3
    assert "".join(chunk.text for chunk in chunks) == expected[0]
    assert [each.text for each in there.batch([QUESTION] * 2, configs)] == expected

    async def answers() -> list[str]:
        batch = there.abatch([QUESTION] * 2, configs)
        return [each.text for each in await batch]

    assert asyncio.run(answers()) == expected


def test_a_timeout_counts_and_the_model_answers_on(here, there) -> None:
    with pytest.raises(DeadlineError):
        there.invoke(QUESTION, preference=PREFERENCES[0], max_tokens=900, timeout=0.05)
    assert there.invoke(QUESTION).text == here.invoke(QUESTION).text
