"""``speculation`` is a setting of a model or of a call, and leaves the answer as it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from langchain_amulet import ChatAmulet
from langchain_amulet.errors import ConfigurationError

PREFERENCE = "Be uplifting."
COPY = [
    ("user", "How do I sleep better?"),
    ("ai", "It helps to maintain a consistent bedtime. You can also avoid screens."),
    ("user", "How do I sleep better?"),
]


@pytest.fixture(scope="module")
def llm() -> Iterator[ChatAmulet]:
    with ChatAmulet(model="pocket", dtype="float32", seed=3, max_tokens=60) as llm:
        yield llm


def both(llm: ChatAmulet, **more: Any) -> tuple[Any, Any]:
    plain = llm.invoke(COPY, preference=PREFERENCE, **more)
    return plain, llm.invoke(COPY, preference=PREFERENCE, speculation="lookup", **more)


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_an_answer_is_the_same_and_says_what_was_drafted(
    llm: ChatAmulet, temperature: float
) -> None:
    plain, drafted = both(llm, temperature=temperature)
    assert drafted.text == plain.text
    assert drafted.usage_metadata["output_tokens"] == plain.usage_metadata["output_tokens"]
    counts = drafted.response_metadata["speculation"]
    assert 0 <= counts["accepted"] <= counts["drafted"] and counts["drafted"] > 0
    assert "speculation" not in plain.response_metadata


def test_a_stop_string_ends_an_answer_where_it_would(llm: ChatAmulet) -> None:
    whole = llm.invoke(COPY, preference=PREFERENCE, temperature=0).text
    stop = whole[len(whole) // 2 :][:6]
    plain, drafted = both(llm, temperature=0, stop=[stop])
    assert drafted.text == plain.text == whole[: whole.index(stop)]
    assert drafted.usage_metadata["output_tokens"] == plain.usage_metadata["output_tokens"]


class Advice(BaseModel):
    """What to do."""

    advice: list[str]


def test_a_structure_is_the_same(llm: ChatAmulet) -> None:
    found = [
        llm.with_structured_output(Advice).invoke(COPY, preference=PREFERENCE, speculation=each)
        for each in (None, "lookup")
    ]
    assert found[0] == found[1]


def test_it_may_be_the_model_s_own_setting_and_nothing_else_than_lookup() -> None:
    assert ChatAmulet(model="pocket", speculation="lookup").speculation == "lookup"
    with pytest.raises(ConfigurationError, match="speculation"):
        ChatAmulet(model="pocket", speculation="draft")


def test_a_backend_that_cannot_forget_says_so() -> None:
    with (
        ChatAmulet(model="pocket", backend="sequential", speculation="lookup") as llm,
        pytest.raises(ConfigurationError, match="leave speculation out"),
    ):
        llm.invoke("Hello")
