"""The bundled model, which was trained to be steered: styles are heard, facts stay."""

from statistics import mean

import pytest

from langchain_amulet import ChatAmulet

QUESTIONS = [
    "How do I sleep better?",
    "How do I save money?",
    "How do I cook rice?",
    "How can I learn a language?",
    "How do I keep a plant alive?",
    "What should I pack for a trip?",
]


@pytest.fixture(scope="module")
def pocket() -> ChatAmulet:
    return ChatAmulet(model="pocket", temperature=0.0, max_tokens=160)


def words(llm: ChatAmulet, **call: object) -> float:
    answers = llm.batch(QUESTIONS, **call)
    return mean(len(str(answer.content).split()) for answer in answers)


def test_steering_goes_further_than_prompting(pocket: ChatAmulet) -> None:
    short, long = "Keep it short.", "Explain it in great detail."
    assert words(pocket, preference=short) < words(pocket, preference=short, method="pref")
    assert words(pocket, preference=short) < words(pocket) < words(pocket, preference=long)


def test_answers_end_by_themselves_and_hold_no_control_tokens(pocket: ChatAmulet) -> None:
    for answer in pocket.batch(QUESTIONS, preference="Be uplifting."):
        assert answer.response_metadata["finish_reason"] == "stop"
        assert answer.content
        assert "<|" not in str(answer.content)


def test_users_in_one_batch_get_the_answers_that_they_get_alone() -> None:
    llm = ChatAmulet(model="pocket", dtype="float32", temperature=0.8, seed=3, max_tokens=60)
    wishes = ["Keep it short.", "Be uplifting.", "Be creative.", None]
    configs = [{"configurable": {"preference": wish}} for wish in wishes]
    together = llm.batch([QUESTIONS[0]] * 4, configs)
    alone = [llm.invoke(QUESTIONS[0], config) for config in configs]
    assert [answer.content for answer in together] == [answer.content for answer in alone]
    assert len({answer.content for answer in alone}) == 4
