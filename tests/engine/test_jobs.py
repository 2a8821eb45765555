"""Other work on the engine's model: scoring what is given, and whatever a caller brings."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from langchain_amulet.engine import Engine, HuggingFaceModel, Request
from langchain_amulet.engine.backends.huggingface.lm_head import SMALL_VOCABULARY
from langchain_amulet.errors import (
    ContextLengthError,
    EmptyInputError,
    EngineClosedError,
    QueueFullError,
    RequestError,
)
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Plan

CONTEXT = 512
PROMPTS = ((5, 6, 7, 8), (5, 9), (7, 8, 9, 10, 11, 12))
ANSWER = (4, 3, 17, 40, 8)


def small_model(vocabulary: int = 128) -> Any:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = Qwen2Config(vocab_size=vocabulary, max_position_embeddings=CONTEXT, **shape, **heads)
    model = Qwen2ForCausalLM(config).eval()
    with torch.no_grad():
        model.model.norm.weight.mul_(16.0)  # logits of around 10, as trained models have
    return model


@pytest.fixture(scope="module")
def model() -> Any:
    return small_model()


@pytest.fixture
def engine(model: Any) -> Iterator[Engine]:
    with Engine(HuggingFaceModel(model), max_queue=3) as engine:
        yield engine


def request_for(max_tokens: int) -> Request:
    return Request(((5, 6, 7),), Plan.plain(), SamplingParams(seed=0), max_tokens)


class Held:
    """Work that waits until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self) -> None:
        self.begun.set()
        assert self.go.wait(20)


@pytest.fixture
def held(engine: Engine) -> Iterator[Held]:
    """Work that keeps the engine busy until it is let go."""
    work = Held()
    engine.run(work)
    assert work.begun.wait(20)
    yield work
    work.go.set()


# --- scoring -----------------------------------------------------------------


def test_each_place_has_a_distribution_and_several_streams_equal_each_alone(engine: Engine) -> None:
    together = engine.score(PROMPTS, ANSWER).result()
    assert together.shape == (3, 5, 128) and together.dtype == torch.float32
    torch.testing.assert_close(together.exp().sum(-1), torch.ones(3, 5))
    alone = [engine.score((prompt,), ANSWER).result()[0] for prompt in PROMPTS]
    assert torch.equal(together, torch.stack(alone))


def test_what_follows_a_token_does_not_change_its_score(engine: Engine) -> None:
    whole, begun = (engine.score(PROMPTS, ANSWER[:size]).result() for size in (5, 3))
    torch.testing.assert_close(whole[:, :3], begun)


def test_a_bf16_model_is_scored_with_a_float32_head() -> None:
    model = small_model(2 * SMALL_VOCABULARY + 100).to(torch.bfloat16)
    with Engine(HuggingFaceModel(model)) as engine:
        scored = engine.score(PROMPTS[:1], ANSWER).result()
    ids = torch.tensor([[*PROMPTS[0], *ANSWER[:-1]]])
    with torch.inference_mode():
        hidden = model.base_model(ids).last_hidden_state[0, -len(ANSWER) :]
        exact = (hidden.float() @ model.lm_head.weight.float().T).log_softmax(-1)
        rounded = model(ids).logits[0, -len(ANSWER) :].float().log_softmax(-1)
    torch.testing.assert_close(scored[0], exact, rtol=0, atol=1e-4)
    assert float((rounded - exact).abs().max()) > 1e-3, "the test needs a head that rounds"


def test_scoring_refuses_what_the_model_cannot_read(engine: Engine) -> None:
    with pytest.raises(EmptyInputError, match="at least one token"):
        engine.score(PROMPTS, ())
    with pytest.raises(EmptyInputError, match=r"\[0\]"):
        engine.score(((),), ANSWER)
    with pytest.raises(EmptyInputError):
        engine.score((), ANSWER)
    with pytest.raises(RequestError, match="vocabulary"):
        engine.score(PROMPTS, (128,))
    with pytest.raises(ContextLengthError, match="context of 512"):
        engine.score(PROMPTS, (3,) * CONTEXT)


# --- work of any kind --------------------------------------------------------


def test_work_runs_on_the_engine_s_thread_in_inference_mode(engine: Engine) -> None:
    def seen() -> tuple[str, bool]:
        return threading.current_thread().name, torch.is_inference_mode_enabled()

    assert engine.run(seen).result() == ("amulet-engine", True)


def test_requests_and_work_take_turns(engine: Engine) -> None:
    steps: list[int] = []
    answer = engine.submit(request_for(200))
    next(answer)
    found = [engine.run(lambda: steps.append(engine.stats().decode_steps)) for _ in range(3)]
    for future in found:
        future.result()
    assert len(list(answer)) == 199
    assert steps == sorted(set(steps)), "no step between two pieces of work"


def test_an_error_of_the_work_is_the_caller_s_alone(engine: Engine) -> None:
    alone = [token.id for token in engine.submit(request_for(20))]
    answer = engine.submit(request_for(20))

    def fail() -> None:
        raise SystemExit("not even an Exception")

    with pytest.raises(SystemExit):
        engine.run(fail).result()
    assert [token.id for token in answer] == alone


def test_work_cancelled_before_it_began_is_never_done(engine: Engine, held: Held) -> None:
    done: list[str] = []
    cancelled = engine.run(lambda: done.append("cancelled"))
    kept = engine.run(lambda: done.append("kept"))
    assert cancelled.cancel()
    held.go.set()
    kept.result()
    assert done == ["kept"]


def test_work_beyond_the_queue_is_refused(engine: Engine, held: Held) -> None:
    for _ in range(3):
        engine.run(lambda: None)
    with pytest.raises(QueueFullError, match="At most 3"):
        engine.run(lambda: None)


def test_a_closed_engine_refuses_work_and_tells_who_waits(model: Any) -> None:
    engine, held = Engine(HuggingFaceModel(model)), Held()
    running = engine.run(held)
    assert held.begun.wait(20)
    waiting: Future[None] = engine.run(lambda: None)
    closing = threading.Thread(target=engine.close)
    closing.start()
    with pytest.raises(EngineClosedError):
        while not closing.join(0.002):
            engine.run(lambda: None)
    held.go.set()
    closing.join()
    assert running.result() is None
    with pytest.raises(EngineClosedError):
        waiting.result()


def test_work_keeps_its_engine_alive_until_it_is_done(model: Any) -> None:
    engine = Engine(HuggingFaceModel(model))
    gone = weakref.ref(engine)
    future = engine.run(lambda: "done")
    del engine
    assert future.result() == "done"
    for _ in range(200):
        gc.collect()
        if gone() is None:
            return
        threading.Event().wait(0.01)
    raise AssertionError("the engine is still there")
