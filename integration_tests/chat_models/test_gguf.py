"""`ChatAmulet` over GGUF files: SmolLM2, a model that was trained, where make has fetched it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain_core.messages import HumanMessage
from pydantic import BaseModel

from langchain_amulet import ChatAmulet
from support.smollm2 import DEQUANTISED, GGUF, needs_smollm2

QUESTION = "How do I sleep better?"


class Fruit(BaseModel):
    """A fruit."""

    name: str
    pieces: int


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
