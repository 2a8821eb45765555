"""What a request leaves for those that begin alike, within a budget and a scope."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from langchain_amulet.engine import CacheScope, Engine, HuggingFaceModel, Request
from langchain_amulet.engine.backends.huggingface.kv_cache import BLOCK, KVCacheLayer
from langchain_amulet.errors import ContextLengthError
from langchain_amulet.methods import Amulet, Guidance
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Plan

VOCABULARY = 128
AMULET = Amulet().plan([Guidance()])
ADA, BOB = CacheScope("ada"), CacheScope("bob")
NOBODY = CacheScope("nobody", keeps=False)


@pytest.fixture(scope="module")
def model() -> HuggingFaceModel:
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = Qwen2Config(
        vocab_size=VOCABULARY, initializer_range=0.4, max_position_embeddings=16384,
        **shape, **heads,
    )  # fmt: skip
    return HuggingFaceModel(Qwen2ForCausalLM(config).eval().float())


@pytest.fixture
def engine(model: HuggingFaceModel) -> Iterator[Engine]:
    with Engine(model) as engine:
        yield engine


def some_ids(length: int, seed: int = 0) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(10, VOCABULARY, (length,), generator=generator).tolist())


def request_for(
    conversation: tuple[int, ...],
    max_tokens: int = 20,
    scope: CacheScope = ADA,
    plan: Plan = AMULET,
    **more: Any,
) -> Request:
    """A conversation with the preference before it, as in a system message, or without."""
    prompts = tuple(
        ((3, 4, 5) if stream.preferences else (3,)) + conversation + (7,) for stream in plan.streams
    )
    sampling = more.pop("sampling", SamplingParams(temperature=0.7, seed=1))
    return Request(prompts, plan, sampling, max_tokens, cache_scope=scope, **more)


def ids_of(engine: Engine, request: Request) -> tuple[int, ...]:
    return tuple(token.id for token in engine.submit(request))


def cost(engine: Engine, request: Request) -> tuple[int, tuple[int, ...]]:
    """Prompt tokens that a request has computed, and its answer."""
    before = engine.stats().prefill_tokens
    answer = ids_of(engine, request)
    return engine.stats().prefill_tokens - before, answer


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.002)


# --- what is computed, and what is answered --------------------------------------------------


def test_the_next_turn_computes_what_is_new_in_every_stream(engine: Engine) -> None:
    first = some_ids(150)
    answer = ids_of(engine, request_for(first))
    turn = (*first, 7, *answer, *some_ids(30, 1))
    computed, _ = cost(engine, request_for(turn))
    # In each stream: the last token of the answer, which was never fed, and the new message.
    assert computed == 2 * (1 + 30)
    cold, _ = cost(engine, request_for(turn, scope=NOBODY))
    assert cold > 2 * len(turn)


@pytest.mark.parametrize("length", [5, 16, 17, 40, 200, 333])
def test_a_hit_gives_the_same_tokens_as_a_miss(engine: Engine, length: int) -> None:
    conversation = some_ids(length, length)
    for turn in range(4):
        cold = ids_of(engine, request_for(conversation, 12 + turn, NOBODY))
        assert ids_of(engine, request_for(conversation, 12 + turn)) == cold
        assert ids_of(engine, request_for(conversation, 12 + turn)) == cold
        conversation = (*conversation, 7, *cold, *some_ids(9, turn))


def test_a_second_question_on_the_same_passages_computes_the_question(engine: Engine) -> None:
    passages = some_ids(300)
    ids_of(engine, request_for((*passages, *some_ids(20, 1))))
    computed, _ = cost(engine, request_for((*passages, *some_ids(25, 2))))
    assert computed <= 2 * 25


def test_streams_of_a_new_preference_find_the_plain_stream_s_tokens(engine: Engine) -> None:
    conversation = some_ids(100)
    ids_of(engine, request_for(conversation, plan=Plan.plain()))
    computed, _ = cost(engine, request_for(conversation))
    assert computed == len(conversation) + 3  # the preference comes first, so that stream is new


def test_what_is_told_is_what_was_found(engine: Engine) -> None:
    conversation = some_ids(100)
    first = engine.submit(request_for(conversation))
    assert first.cached_tokens == ()
    assert list(first) and first.cached_tokens == (0, 0)
    second = engine.submit(request_for(conversation))
    next(second)
    assert second.cached_tokens == tuple(len(p) - 1 for p in request_for(conversation).prompts)
    stats = engine.stats()
    assert (stats.cache_hits, stats.cache_read_tokens) == (1, sum(second.cached_tokens))
    second.cancel()


def test_a_request_that_is_left_keeps_what_was_computed(engine: Engine) -> None:
    conversation = some_ids(200)
    with engine.submit(request_for(conversation, 100)) as answer:
        next(answer)
    wait_until(lambda: engine.stats().rows == 0)
    computed, _ = cost(engine, request_for(conversation))
    assert computed == 0


# --- whose it is -----------------------------------------------------------------------------


def test_a_scope_finds_nothing_of_another_s_neither_kept_nor_under_way(engine: Engine) -> None:
    conversation = some_ids(120)
    cold, expected = cost(engine, request_for(conversation, scope=ADA))
    assert cost(engine, request_for(conversation, scope=BOB)) == (cold, expected)
    with engine.submit(request_for(conversation, 500, ADA)) as under_way:
        next(under_way)
        other = CacheScope("eve")
        assert cost(engine, request_for(conversation, scope=other)) == (cold, expected)


def test_streams_of_one_request_share_in_any_scope_and_off_keeps_nothing(engine: Engine) -> None:
    conversation = some_ids(90)
    prompts = ((3, *conversation, 5, 7), (3, *conversation, 7))
    request = replace(request_for(conversation, scope=NOBODY), prompts=prompts)
    for _ in range(2):
        assert cost(engine, request)[0] == len(conversation) + 2
    assert engine.stats().kv_cache_tokens == 0


def test_requests_that_wait_together_share_within_their_scope_only(engine: Engine) -> None:
    conversation = some_ids(60)
    alone, expected = cost(engine, request_for(conversation, scope=NOBODY))
    before = engine.stats().prefill_tokens
    answers = [
        engine.submit(request_for(conversation, scope=scope)) for scope in (ADA, BOB, ADA, BOB)
    ]
    assert [tuple(token.id for token in answer) for answer in answers] == [expected] * 4
    assert engine.stats().prefill_tokens - before == 2 * alone


# --- memory ----------------------------------------------------------------------------------


def bytes_per_token(model: HuggingFaceModel) -> int:
    config = model.model.config
    dim = config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * config.num_key_value_heads * dim * 4)


def engine_for(model: HuggingFaceModel, tokens: int, **limits: int) -> Engine:
    """An engine whose budget is that of so many tokens."""
    budget = (tokens + 2 * BLOCK) * bytes_per_token(model)
    return Engine(model, kv_cache_memory=budget, **limits)


def test_memory_follows_the_tokens_of_requests_of_all_lengths(model: HuggingFaceModel) -> None:
    lengths = (50, 8000, 120, 3000, 700, 64, 1999, 333)
    plain = Plan.plain()
    with Engine(model, prefill_chunk=2048) as engine:
        answers = [
            engine.submit(request_for(some_ids(length, length), 4000, NOBODY, plain))
            for length in lengths
        ]
        for answer in answers:
            next(answer)
        stats = engine.stats()
        assert sum(lengths) <= stats.kv_cache_tokens
        held = stats.kv_cache_tokens * bytes_per_token(model)
        assert held <= stats.kv_cache_bytes <= 1.15 * held
        for answer in answers:
            answer.cancel()
        wait_until(lambda: engine.stats().rows == 0)
        assert engine.stats().kv_cache_bytes < 80 * BLOCK * bytes_per_token(model)


def test_a_request_that_can_never_fit_is_refused_with_the_figures(
    model: HuggingFaceModel,
) -> None:
    with engine_for(model, 320) as engine:
        with pytest.raises(ContextLengthError, match=r"320 tokens .*\[204, 202\].* 448"):
            engine.submit(request_for(some_ids(200), 20))
        assert len(ids_of(engine, request_for(some_ids(120), 20))) == 20


def test_one_that_does_not_fit_now_waits_and_nobody_under_way_notices(
    model: HuggingFaceModel,
) -> None:
    requests = [request_for(some_ids(100, seed), 40) for seed in range(6)]
    with Engine(model) as roomy:
        expected = [ids_of(roomy, request) for request in requests]
    with engine_for(model, 640) as engine:
        answers = [engine.submit(request) for request in requests]
        next(answers[0])
        assert engine.stats().active_requests <= 2 and engine.stats().queued >= 4
        found = [tuple(token.id for token in answer) for answer in answers[1:]]
        assert found == expected[1:]
        assert engine.stats().failed == 0


def test_kept_prefixes_go_as_memory_is_needed_and_the_budget_holds(
    model: HuggingFaceModel,
) -> None:
    with engine_for(model, 640) as engine:
        limit = engine.stats().kv_cache_limit
        for seed in range(12):
            ids_of(engine, request_for(some_ids(90, seed), 20))
            stats = engine.stats()
            assert limit is not None and stats.kv_cache_bytes <= limit
        assert stats.kv_cache_tokens > 500
        recent, _ = cost(engine, request_for(some_ids(90, 11), 20))
        oldest, _ = cost(engine, request_for(some_ids(90, 0), 20))
        assert (recent, oldest) == (0, 2 * 91 + 2)


def test_a_prompt_that_many_share_needs_its_memory_once(model: HuggingFaceModel) -> None:
    conversation, plain = some_ids(160), Plan.plain()
    with engine_for(model, 480) as engine:
        first = engine.submit(request_for(conversation, 30, plan=plain))
        next(first)
        others = [engine.submit(request_for(conversation, 30, plan=plain)) for _ in range(4)]
        for answer in others:
            next(answer)
        assert engine.stats().active_requests >= 4
        tokens = {tuple(token.id for token in answer) for answer in others}
        assert len(tokens) == 1


def test_without_a_budget_it_is_a_share_of_what_is_free(engine: Engine) -> None:
    limit = engine.stats().kv_cache_limit
    assert limit is not None and limit > 2**20


def test_memory_is_given_to_requests_when_others_took_what_was_free(
    model: HuggingFaceModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget is a promise of nobody: then what is kept goes first."""
    enough = KVCacheLayer.resize

    def scarce(layer: KVCacheLayer, size: int) -> None:
        if size > 40:
            raise MemoryError("no room")
        enough(layer, size)

    with Engine(model) as engine, monkeypatch.context() as patch:
        patch.setattr(KVCacheLayer, "resize", scarce)
        for seed in range(8):
            assert len(ids_of(engine, request_for(some_ids(90, seed), 20))) == 20
        assert engine.stats().failed == 0
