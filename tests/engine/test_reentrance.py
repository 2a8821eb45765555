"""Code that an engine runs can't wait for the same engine: it is told, and the others go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from threading import Barrier

import pytest
import torch
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from langchain_amulet.engine import Engine, HuggingFaceModel, Request
from langchain_amulet.errors import ReentrantCallError
from langchain_amulet.methods import Guidance, Iterated, Method, Pref
from langchain_amulet.sampling import SamplingParams
from support.engines import whole

PREF = Pref()


@pytest.fixture(scope="module")
def model() -> HuggingFaceModel:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    return HuggingFaceModel(Qwen2ForCausalLM(Qwen2Config(vocab_size=64, **shape, **heads)).eval())


@pytest.fixture
def engine(model: HuggingFaceModel) -> Iterator[Engine]:
    with Engine(model) as engine:
        yield engine


def request_for(method: Method = PREF, max_tokens: int = 4) -> Request:
    plan = method.plan([Guidance()])
    prompts = tuple((5, 6, 7, *(9 for _ in stream.preferences), 8) for stream in plan.streams)
    return Request(prompts, plan, SamplingParams(temperature=0.0), max_tokens)


def answer(engine: Engine, method: Method = PREF) -> list[int]:
    return [token.id for token in engine.submit(request_for(method))]


def directly(ask: Callable[[], object]) -> None:
    ask()


def in_another_thread_as_langchain_does(ask: Callable[[], object]) -> None:
    with ThreadPoolExecutor(1) as pool:
        pool.submit(copy_context().run, ask).result()


def in_an_event_loop(ask: Callable[[], object]) -> None:
    async def wait() -> None:
        await asyncio.to_thread(ask)

    asyncio.run(wait())


WAYS = [directly, in_another_thread_as_langchain_does, in_an_event_loop]
QUESTIONS: dict[str, Callable[[Engine], object]] = {
    "answers": answer,
    "scores": lambda engine: engine.score(((5, 6),), (7,)).result(),
    "searches": lambda engine: engine.search(request_for(), 2).result(),
    "jobs": lambda engine: engine.run(whole(int)).result(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_a_utility_that_asks_the_same_engine_fails_and_nobody_else(
    engine: Engine,
    way: Callable[[Callable[[], object]], None],
    question: Callable[[Engine], object],
) -> None:
    def utility(policy: Tensor, base: Tensor) -> Tensor:
        way(lambda: question(engine))
        return policy

    expected = answer(engine)
    beside = engine.submit(request_for(max_tokens=40))
    with pytest.raises(ReentrantCallError, match="can't ask the same model"):
        answer(engine, Iterated(utility))
    assert len(list(beside)) == 40
    assert answer(engine) == expected
    assert engine.stats().rows == 0


def test_a_job_that_asks_its_own_engine_fails(engine: Engine) -> None:
    with pytest.raises(ReentrantCallError):
        engine.run(whole(lambda: answer(engine))).result()
    assert answer(engine)


def test_a_utility_may_ask_another_engine(engine: Engine, model: HuggingFaceModel) -> None:
    with Engine(model) as other:
        asked: list[list[int]] = []

        def utility(policy: Tensor, base: Tensor) -> Tensor:
            asked.append(answer(other))
            return policy

        assert len(answer(engine, Iterated(utility, updates=1))) == 4
        assert len(asked) == 4


def asking(engine: Engine, before: Callable[[], object] = int) -> Method:
    """A method whose utility asks an engine, each time."""

    def utility(policy: Tensor, base: Tensor) -> Tensor:
        before()
        answer(engine)
        return policy

    return Iterated(utility, updates=1)


def test_nor_may_an_engine_that_it_asks_ask_back(engine: Engine, model: HuggingFaceModel) -> None:
    with Engine(model) as second, Engine(model) as third:
        request = request_for(asking(engine))

        def ask() -> None:
            list(third.submit(request))

        with pytest.raises(ReentrantCallError):
            answer(engine, asking(second, ask))
        assert answer(engine, asking(second)) == answer(engine, asking(third))


def test_two_engines_that_ask_each_other_at_once_are_told(
    engine: Engine, model: HuggingFaceModel
) -> None:
    both = Barrier(2, timeout=30)

    def meeting() -> Callable[[], object]:
        """Wait for the other at the first token, and for nobody at others."""
        first = iter([both.wait])
        return lambda: next(first, int)()

    with Engine(model) as other, ThreadPoolExecutor(2) as pool:
        first = pool.submit(answer, engine, asking(other, meeting()))
        second = pool.submit(answer, other, asking(engine, meeting()))
        told = [each.exception(30) for each in (first, second)]
        assert any(isinstance(error, ReentrantCallError) for error in told)
        assert answer(engine) == answer(other)


def test_what_a_reader_does_with_a_token_may_ask_the_engine(engine: Engine) -> None:
    for _ in engine.submit(request_for()):
        assert len(answer(engine)) == 4
