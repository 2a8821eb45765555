"""Requests together: joining, leaving, failing, waiting; always the same answers."""

from __future__ import annotations

import asyncio
import gc
import math
import os
import signal
import threading
import time
import warnings
import weakref
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import Phi3Config, Phi3ForCausalLM, PhiConfig, PhiForCausalLM

from langchain_amulet.engine import Engine, HuggingFaceModel, Request
from langchain_amulet.engine.backends.huggingface.kv_cache import KVCacheLayer
from langchain_amulet.engine.sampler import next_token
from langchain_amulet.errors import (
    CancelledError,
    ConfigurationError,
    ContextLengthError,
    DeadlineError,
    EmptyInputError,
    EngineClosedError,
    GenerationError,
    QueueFullError,
    RequestError,
)
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Contrast, Plan, Plausibility, Stream
from support.engines import whole

VOCABULARY, CONTEXT, POISON = 128, 4096, 127
AMULET = Plan(
    streams=(Stream((0,)), Stream()),
    anchor=0,
    contrasts=(Contrast(4.6487, 0, 1),),
    reference=((0, 1.0),),
    mask=Plausibility(0.1),
)
PLAIN = Plan.plain()
ENDLESS = 4000


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = PhiConfig(vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, **shape, **heads)
    model = PhiForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4.0)
        model.model.embed_tokens.weight[POISON] = math.nan
        model.lm_head.bias[POISON] = -1e4  # so it is never chosen
    return model


@pytest.fixture
def engine(model: Any) -> Iterator[Engine]:
    with Engine(HuggingFaceModel(model), max_rows=6, max_queue=3, prefill_chunk=8) as engine:
        yield engine


def request_for(
    seed: int = 0, max_tokens: int = 8, plan: Plan = AMULET, length: int = 12, **more: Any
) -> Request:
    generator = torch.Generator().manual_seed(seed)
    ids = tuple(torch.randint(3, POISON, (length,), generator=generator).tolist())
    prompts = tuple((*ids, 5, 6, 9) if stream.preferences else (*ids, 9) for stream in plan.streams)
    sampling = more.pop("sampling", SamplingParams(seed=seed))
    return Request(prompts, plan, sampling, max_tokens, **more)


def poisoned(request: Request) -> Request:
    """The same request with a token whose embedding is NaN."""
    return replace(request, prompts=tuple((*p[:-1], POISON) for p in request.prompts))


def ids_of(engine: Engine, request: Request) -> list[int]:
    return [token.id for token in engine.submit(request)]


def wait_until(holds: Any, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.002)


class Scripted:
    """A constraint that allows one token after another, then fails if asked again."""

    def __init__(self, *tokens: int) -> None:
        self.tokens, self.accepted = list(tokens), []

    def allowed(self) -> torch.Tensor:
        mask = torch.zeros(VOCABULARY, dtype=torch.bool)
        mask[self.tokens[len(self.accepted)]] = True
        return mask

    def accept(self, token: int) -> bool:
        self.accepted.append(token)
        return True


# --- answers -----------------------------------------------------------------


def test_a_seed_means_the_same_tokens_whatever_else_is_in_the_batch(engine: Engine) -> None:
    alone = [ids_of(engine, request_for(seed)) for seed in range(3)]
    together = [engine.submit(request_for(seed)) for seed in range(3)]
    assert [[token.id for token in answer] for answer in together] == alone
    assert alone[0] != alone[1]


def test_a_different_seed_means_different_tokens(engine: Engine) -> None:
    request = request_for(sampling=SamplingParams(seed=1, temperature=3.0), max_tokens=16)
    other = replace(request, sampling=SamplingParams(seed=2, temperature=3.0))
    assert ids_of(engine, request) != ids_of(engine, other)


def test_an_answer_ends_at_max_tokens_with_the_reason_length(engine: Engine) -> None:
    answer = engine.submit(request_for(max_tokens=5))
    assert answer.finish_reason is None
    assert len(list(answer)) == 5
    assert answer.finish_reason == "length"


def test_a_stop_token_ends_the_answer_and_is_not_emitted(engine: Engine) -> None:
    whole = ids_of(engine, request_for())
    answer = engine.submit(request_for(stop_ids=frozenset({whole[3]})))
    assert [token.id for token in answer] == whole[: whole.index(whole[3])]
    assert answer.finish_reason == "stop"


def test_a_common_prefix_is_prefilled_once(engine: Engine) -> None:
    request = request_for(length=30, max_tokens=1)
    ids_of(engine, request)
    first, second = request.prompts
    assert engine.stats().prefill_tokens == 30 + (len(first) - 31) + (len(second) - 31)


def test_one_token_prompts_need_no_prefill(engine: Engine) -> None:
    request = Request(((5,), (6,)), AMULET, SamplingParams(seed=0), 3)
    assert len(ids_of(engine, request)) == 3
    assert engine.stats().prefill_tokens == 0


def test_a_prompt_that_is_another_one_s_beginning_decodes_like_any_other(engine: Engine) -> None:
    prompts = ((5, 6, 7, 8), (5, 6))
    nested = Request(prompts, AMULET, SamplingParams(temperature=0), 6, trace=True)
    plain = Request(((5, 6),), PLAIN, SamplingParams(temperature=0), 1, trace=True)
    first = next(engine.submit(nested))
    alone = engine.submit(replace(plain, sampling=SamplingParams(top_logprobs=VOCABULARY)))
    base = dict(next(alone).top_logprobs)
    assert first.trace is not None and first.trace.base is not None
    assert first.trace.base == pytest.approx(math.exp(base[first.id]), abs=1e-5)


def test_several_preferences_mix_into_one_reference(engine: Engine) -> None:
    plan = Plan(
        streams=(Stream((0,)), Stream((1,)), Stream()),
        anchor=2,
        contrasts=(Contrast(1.0, 0, 2), Contrast(1.0, 1, 2)),
        reference=((0, 0.5), (1, 0.5)),
        mask=Plausibility(0.1),
    )
    request = Request(((3, 4, 5), (3, 4, 6), (3, 4)), plan, SamplingParams(seed=0), 4, trace=True)
    for token in engine.submit(request):
        assert token.trace is not None and 0 < token.trace.pref <= 1


def test_tokens_say_how_far_several_preferences_agree(engine: Engine) -> None:
    contrasts = (Contrast(1.0, 0, 2), Contrast(1.0, 1, 2))
    plan = Plan(
        streams=(Stream((0,)), Stream((1,)), Stream()),
        anchor=2,
        contrasts=contrasts,
        reference=((2, 1.0),),
    )
    prompts, sampling = ((3, 4, 5), (3, 4, 6), (3, 4)), SamplingParams(seed=0)
    for token in engine.submit(Request(prompts, plan, sampling, 4)):
        assert token.agreement is not None and -1.0 <= token.agreement <= 1.0
    same = Request((prompts[0], *prompts[::2]), plan, sampling, 4)
    assert all(t.agreement == pytest.approx(1.0, abs=1e-4) for t in engine.submit(same))
    assert all(token.agreement is None for token in engine.submit(request_for()))


# --- what a token says -------------------------------------------------------


def test_trace_is_the_chosen_token_s_probability_before_and_after(engine: Engine) -> None:
    for token in engine.submit(request_for(trace=True, max_tokens=6)):
        assert token.trace is not None
        assert token.trace.steered == pytest.approx(math.exp(token.logprob))
        assert token.trace.base is not None and 0 <= token.trace.base <= 1
        assert 0 < token.trace.pref <= 1


def test_trace_is_absent_unless_asked_for(engine: Engine) -> None:
    assert all(token.trace is None for token in engine.submit(request_for()))


def test_steering_moves_the_distribution_and_plain_decoding_does_not(engine: Engine) -> None:
    assert all(token.kl == 0.0 for token in engine.submit(request_for(plan=PLAIN)))
    assert sum(token.kl for token in engine.submit(request_for(max_tokens=6))) > 0.0


def test_top_logprobs_are_the_best_ones_in_order(engine: Engine) -> None:
    sampling = SamplingParams(seed=0, top_logprobs=4)
    for token in engine.submit(request_for(plan=PLAIN, sampling=sampling)):
        values = [value for _, value in token.top_logprobs]
        assert len(values) == 4 and values == sorted(values, reverse=True)
        assert token.logprob <= values[0] + 1e-6


def test_the_candidates_give_what_the_whole_vocabulary_gives(model: Any) -> None:
    wide = replace(
        AMULET, mask=Plausibility(1e-9)
    )  # nearly no mask, so the candidates never suffice
    narrow = replace(AMULET, mask=Plausibility(0.9))
    with Engine(HuggingFaceModel(model)) as engine:
        for plan in (wide, narrow):
            sampling = SamplingParams(temperature=0, top_logprobs=VOCABULARY)
            token = next(engine.submit(request_for(plan=plan, sampling=sampling)))
            total = sum(math.exp(value) for _, value in token.top_logprobs)
            assert total == pytest.approx(1.0, abs=1e-4)
            assert token.id == token.top_logprobs[0][0]


# --- constraints -------------------------------------------------------------


def test_a_constraint_decides_which_tokens_may_come(engine: Engine) -> None:
    constraint = Scripted(11, 12, 13)
    request = request_for(max_tokens=3, constraint=constraint)
    assert ids_of(engine, request) == [11, 12, 13] == constraint.accepted


def test_a_token_that_a_constraint_does_not_take_is_drawn_again(engine: Engine) -> None:
    class Odd:
        """Allows all tokens, and takes none that is even."""

        def __init__(self) -> None:
            self.mask = torch.ones(VOCABULARY, dtype=torch.bool)

        def allowed(self) -> torch.Tensor:
            return self.mask

        def accept(self, token: int) -> bool:
            self.mask[token] = False
            return token % 2 == 1

    ids, again = (ids_of(engine, request_for(constraint=Odd())) for _ in range(2))
    assert ids == again
    assert len(ids) == 8
    assert all(token % 2 for token in ids)


def test_a_constraint_that_raises_fails_only_its_own_request(engine: Engine) -> None:
    good = engine.submit(request_for(1))
    bad = engine.submit(request_for(2, constraint=Scripted(11)))
    assert next(bad).id == 11
    with pytest.raises(GenerationError, match="IndexError"):
        next(bad)
    assert [token.id for token in good] == ids_of(engine, request_for(1))


def test_a_constraint_of_the_wrong_width_is_named(engine: Engine) -> None:
    class Narrow(Scripted):
        def allowed(self) -> torch.Tensor:
            return torch.ones(3, dtype=torch.bool)

    with pytest.raises(GenerationError, match=r"shape \[128\]"):
        ids_of(engine, request_for(constraint=Narrow()))


def test_a_constraint_that_panics_fails_only_its_own_request(engine: Engine) -> None:
    class Panicking(Scripted):
        def allowed(self) -> torch.Tensor:
            raise SystemExit("not an Exception, as a panic in Rust isn't either")

    with pytest.raises(GenerationError, match="SystemExit"):
        ids_of(engine, request_for(2, constraint=Panicking()))
    assert len(ids_of(engine, request_for(1))) == 8


def test_a_constraint_holds_where_the_prompt_finds_all_it_allows_impossible() -> None:
    logprobs = torch.zeros(2, VOCABULARY)
    logprobs[:, 11] = -math.inf
    request = request_for(constraint=Scripted(11))
    with pytest.raises(GenerationError, match="constraint"):
        next_token(request, logprobs.log_softmax(-1), None, (), 0.5)


# --- failing alone -----------------------------------------------------------


def test_nan_logits_fail_one_request_and_leave_the_others_untouched(engine: Engine) -> None:
    expected = [ids_of(engine, request_for(seed)) for seed in (1, 2)]
    first = engine.submit(request_for(1))
    bad = engine.submit(poisoned(request_for(3)))
    second = engine.submit(request_for(2))
    with pytest.raises(GenerationError, match="NaN"):
        list(bad)
    assert [[token.id for token in answer] for answer in (first, second)] == expected
    assert ids_of(engine, request_for(1)) == expected[0]  # in rows that held NaN before
    assert engine.stats().failed == 1


def test_nan_in_a_prefix_does_not_outlive_its_rows(engine: Engine) -> None:
    request = request_for(1, length=30)
    expected = ids_of(engine, request)
    prompts = tuple((POISON, *prompt) for prompt in request.prompts)
    with pytest.raises(GenerationError):
        ids_of(engine, replace(request, prompts=prompts))
    assert ids_of(engine, request) == expected


def test_a_request_without_memory_for_its_rows_fails_alone_and_leaves_none(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = ids_of(engine, request_for(1, 40))
    staying = engine.submit(request_for(1, 40))
    first = [next(staying).id for _ in range(3)]
    enough = KVCacheLayer.copy

    def too_little(layer: KVCacheLayer, other: KVCacheLayer, *where: int) -> None:
        enough(layer, other, *where)
        if layer.kv_cache is not other.kv_cache:
            raise MemoryError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(KVCacheLayer, "copy", too_little)
        with pytest.raises(GenerationError, match="no room"):
            ids_of(engine, request_for(2, length=700))
    assert first + [token.id for token in staying] == expected
    wait_until(lambda: engine.stats().rows == 0)
    assert ids_of(engine, request_for(1, 40)) == expected


def test_a_context_ends_where_longrope_changes_its_frequencies() -> None:
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "pad_token_id": 0}
    rope = {"rope_type": "longrope", "rope_theta": 1e4, "factor": 8.0}
    factors = {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4}
    config = Phi3Config(
        vocab_size=VOCABULARY, max_position_embeddings=128, original_max_position_embeddings=16,
        rope_parameters={**rope, **factors, "original_max_position_embeddings": 16},
        **shape, **heads,
    )  # fmt: skip
    with Engine(HuggingFaceModel(Phi3ForCausalLM(config).eval())) as engine:
        with pytest.raises(ContextLengthError, match="context of 16"):
            engine.submit(request_for(plan=PLAIN, length=12, max_tokens=4))
        assert len(ids_of(engine, request_for(plan=PLAIN, length=11, max_tokens=4))) == 4


def test_a_request_over_the_context_is_refused_at_once(engine: Engine) -> None:
    with pytest.raises(ContextLengthError, match="4096"):
        engine.submit(request_for(max_tokens=CONTEXT))


@pytest.mark.parametrize("prompts", [((1, VOCABULARY),), ((-1, 2),)])
def test_ids_outside_the_vocabulary_are_refused(engine: Engine, prompts: Any) -> None:
    with pytest.raises(RequestError, match="vocabulary"):
        engine.submit(Request(prompts, PLAIN, SamplingParams(), 1))


def test_requests_that_can_never_run_are_refused(engine: Engine) -> None:
    many = Plan(streams=(Stream(),) * 7, anchor=0, reference=((0, 1.0),))
    with pytest.raises(RequestError, match="max_rows"):
        engine.submit(Request(((1,),) * 7, many, SamplingParams(), 1))
    with pytest.raises(RequestError, match="one prompt per stream"):
        Request(((1,),), AMULET, SamplingParams(), 1)
    with pytest.raises(EmptyInputError, match="stream 1"):
        Request(((1,), ()), AMULET, SamplingParams(), 1)
    with pytest.raises(ConfigurationError, match="max_tokens"):
        Request(((1,),), PLAIN, SamplingParams(), 0)
    with pytest.raises(ConfigurationError, match="timeout"):
        Request(((1,),), PLAIN, SamplingParams(), 1, timeout=0.0)


def test_limits_below_one_are_refused(model: Any) -> None:
    with pytest.raises(ConfigurationError, match="max_queue"):
        Engine(HuggingFaceModel(model), max_queue=0)


# --- waiting and leaving -----------------------------------------------------


def test_requests_beyond_the_rows_wait_and_beyond_the_queue_are_refused(engine: Engine) -> None:
    running = [engine.submit(request_for(seed, ENDLESS)) for seed in range(3)]
    wait_until(lambda: engine.stats().active_requests == 3)
    waiting = [engine.submit(request_for(seed)) for seed in range(3)]
    assert engine.stats().queued == 3
    with pytest.raises(QueueFullError, match="At most 3"):
        engine.submit(request_for())
    for answer in running:
        answer.cancel()
    assert [len(list(answer)) for answer in waiting] == [8, 8, 8]


def test_cancelling_mid_decode_frees_the_rows(engine: Engine) -> None:
    answer = engine.submit(request_for(max_tokens=ENDLESS))
    next(answer)
    assert engine.stats().rows == 2
    answer.cancel()
    wait_until(lambda: engine.stats().rows == 0)
    assert engine.stats().cancelled == 1
    with pytest.raises(CancelledError):
        next(answer)


def test_cancelling_a_waiting_request_takes_it_out_of_the_queue(engine: Engine) -> None:
    running = [engine.submit(request_for(seed, ENDLESS)) for seed in range(3)]
    wait_until(lambda: engine.stats().active_requests == 3)
    engine.submit(request_for()).cancel()
    wait_until(lambda: engine.stats().queued == 0)
    assert all(next(answer) for answer in running)


def test_dropping_a_stream_frees_its_rows(engine: Engine) -> None:
    for _ in engine.submit(request_for(max_tokens=ENDLESS)):
        break
    wait_until(lambda: engine.stats().rows == 0)


def test_a_context_manager_frees_the_rows(engine: Engine) -> None:
    with engine.submit(request_for(max_tokens=ENDLESS)) as answer:
        next(answer)
    wait_until(lambda: engine.stats().rows == 0)


def test_a_deadline_ends_one_request(engine: Engine) -> None:
    late = engine.submit(request_for(max_tokens=ENDLESS, timeout=0.05))
    other = engine.submit(request_for(1))
    with pytest.raises(DeadlineError, match=r"0\.05 s"):
        list(late)
    assert len(list(other)) == 8
    assert engine.stats().rows == 0


def test_a_deadline_passes_in_the_queue_too(engine: Engine) -> None:
    running = [engine.submit(request_for(seed, ENDLESS)) for seed in range(3)]
    wait_until(lambda: engine.stats().active_requests == 3)
    with pytest.raises(DeadlineError, match="0 of at most 8 tokens"):
        list(engine.submit(request_for(timeout=0.05)))
    assert engine.stats().queued == 0
    assert all(next(answer) for answer in running)


def test_others_keep_streaming_while_a_long_prompt_is_prefilled(engine: Engine) -> None:
    decoding = engine.submit(request_for(max_tokens=ENDLESS))
    next(decoding)
    before = engine.stats().decode_steps
    long = engine.submit(request_for(1, 1, length=800))
    next(long)
    # 800 shared tokens in chunks of 8: a decode step of the other one between any two
    assert engine.stats().decode_steps - before >= 100
    decoding.cancel()


def test_rows_that_leave_are_filled_and_the_rest_go_on_as_if_alone(engine: Engine) -> None:
    expected = ids_of(engine, request_for(2, 40))
    leaving = engine.submit(request_for(1, ENDLESS))
    staying = engine.submit(request_for(2, 40))
    first = [next(staying).id for _ in range(5)]
    leaving.cancel()
    assert first + [token.id for token in staying] == expected


# --- asyncio -----------------------------------------------------------------


async def test_async_iteration_gives_the_same_tokens(engine: Engine) -> None:
    answers = [engine.submit(request_for(seed)) for seed in range(3)]

    async def collect(answer: Any) -> list[int]:
        return [token.id async for token in answer]

    found = await asyncio.gather(*map(collect, answers))
    assert found == [ids_of(engine, request_for(seed)) for seed in range(3)]
    assert answers[0].finish_reason == "length"


async def test_a_cancelled_task_frees_its_rows(engine: Engine) -> None:
    started = asyncio.Event()

    async def read() -> None:
        async for _ in engine.submit(request_for(max_tokens=ENDLESS)):
            started.set()

    task = asyncio.create_task(read())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(wait_until, lambda: engine.stats().rows == 0)
    assert engine.stats().cancelled == 1


async def test_an_async_context_manager_frees_the_rows(engine: Engine) -> None:
    async with engine.submit(request_for(max_tokens=ENDLESS)) as answer:
        await anext(answer)
    await asyncio.to_thread(wait_until, lambda: engine.stats().rows == 0)


async def test_async_iteration_raises_the_request_s_own_error(engine: Engine) -> None:
    with pytest.raises(GenerationError):
        async for _ in engine.submit(poisoned(request_for())):
            pass


# --- the engine's own life ---------------------------------------------------


def test_closing_fails_what_is_under_way_and_what_comes_after(model: Any) -> None:
    engine = Engine(HuggingFaceModel(model))
    answer = engine.submit(request_for(max_tokens=ENDLESS))
    next(answer)
    engine.close()
    with pytest.raises(EngineClosedError):
        list(answer)
    with pytest.raises(EngineClosedError):
        engine.submit(request_for())
    engine.close()


def test_an_unused_engine_starts_no_thread(model: Any) -> None:
    before = threading.active_count()
    with Engine(HuggingFaceModel(model)):
        assert threading.active_count() == before


def test_an_engine_that_nobody_holds_is_collected_and_its_thread_ends(model: Any) -> None:
    engine = Engine(HuggingFaceModel(model))
    ids_of(engine, request_for())
    gone = weakref.ref(engine)
    thread = next(t for t in threading.enumerate() if t.name == "amulet-engine")
    del engine
    gc.collect()
    assert gone() is None
    thread.join(timeout=10)
    assert not thread.is_alive()


def test_a_stream_keeps_its_engine_alive(model: Any) -> None:
    answer = Engine(HuggingFaceModel(model)).submit(request_for(max_tokens=20))
    gc.collect()
    assert len(list(answer)) == 20


def test_no_caller_waits_for_ever_when_even_letting_go_fails(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lost(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("the device is lost")

    monkeypatch.setattr(threading, "excepthook", lambda args: None)  # the thread does die of it
    answers = [engine.submit(request_for(seed, ENDLESS)) for seed in range(3)]
    for answer in answers:
        next(answer)
    with monkeypatch.context() as patch:
        patch.setattr(KVCacheLayer, "move", lost)
        patch.setattr(KVCacheLayer, "update", lost)
        for answer in answers:
            with pytest.raises(GenerationError, match="the device is lost"):
                list(answer)
        with pytest.raises(EngineClosedError):
            wait_until(lambda: ids_of(engine, request_for()))


def test_a_thread_that_could_not_start_is_tried_again(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", full)
        with pytest.raises(RuntimeError, match="new thread"):
            engine.submit(request_for())
    assert engine.stats().queued == 0
    assert len(ids_of(engine, request_for())) == 8


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system doesn't fork")
def test_a_fork_of_the_process_is_told_instead_of_waiting_for_ever(engine: Engine) -> None:
    ids_of(engine, request_for())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python says that it is unwise, which is the point
        child = os.fork()
    if child == 0:
        signal.alarm(10)
        try:
            engine.close()
            engine.submit(request_for())
        except EngineClosedError as error:
            os._exit(0 if "fork" in str(error) else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert len(ids_of(engine, request_for())) == 8


def test_an_idle_engine_does_not_step(engine: Engine) -> None:
    ids_of(engine, request_for())
    steps = engine.stats().decode_steps
    time.sleep(0.05)
    assert engine.stats().decode_steps == steps


def test_between_two_passes_the_model_is_as_it_was(engine: Engine, model: Any) -> None:
    seen = []
    answer = engine.submit(request_for(max_tokens=ENDLESS))
    for _ in range(3):
        next(answer)
        seen.append(engine.run(whole(lambda: len(model.lm_head._forward_hooks))).result())
    assert seen == [0, 0, 0]


@pytest.mark.parametrize("thing", [None, "pocket", torch.nn.Linear(2, 2)], ids=lambda it: str(it))
def test_what_is_no_model_is_refused_by_name(thing: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"loaded model, not {type(thing).__name__}"):
        Engine(thing)
    with pytest.raises(ConfigurationError, match=f"{type(thing).__name__} lacks .*config"):
        HuggingFaceModel(thing)


def test_stats_add_up(engine: Engine) -> None:
    for seed in range(4):
        ids_of(engine, request_for(seed))
    stats = engine.stats()
    assert (stats.admitted, stats.finished, stats.failed, stats.cancelled) == (4, 4, 0, 0)
    assert (stats.active_requests, stats.rows, stats.queued) == (0, 0, 0)
