"""Prompts that begin alike are computed once, whoever's they are, and nobody can tell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from langchain_amulet.engine import CacheScope, Engine, HuggingFaceModel, Request
from langchain_amulet.engine.backends.huggingface.stream_rows import MIN_COPIED
from langchain_amulet.errors import CancelledError, GenerationError
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Contrast, Plan, Stream
from support.tiny_engine import ids_of, poisonable_phi

VOCABULARY, POISON, ENDLESS = 64, 63, 2000
AMULET = Plan(
    streams=(Stream((0,)), Stream()),
    anchor=0,
    contrasts=(Contrast(2.0, 0, 1),),
    reference=((0, 1.0),),
)
Prompts = tuple[tuple[int, ...], ...]


@pytest.fixture(scope="module")
def model() -> Any:
    return poisonable_phi(VOCABULARY, context=2048)


@pytest.fixture
def engine(model: Any) -> Iterator[Engine]:
    with Engine(HuggingFaceModel(model), prefill_chunk=8) as engine:
        yield engine


@pytest.fixture(scope="module")
def small(model: Any) -> Iterator[Engine]:
    """With too few rows for a crowd, which therefore waits."""
    with Engine(HuggingFaceModel(model), max_rows=6, prefill_chunk=8) as engine:
        yield engine


def body(length: int, seed: int = 0) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.randint(3, POISON, (length,), generator=generator).tolist())


def request_for(prompts: Prompts, seed: int = 0, max_tokens: int = 6) -> Request:
    return Request(prompts, AMULET, SamplingParams(seed=seed), max_tokens)


def alone_in(engine: Engine, request: Request) -> list[int]:
    """What is answered by who shares with nobody, and leaves nothing."""
    return ids_of(engine, replace(request, cache_scope=CacheScope("alone", keeps=False)))


PROMPTS = ((*body(40), 5, 6, 7), (*body(40), 7))


def test_samples_of_one_prompt_are_prefilled_once_and_equal_those_made_alone(
    engine: Engine,
) -> None:
    requests = [request_for(PROMPTS, seed) for seed in range(8)]
    alone = [alone_in(engine, request) for request in requests]
    before = engine.stats().prefill_tokens
    answers = [engine.submit(request) for request in requests]
    assert [[token.id for token in answer] for answer in answers] == alone
    assert engine.stats().prefill_tokens - before == before / len(requests)
    assert len({tuple(tokens) for tokens in alone}) > 1


def test_a_request_copies_from_one_that_decodes(engine: Engine) -> None:
    request = request_for(PROMPTS, 1)
    alone = alone_in(engine, request)
    decoding = engine.submit(request_for(PROMPTS, 2, max_tokens=ENDLESS))
    next(decoding)
    before = engine.stats().prefill_tokens
    assert ids_of(engine, request) == alone
    assert engine.stats().prefill_tokens == before
    decoding.cancel()


def test_only_what_begins_alike_is_shared(engine: Engine) -> None:
    first, second = ((*prompt[:20], 9, *prompt[21:]) for prompt in PROMPTS)
    alone = alone_in(engine, request_for((first, second)))
    with engine.submit(request_for(PROMPTS, max_tokens=ENDLESS)) as decoding:
        next(decoding)
        before = engine.stats().prefill_tokens
        assert ids_of(engine, request_for((first, second))) == alone
        assert engine.stats().prefill_tokens - before == len(first) - 1 - 20


def test_a_few_tokens_are_not_worth_waiting_for(engine: Engine) -> None:
    start = body(MIN_COPIED - 1)
    prompts = ((*start, *body(20, 1)), (*start, *body(20, 2)))
    ids_of(engine, request_for(prompts))
    assert engine.stats().prefill_tokens == sum(len(prompt) - 1 for prompt in prompts)


def test_a_prompt_whose_source_leaves_is_computed_all_the_same(engine: Engine) -> None:
    alone = alone_in(engine, request_for(PROMPTS))
    for _ in range(5):  # each time it may be elsewhere in its prefill
        source = engine.submit(request_for(PROMPTS, 1))
        copying = [engine.submit(request_for(PROMPTS)) for _ in range(2)]
        source.cancel()
        assert [[token.id for token in each] for each in copying] == [alone, alone]
        with pytest.raises(CancelledError):
            list(source)


def test_what_fails_for_the_source_does_not_fail_for_who_copies_from_it(engine: Engine) -> None:
    alone = alone_in(engine, request_for(PROMPTS))
    source = engine.submit(request_for(tuple((*p[:-1], POISON, 4) for p in PROMPTS)))
    copying = engine.submit(request_for(PROMPTS))
    with pytest.raises(GenerationError, match="NaN"):
        list(source)
    assert [token.id for token in copying] == alone


@st.composite
def crowds(draw: st.DrawFn) -> list[tuple[Prompts, bool]]:
    """Requests whose prompts are cut from few stems, and which of them leave at once."""
    stems = [body(30, seed) for seed in range(2)]

    def prompt() -> tuple[int, ...]:
        stem = draw(st.sampled_from(stems))[: draw(st.integers(0, 30))]
        return (*stem, *draw(st.lists(st.sampled_from([5, 6, 7]), min_size=1, max_size=12)))

    size = draw(st.integers(1, 5))
    return [((prompt(), prompt()), draw(st.booleans())) for _ in range(size)]


@settings(max_examples=25, deadline=None)
@given(crowds())
def test_any_crowd_decodes_as_each_of_it_alone(
    small: Engine, crowd: list[tuple[Prompts, bool]]
) -> None:
    alone = [alone_in(small, request_for(prompts)) for prompts, _ in crowd]
    answers = [small.submit(request_for(prompts)) for prompts, _ in crowd]
    for answer, (_, leaves) in zip(answers, crowd, strict=True):
        if leaves:
            answer.cancel()
    for answer, tokens, (_, leaves) in zip(answers, alone, crowd, strict=True):
        if not leaves:
            assert [token.id for token in answer] == tokens
