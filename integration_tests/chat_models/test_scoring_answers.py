"""A given answer is scored token by token: plainly, prompted and steered, without decoding it."""

import asyncio
import math
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from langchain_amulet import ChatAmulet
from langchain_amulet.errors import ContextLengthError, EmptyInputError
from langchain_amulet.methods import Amulet, Auto, Base, Method, Pref
from support.engines import engine_of

QUESTION = "How do I sleep better?"
KIND: dict[str, Any] = {"preference": "Be kind."}
METHODS = [Auto(), Amulet(), Amulet.paper(), Amulet(kl_cap=0.5), Pref(), Base()]


@pytest.fixture(scope="module")
def llm() -> Any:
    """The bundled model: its answers are read as they were written, token by token."""
    with ChatAmulet(dtype="float32", temperature=0.0, max_tokens=40) as model:
        yield model


@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.name}")
def test_an_answer_s_score_is_what_decoding_it_said(llm: ChatAmulet, method: Method) -> None:
    asked = {**KIND, "method": method}
    answer = llm.invoke(QUESTION, **asked, logprobs=True, trace=True)
    score = llm.score(QUESTION, answer.text, **asked)
    said = answer.response_metadata
    decoded = [entry["logprob"] for entry in said["logprobs"]["content"]]
    assert score.steered[:-1] == pytest.approx(decoded, abs=1e-4)
    assert score.pref[:-1] == pytest.approx([math.log(e["pref"]) for e in said["trace"]], abs=1e-4)
    if method not in (Pref(), Base()):  # which have one stream, so the other one is a third
        traced = [math.log(entry["base"]) for entry in said["trace"]]
        assert score.base[:-1] == pytest.approx(traced, abs=1e-4)


def test_a_preference_on_top_of_another_is_scored_as_it_is_decoded(llm: ChatAmulet) -> None:
    both = {"preference": "Keep it short.", "standing_preference": "Be uplifting."}
    answer = llm.invoke(QUESTION, **both, logprobs=True)
    score = llm.score(QUESTION, answer.text, **both)
    decoded = [entry["logprob"] for entry in answer.response_metadata["logprobs"]["content"]]
    assert score.steered[:-1] == pytest.approx(decoded, abs=1e-4)


def test_the_last_token_is_the_end_of_the_turn(llm: ChatAmulet) -> None:
    score = llm.score(QUESTION, "Rest.", **KIND)
    tokenizer = llm._handle.opened.tokenizer
    assert tokenizer.decode(score.token_ids[:-1]) == "Rest."
    assert score.token_ids[-1] == tokenizer.eos_token_id
    assert len(score.token_ids) == len(score.base) == len(score.pref) == len(score.steered)


def test_totals_are_sums_and_the_prompt_makes_its_own_style_likelier(llm: ChatAmulet) -> None:
    score = llm.score(QUESTION, "Maintain a consistent bedtime.", preference="Keep it short.")
    assert score.steered_total == pytest.approx(sum(score.steered))
    assert score.base_total == pytest.approx(sum(score.base))
    assert score.pref_total == pytest.approx(sum(score.pref))
    assert score.steered_total > score.pref_total > score.base_total


def test_base_is_there_whatever_the_method(llm: ChatAmulet) -> None:
    amulet, prompted = (llm.score(QUESTION, "Rest.", **KIND, method=m) for m in ("amulet", "pref"))
    assert prompted.base == pytest.approx(amulet.base)
    assert prompted.steered == pytest.approx(prompted.pref)
    plain = llm.score(QUESTION, "Rest.")
    assert plain.base == plain.pref == pytest.approx(plain.steered)
    assert plain.base == pytest.approx(amulet.base)


def test_the_preference_may_come_in_the_config(llm: ChatAmulet) -> None:
    expected = llm.score(QUESTION, "Rest.", **KIND)
    assert llm.score(QUESTION, "Rest.", {"metadata": KIND}) == expected
    assert llm.with_preference("Be kind.").score([HumanMessage(QUESTION)], "Rest.") == expected


async def test_asynchronously_it_is_the_same(llm: ChatAmulet) -> None:
    expected = llm.score(QUESTION, "Rest.", **KIND)
    assert await llm.ascore(QUESTION, "Rest.", **KIND) == expected
    assert await llm.ascore(QUESTION, "Rest.", {"configurable": KIND}) == expected


async def test_scoring_and_decoding_at_once_change_nothing(llm: ChatAmulet) -> None:
    answer, score = llm.invoke(QUESTION, **KIND), llm.score(QUESTION, "Rest.", **KIND)
    answers = (llm.ainvoke(QUESTION, **KIND) for _ in range(4))
    scores = (llm.ascore(QUESTION, "Rest.", **KIND) for _ in range(4))
    found = await asyncio.gather(*answers, *scores)
    assert [each.content for each in found[:4]] == [answer.content] * 4
    assert found[4:] == [score] * 4


def test_tool_calls_are_read_as_the_template_writes_them(llm: ChatAmulet) -> None:
    call = {"name": "add", "args": {"a": 1, "b": 2}, "id": "1"}
    written = llm.score(QUESTION, AIMessage("", tool_calls=[call])).token_ids
    shown = llm._handle.opened.tokenizer.decode(written)
    assert '"add"' in shown and shown.count("<|") == 1, shown


def test_control_tokens_in_an_answer_stay_text(llm: ChatAmulet) -> None:
    end = llm._handle.opened.tokenizer.eos_token
    token_ids = llm.score(QUESTION, f"Rest.{end} Now.").token_ids
    assert token_ids.count(llm._handle.opened.tokenizer.eos_token_id) == 1


def test_answers_that_cannot_be_read_are_refused(llm: ChatAmulet) -> None:
    with pytest.raises(EmptyInputError, match="An answer needs text"):
        llm.score(QUESTION, "")


def test_an_answer_that_does_not_fit_the_context_is_refused_with_the_preference_s_share(
    llm: ChatAmulet,
) -> None:
    with pytest.raises(ContextLengthError, match=r"3 are the preference's.* or the answer\.$"):
        llm.score(QUESTION, "word " * 3000, **KIND)
    with pytest.raises(ContextLengthError, match=r"Shorten the conversation or the answer\.$"):
        llm.score(QUESTION, "word " * 3000)


def test_scoring_takes_no_rows(llm: ChatAmulet) -> None:
    before = engine_of(llm).stats()
    llm.score(QUESTION, "Rest.", **KIND)
    assert engine_of(llm).stats() == before
