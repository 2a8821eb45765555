"""Other work on the engine's model: scoring what is given, and whatever a caller brings."""

from __future__ import annotations

import gc
import threading
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from langchain_amulet.engine import Engine, HuggingFaceModel, Request
from langchain_amulet.engine.backends import Steps
from langchain_amulet.engine.backends.huggingface.lm_head import SMALL_VOCABULARY
from langchain_amulet.errors import (
    ContextLengthError,
    DeadlineError,
    EmptyInputError,
    EngineClosedError,
    GenerationError,
    QueueFullError,
    RequestError,
)
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Plan
from langchain_amulet.waiting.deadline import Deadline
from support.engines import whole

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
    """Work of one step that waits until it is let go."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def steps(self) -> Steps[None]:
        self.begun.set()
        assert self.go.wait(20)
        return
        yield


@pytest.fixture
def held(engine: Engine) -> Iterator[Held]:
    """Work that keeps the engine busy until it is let go."""
    work = Held()
    engine.run(work.steps())
    assert work.begun.wait(20)
    yield work
    work.go.set()


def counting(count: int, noted: list[str], name: str) -> Steps[str]:
    """Work that notes its name once in each of so many steps."""
    for _ in range(count):
        noted.append(name)
        yield
    return name


def endless() -> Steps[None]:
    """Work without an end."""
    while True:
        yield


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


def test_a_long_prompt_is_scored_in_steps_as_in_one(model: Any) -> None:
    prompt, answer = tuple(range(5, 105)), tuple(range(30, 60))
    whole_prompt, *in_chunks = (
        Engine(HuggingFaceModel(model), prefill_chunk=chunk) for chunk in (256, 1, 7, 100)
    )
    expected = whole_prompt.score((prompt,), answer).result()
    for engine in in_chunks:
        torch.testing.assert_close(engine.score((prompt,), answer).result(), expected)


def test_a_request_goes_on_while_something_long_is_scored(model: Any) -> None:
    with Engine(HuggingFaceModel(model), prefill_chunk=1) as engine:
        answer = engine.submit(request_for(400))
        next(answer)
        before = engine.stats().decode_steps
        engine.score((tuple(range(5, 105)),), (3,) * 50).result()
        assert engine.stats().decode_steps - before >= 149
        answer.cancel()


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


# --- searching ---------------------------------------------------------------


def test_a_request_goes_on_while_beams_are_searched(engine: Engine) -> None:
    answer = engine.submit(request_for(400))
    next(answer)
    before = engine.stats().decode_steps
    found = engine.search(request_for(60), beams=4).result()
    assert len(found.tokens) == 60
    assert engine.stats().decode_steps - before >= 59
    answer.cancel()


def test_a_search_fails_at_its_timeout_and_a_cancelled_one_ends(engine: Engine) -> None:
    late = replace(request_for(500), timeout=0.02)
    with pytest.raises(DeadlineError, match=r"within its timeout of 0\.02 s by beam search"):
        engine.search(late, beams=8).result()
    left = engine.search(request_for(500), beams=8)
    assert left.cancel()
    assert engine.run(whole(lambda: "next")).result(20) == "next"


# --- work of any kind --------------------------------------------------------


def test_work_runs_on_the_engine_s_thread_in_inference_mode(engine: Engine) -> None:
    def seen() -> tuple[str, bool]:
        return threading.current_thread().name, torch.is_inference_mode_enabled()

    assert engine.run(whole(seen)).result() == ("amulet-engine", True)


def test_requests_and_each_step_of_work_take_turns(engine: Engine) -> None:
    def noting() -> Steps[list[int]]:
        steps: list[int] = []
        for _ in range(20):
            steps.append(engine.stats().decode_steps)
            yield
        return steps

    answer = engine.submit(request_for(200))
    next(answer)
    steps = engine.run(noting()).result()
    assert len(list(answer)) == 199
    assert steps == [*range(steps[0], steps[0] + 20)], "a request waited for more than a step"


def test_pieces_of_work_take_turns_so_that_a_short_one_waits_for_no_long_one(
    engine: Engine, held: Held
) -> None:
    noted: list[str] = []
    long = engine.run(counting(1000, noted, "long"))
    short = engine.run(counting(3, noted, "short"))
    held.go.set()
    assert short.result() == "short"
    assert long.result() == "long"
    assert noted[:6] == ["long", "short"] * 3


def test_work_that_holds_more_rows_than_there_are_waits_until_others_are_done(model: Any) -> None:
    noted: list[str] = []
    with Engine(HuggingFaceModel(model), max_rows=8) as engine:
        held = Held()
        engine.run(held.steps())
        assert held.begun.wait(20)
        first, second, third = (engine.run(counting(5, noted, name), rows=5) for name in "abc")
        held.go.set()
        assert third.result() == "c" and first.done() and second.done()
    assert noted == [*"aaaaabbbbbccccc"]


def test_work_that_needs_more_rows_than_there_are_runs_alone(model: Any) -> None:
    with Engine(HuggingFaceModel(model), max_rows=2) as engine:
        assert engine.run(counting(2, [], "large"), rows=5).result() == "large"


def test_an_error_of_the_work_is_the_caller_s_alone(engine: Engine) -> None:
    alone = [token.id for token in engine.submit(request_for(20))]
    answer = engine.submit(request_for(20))

    def failing(error: BaseException) -> Steps[None]:
        yield
        raise error

    with pytest.raises(SystemExit):
        engine.run(failing(SystemExit("not even an Exception"))).result()
    with pytest.raises(GenerationError, match="out of luck") as failed:
        engine.run(failing(ArithmeticError("out of luck"))).result()
    assert isinstance(failed.value.__cause__, ArithmeticError)
    assert [token.id for token in answer] == alone


def test_work_cancelled_before_it_began_is_never_done(engine: Engine, held: Held) -> None:
    done: list[str] = []
    cancelled = engine.run(whole(lambda: done.append("cancelled")))
    kept = engine.run(whole(lambda: done.append("kept")))
    assert cancelled.cancel()
    held.go.set()
    kept.result()
    assert done == ["kept"]


def test_work_cancelled_on_its_way_is_closed_before_its_next_step(engine: Engine) -> None:
    begun, closed = threading.Event(), threading.Event()

    def tidying() -> Steps[None]:
        try:
            while True:
                begun.set()
                yield
        finally:
            closed.set()

    endless = engine.run(tidying())
    assert begun.wait(20)
    assert endless.cancel()
    assert closed.wait(20)


def test_work_fails_at_its_deadline_under_way_and_while_it_waits(model: Any) -> None:
    with Engine(HuggingFaceModel(model), max_rows=1) as engine:
        engine.run(endless())
        deadline = Deadline(time.monotonic() + 0.05, lambda: DeadlineError("too late"))
        under_way, waiting = (engine.run(endless(), rows, deadline) for rows in (0, 1))
        for late in (under_way, waiting):
            with pytest.raises(DeadlineError, match="too late"):
                late.result(20)


def test_work_beyond_the_queue_is_refused(engine: Engine, held: Held) -> None:
    for _ in range(3):
        engine.run(endless())
    with pytest.raises(QueueFullError, match="At most 3"):
        engine.run(endless())


def test_a_closed_engine_refuses_work_and_tells_who_waits(model: Any) -> None:
    engine, held = Engine(HuggingFaceModel(model)), Held()
    running = engine.run(held.steps())
    assert held.begun.wait(20)
    waiting = [engine.run(endless()) for _ in range(9)]
    closing = threading.Thread(target=engine.close)
    closing.start()
    with pytest.raises(EngineClosedError):
        while not closing.join(0.002):
            engine.run(whole(lambda: None)).cancel()
    held.go.set()
    closing.join()
    assert running.result() is None
    for each in waiting:
        with pytest.raises(EngineClosedError):
            each.result(20)


def test_work_under_way_keeps_no_engine_from_closing(model: Any) -> None:
    engine = Engine(HuggingFaceModel(model))
    begun, noted = engine.run(endless()), list[str]()
    engine.run(counting(3, noted, "")).result()
    engine.close()
    with pytest.raises(EngineClosedError):
        begun.result(20)


def test_work_keeps_its_engine_alive_until_it_is_done(model: Any) -> None:
    engine = Engine(HuggingFaceModel(model))
    gone = weakref.ref(engine)
    future = engine.run(whole(lambda: "done"))
    del engine
    assert future.result() == "done"
    for _ in range(200):
        gc.collect()
        if gone() is None:
            return
        threading.Event().wait(0.01)
    raise AssertionError("the engine is still there")
