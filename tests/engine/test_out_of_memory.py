"""A pass for which the memory doesn't reach fails for nobody who could be computed alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import Qwen2Config, Qwen2ForCausalLM

from langchain_amulet.engine import Engine, HuggingFaceModel, Request
from langchain_amulet.engine.backends import ModelInfo, UncachedModel
from langchain_amulet.engine.backends.halving import in_halves
from langchain_amulet.errors import GenerationError
from langchain_amulet.methods import Amulet, Guidance
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Plan

VOCABULARY, HUGE = 128, 127
AMULET = Amulet().plan([Guidance()])


class Scarce:
    """A memory that holds some rows, and no row with the token ``HUGE``."""

    def __init__(self, rows: int) -> None:
        self.rows = rows

    def check(self, rows: int, is_huge: bool) -> None:
        if rows > self.rows or is_huge:
            raise torch.OutOfMemoryError(f"no memory for {rows} rows")


class CountingModel(UncachedModel):
    """After each token comes the next higher one, if the memory is enough for the rows."""

    def __init__(self, memory: Scarce) -> None:
        super().__init__(None, ModelInfo(vocabulary_size=VOCABULARY, logits_width=VOCABULARY))
        self.memory = memory

    def next_logits(self, sequences: Sequence[Sequence[int]]) -> Tensor:
        self.memory.check(len(sequences), any(HUGE in sequence for sequence in sequences))
        following = torch.tensor([(sequence[-1] + 1) % HUGE for sequence in sequences])
        return torch.nn.functional.one_hot(following, VOCABULARY) * 20.0


def cached(memory: Scarce, dtype: torch.dtype) -> HuggingFaceModel:
    """A model with a cache, in the fast backend, whose passes need memory."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=VOCABULARY, **shape, **heads)).eval().to(dtype)
    with torch.no_grad():  # sure of each next token, so that rounding decides none
        embedding = model.model.embed_tokens.weight.mul_(50.0)
        model.lm_head.weight.copy_(embedding.roll(1, 0))
    loaded = HuggingFaceModel(model, backend="batched")

    def check(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        tokens = kwargs["input_ids"]
        memory.check(len(tokens), bool((tokens == HUGE).any()))

    model.base_model.register_forward_pre_hook(check, with_kwargs=True)
    return loaded


MODELS = {
    "uncached": CountingModel,
    "batched": lambda memory: cached(memory, torch.float32),
    "batched, rounded": lambda memory: cached(memory, torch.bfloat16),
}


Answers = list[list[int] | GenerationError]


@pytest.fixture
def memory() -> Scarce:
    return Scarce(64)


@pytest.fixture(params=MODELS.values(), ids=MODELS)
def engine(request: pytest.FixtureRequest, memory: Scarce) -> Iterator[Engine]:
    with Engine(request.param(memory), max_rows=32, prefill_chunk=64) as engine:
        yield engine


def request_for(first: int, plan: Plan = AMULET, last: int = 9) -> Request:
    prompts = tuple((*range(first, first + 12), *s.preferences, last) for s in plan.streams)
    return Request(prompts, plan, SamplingParams(temperature=0.0), 6)


def answers(engine: Engine, requests: Sequence[Request]) -> Answers:
    """What became of requests that run together."""
    streams = [engine.submit(request) for request in requests]
    found: Answers = []
    for stream in streams:
        try:
            found.append([token.id for token in stream])
        except GenerationError as error:
            found.append(error)
    return found


@pytest.mark.parametrize("rows", [2, 3, 7])
def test_what_does_not_fit_together_is_answered_in_smaller_passes_and_alike(
    engine: Engine, memory: Scarce, rows: int
) -> None:
    requests = [request_for(3 * k, AMULET if k % 3 else Plan.plain()) for k in range(9)]
    expected = answers(engine, requests)
    memory.rows = rows
    assert answers(engine, requests) == expected
    assert not any(isinstance(answer, GenerationError) for answer in expected)


@pytest.mark.parametrize("rows", [2, 64])
def test_only_who_can_not_be_computed_alone_fails_and_is_told_the_truth(
    engine: Engine, memory: Scarce, rows: int
) -> None:
    good = [request_for(3 * k) for k in range(5)]
    expected = answers(engine, good)
    memory.rows = rows
    found = answers(engine, [*good[:3], request_for(40, last=HUGE), *good[3:]])
    error = found.pop(3)
    assert found == expected
    assert isinstance(error, GenerationError)
    assert "no memory" in str(error) and "The other requests go on; ask for a shorter" in str(error)
    assert engine.stats().rows == 0
    assert answers(engine, good) == expected


def test_where_nobody_fits_all_fail_and_nobody_is_told_that_others_go_on(
    engine: Engine, memory: Scarce
) -> None:
    memory.rows = 1  # each request has two
    errors = answers(engine, [request_for(3 * k) for k in range(4)])
    assert all(isinstance(error, GenerationError) for error in errors)
    memory.rows = 64
    assert len(answers(engine, [request_for(0)])[0]) == 6  # type: ignore[arg-type]


def test_a_pass_is_halved_until_its_parts_fit_and_no_further() -> None:
    passes: list[list[int]] = []

    def compute(parts: Sequence[int]) -> int:
        passes.append(list(parts))
        if len(parts) > 3:
            raise MemoryError
        return sum(parts)

    assert in_halves(range(7), compute) == [(range(3), 3), (range(3, 5), 7), (range(5, 7), 11)]
    assert len(passes) == 5


def test_another_failure_than_want_of_memory_is_not_tried_again() -> None:
    passes: list[int] = []

    def compute(parts: Sequence[int]) -> int:
        passes.append(len(parts))
        raise ValueError("wrong")

    ((parts, error),) = in_halves(range(4), compute)
    assert passes == [4] and parts == range(4) and isinstance(error, ValueError)
