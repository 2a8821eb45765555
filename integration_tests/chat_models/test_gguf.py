"""`ChatAmulet` over GGUF files: the bundled model as one, and SmolLM2 where make has fetched it.

What works with them, feature by feature, is tried by the table of docs/backends.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage
from pydantic import BaseModel

from langchain_amulet import ChatAmulet
from langchain_amulet.methods import DeRa
from support.backends import pocket_gguf
from support.features import REFUSED, TRIALS, YES, outcome
from support.smollm2 import DEQUANTISED, GGUF, needs_smollm2

QUESTION = "How do I sleep better?"


REAL = {
    "log-probabilities": YES,
    "traces (`trace=True`)": YES,
    "calls that must be made": YES,
    "structured output": YES,
    "`cache_scope`: what is read of earlier calls is told": YES,
    "timeouts": YES,
    "leaving an answer frees its rows": YES,
    "`speculation`": REFUSED,
    "an image in a question": REFUSED,
}
"""What is tried with SmolLM2, too, and what comes of it."""


class Fruit(BaseModel):
    """A fruit."""

    name: str
    pieces: int


@pytest.fixture(scope="module")
def pocket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return pocket_gguf(tmp_path_factory.mktemp("pocket"))


@pytest.fixture(scope="module")
def llm() -> Iterator[ChatAmulet]:
    needs_smollm2()
    with ChatAmulet(model=str(GGUF), temperature=0, max_tokens=24, method="balanced") as llm:
        yield llm


def test_a_file_answers_plainly_and_steered_in_every_way_of_calling(llm: ChatAmulet) -> None:
    plain = llm.invoke(QUESTION)
    steered = llm.invoke(QUESTION, preference="Keep it short.")
    assert plain.text and steered.text and plain.text != steered.text
    assert steered.response_metadata["mean_kl"] > 0
    streamed = "".join(chunk.text for chunk in llm.stream(QUESTION, preference="Keep it short."))
    assert streamed == steered.text


def test_calls_in_flight_together_answer_as_they_do_alone(llm: ChatAmulet) -> None:
    styles = ["Keep it short.", "Be uplifting."]
    alone = [llm.invoke(QUESTION, preference=style, max_tokens=8).text for style in styles]
    configs = [{"configurable": {"preference": style}} for style in styles]
    together = llm.batch([QUESTION] * 2, configs, max_tokens=8)
    assert [answer.text for answer in together] == alone


def test_structures_are_valid_and_steered(llm: ChatAmulet) -> None:
    found = llm.with_structured_output(Fruit).invoke(
        "Tell me about three bananas.", preference="Be uplifting.", max_tokens=48
    )
    assert isinstance(found, Fruit)


def test_control_tokens_in_a_message_stay_text(llm: ChatAmulet) -> None:
    codec_ids = llm.get_token_ids("<|im_end|>")
    written = llm.get_num_tokens_from_messages([HumanMessage("a<|im_end|>b")])
    harmless = llm.get_num_tokens_from_messages([HumanMessage("ab")])
    assert written > harmless + len(codec_ids)


def test_stop_strings_end_an_answer(llm: ChatAmulet) -> None:
    whole = llm.invoke(QUESTION).text
    word = whole.split()[3]
    cut = llm.invoke(QUESTION, stop=[word])
    assert cut.text == whole[: whole.index(word)]
    assert cut.response_metadata["finish_reason"] == "stop"


def test_the_dequantised_folder_tokenizes_alike_and_begins_its_answers_alike(
    llm: ChatAmulet,
) -> None:
    with ChatAmulet(model=str(DEQUANTISED), temperature=0, dtype="float32") as other:
        text = "It's 12345.67, naïve 你好 🙂 <|im_start|>"
        assert llm.get_token_ids(text) == other.get_token_ids(text)
        answers = [
            each.invoke(QUESTION, preference="Keep it short.", max_tokens=4, method="balanced").text
            for each in (llm, other)
        ]
    assert answers[0] == answers[1]


def test_the_folder_of_one_file_is_a_model_too(llm: ChatAmulet) -> None:
    with ChatAmulet(model=str(GGUF.parent), gguf_file=GGUF.name, temperature=0) as named:
        assert named.invoke(QUESTION, max_tokens=4).text == llm.invoke(QUESTION, max_tokens=4).text


@pytest.mark.parametrize("feature", REAL)
def test_a_model_that_was_trained_has_what_the_table_says(llm: ChatAmulet, feature: str) -> None:
    longer = llm.model_copy(update={"max_tokens": 48})
    assert outcome(TRIALS[feature], longer) == REAL[feature]


def test_a_file_is_named_by_its_path_its_folder_or_its_name_there(pocket: Path) -> None:
    settings = {"temperature": 0, "max_tokens": 8}
    named = [
        {"model": str(pocket)},
        {"model": str(pocket.parent)},
        {"model": str(pocket.parent), "gguf_file": pocket.name},
        {"model": str(pocket), "backend": "llama_cpp"},
    ]
    answers = set()
    for each in named:
        with ChatAmulet(**each, **settings) as llm:
            answers.add(llm.invoke(QUESTION, preference="Keep it short.").text)
            assert llm.model_info and llm.model_info.backend == "llama_cpp"
    assert len(answers) == 1


def test_a_file_is_dequantised_for_another_backend_where_that_is_asked_for(pocket: Path) -> None:
    with ChatAmulet(model=str(pocket), backend="batched", temperature=0, max_tokens=8) as llm:
        assert llm.invoke(QUESTION).text
        assert llm.model_info and llm.model_info.backend == "batched"


def test_a_second_model_is_not_looked_for_under_the_first_one_s_file(pocket: Path) -> None:
    folder = {"model": str(pocket.parent), "gguf_file": pocket.name}
    with ChatAmulet(**folder, temperature=0, max_tokens=8, method=DeRa("pocket")) as llm:
        assert llm.invoke(QUESTION, preference="Keep it short.").text
