"""Beam search: the likeliest answer, as the library itself finds it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from langchain_amulet import ChatAmulet
from langchain_amulet.errors import DeadlineError, RequestError
from langchain_amulet.methods import BeamSearch
from support.engines import engine_of, model_of, whole
from support.searches import SHORT, sampling, searched
from support.ways import QUESTION


@pytest.fixture(scope="module")
def llm() -> Iterator[ChatAmulet]:
    with sampling() as model:
        yield model


@pytest.mark.parametrize(("prompt", "preference"), [("pref", SHORT["preference"]), ("base", None)])
def test_beams_find_what_the_library_s_own_search_finds(
    llm: ChatAmulet, prompt: Any, preference: str | None
) -> None:
    answer = llm.invoke(QUESTION, method=BeamSearch(5, prompt=prompt), **SHORT, logprobs=True)
    tokenizer = llm._handle.opened.tokenizer
    turns = [{"role": "user", "content": QUESTION}]
    if preference:
        turns.insert(0, {"role": "system", "content": preference})
    encoded = tokenizer.apply_chat_template(
        turns, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )

    def library() -> Any:
        return model_of(llm).generate(**encoded, num_beams=5, max_new_tokens=60, do_sample=False)

    expected = engine_of(llm).run(whole(library)).result()[0, encoded["input_ids"].shape[1] :]
    assert answer.text == tokenizer.decode(expected, skip_special_tokens=True)
    score = llm.score(QUESTION, answer.text, preference=preference)
    assert searched(answer)["scores"] == pytest.approx(
        [score.pref_total / len(score.token_ids)], abs=1e-4
    )
    content = answer.response_metadata["logprobs"]["content"]
    said = [entry["logprob"] for entry in content]
    assert said == pytest.approx(score.pref[:-1], abs=1e-4)


def test_beams_end_at_max_tokens_and_at_stop_strings(llm: ChatAmulet) -> None:
    method = BeamSearch(3)
    whole = llm.invoke(QUESTION, method=method)
    cut = llm.invoke(QUESTION, method=method, max_tokens=3)
    assert cut.response_metadata["finish_reason"] == "length"
    assert cut.usage_metadata and cut.usage_metadata["output_tokens"] == 9
    stopped = llm.invoke(QUESTION, method=method, stop=["."])
    assert stopped.text == whole.text.partition(".")[0]
    assert stopped.response_metadata["finish_reason"] == "stop"


def test_beams_refuse_what_they_would_ignore(llm: ChatAmulet) -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    searching = llm.model_copy(update={"method": BeamSearch(2)})
    with pytest.raises(RequestError, match="a grammar"):
        searching.bind_tools([add], tool_choice="any").invoke(QUESTION)
    with pytest.raises(RequestError, match="penalties"):
        searching.invoke(QUESTION, repetition_penalty=1.2)
    assert searched(searching.bind_tools([add]).invoke(QUESTION))


def test_a_search_by_beams_ends_at_its_deadline(llm: ChatAmulet) -> None:
    with pytest.raises(DeadlineError, match=r"0\.05 s"):
        llm.invoke(QUESTION, method=BeamSearch(16), max_tokens=1900, timeout=0.05, stop=["\0"])


async def test_a_cancelled_search_by_beams_lets_the_others_go_on(llm: ChatAmulet) -> None:
    expected = await llm.ainvoke(QUESTION)
    task = asyncio.create_task(llm.ainvoke(QUESTION, method=BeamSearch(16), max_tokens=1900))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await llm.ainvoke(QUESTION)).content == expected.content


def test_the_model_s_own_settings_stay_as_they_were(llm: ChatAmulet) -> None:
    before = model_of(llm).generation_config
    said = before.to_dict()
    llm.invoke(QUESTION, method=BeamSearch(2))
    after = model_of(llm).generation_config
    assert after is before and after.to_dict() == said
