"""`ChatAmulet` on a vLLM server: the same calls, the same answers."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage

from langchain_amulet import ChatAmulet
from langchain_amulet.errors import DeadlineError
from support.evaluation_runs import answers as kept_answers
from support.evaluation_runs import asked as questions
from support.evaluation_runs import run

QUESTION = "How do I sleep better?"
PREFERENCES = ["Keep it short.", "Be uplifting."]
SETTINGS = {"model": "pocket", "temperature": 0.0, "max_tokens": 32}
BLOCK = 16
"""How many tokens of a prompt vLLM keeps together, or a divisor of it."""

ADVICE = {
    "type": "json_schema",
    "json_schema": {
        "name": "Advice",
        "schema": {
            "type": "object",
            "properties": {"advice": {"type": "string", "maxLength": 60}},
            "required": ["advice"],
        },
    },
}
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather at a location.",
        "parameters": {
            "type": "object",
            "properties": {"location": {"type": "string", "maxLength": 40}},
            "required": ["location"],
        },
    },
}


def called(answer: AIMessage) -> list[tuple[str, dict]]:
    return [(call["name"], call["args"]) for call in answer.tool_calls]


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
        {"preference": PREFERENCES[1], "response_format": ADVICE},
        {"preference": PREFERENCES[1], "tools": [WEATHER], "tool_choice": "any"},
        {"preference": PREFERENCES[1], "tools": [WEATHER]},
    ],
    ids=str,
)
def test_an_answer_is_the_same_as_in_this_process(here, there, asked) -> None:
    ours, theirs = (llm.invoke(QUESTION, **asked) for llm in (here, there))
    assert theirs.text == ours.text
    assert called(theirs) == called(ours)
    assert theirs.usage_metadata["output_tokens"] == ours.usage_metadata["output_tokens"]
    assert theirs.usage_metadata["input_tokens"] == ours.usage_metadata["input_tokens"]
    for name in ("finish_reason", "method", "strength", "mean_kl"):
        assert theirs.response_metadata[name] == pytest.approx(
            ours.response_metadata[name], abs=1e-3
        )


def tokens(answer: AIMessage) -> list[str]:
    return [each["token"] for each in answer.response_metadata["logprobs"]["content"]]


@pytest.mark.parametrize("method", [None, "auto", "amulet", "subtle", "strong"])
@pytest.mark.parametrize("preferences", [PREFERENCES[1], PREFERENCES], ids=["one", "two"])
def test_a_method_by_its_name_alone_gives_the_same_tokens_and_steers(
    here, there, method: str | None, preferences: str | list[str]
) -> None:
    named = {} if method is None else {"method": method}
    asked = {"preference": preferences, "logprobs": True, **named}
    ours, theirs = (llm.invoke(QUESTION, **asked) for llm in (here, there))
    assert tokens(theirs) == tokens(ours)
    for name in ("method", "strength"):
        assert theirs.response_metadata[name] == ours.response_metadata[name]
    assert theirs.response_metadata["mean_kl"] > 0.0
    assert tokens(theirs) != tokens(there.invoke(QUESTION, logprobs=True))


@pytest.mark.parametrize("asked", [{}, {"preference": PREFERENCES}], ids=["one prompt", "three"])
def test_what_the_server_had_of_a_prompt_is_told(there, asked) -> None:
    long = [*[("user", QUESTION), ("assistant", "It helps to rest.")] * 12, ("user", QUESTION)]
    own = there.model_copy(update={"cache_scope": "user"})

    def cached(user: str, **more: object) -> int:
        config = {"configurable": {"user_id": f"{user} {len(asked)}"}}
        usage = own.invoke(long, config, **asked, **more).usage_metadata
        kept = usage["input_token_details"].get("cache_read", 0)
        assert kept < usage["input_tokens"] and kept % BLOCK == 0
        return kept

    assert cached("ada") == 0
    kept = cached("ada", max_tokens=1)
    assert kept >= 128
    assert cached("ada") == kept
    assert cached("bob") == 0


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


def test_an_evaluation_has_a_server_decode(url: str, tmp_path: Path) -> None:
    done = run(
        *("evaluate", "--out", tmp_path / "run", "--model", "pocket", "--max-tokens", "8"),
        *(
            "--questions",
            questions(tmp_path, 1),
            "-p",
            PREFERENCES[0],
            "-m",
            "pref",
            "-m",
            "amulet",
        ),
        *("--backend", "vllm", "--base-url", url),
    )
    assert done.exit_code == 0, done.output
    assert [row["method"] for row in kept_answers(tmp_path / "run")] == ["pref", "amulet"]
