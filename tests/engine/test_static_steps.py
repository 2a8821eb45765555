"""Steps of fixed shapes give what others do; on a GPU they are played back, elsewhere computed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from langchain_amulet.engine import Engine, HuggingFaceModel, Request
from langchain_amulet.engine.backends.base import Backend
from langchain_amulet.engine.backends.huggingface import static_step
from langchain_amulet.engine.backends.huggingface.batched import BatchedBackend
from langchain_amulet.engine.backends.huggingface.static_step import (
    Body,
    CUDAGraphs,
    StaticSteps,
    columns_bucket,
    rows_bucket,
)
from langchain_amulet.engine.backends.huggingface.substitute import Substitute
from langchain_amulet.methods import Amulet, Guidance
from langchain_amulet.sampling import SamplingParams

VOCABULARY = 160
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "max_position_embeddings": 1024,
}
WINDOWED = {"sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"]}
GPT2 = {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4}
OPT = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "word_embed_proj_dim": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "ffn_dim": 48,
    "max_position_embeddings": 1024,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "full attention": ("qwen2", SHAPE),
    "windows, and a cap after the head": ("gemma2", {**SHAPE, **WINDOWED}),
    "learned positions": ("gpt2", GPT2),
}
PLAN = Amulet().plan([Guidance()])


def model_of(kind: str, shape: dict[str, Any], device: str = "cpu") -> Any:
    torch.manual_seed(3)
    config = AutoConfig.for_model(kind, **shape)
    model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval().to(device)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:  # far from the tiny default, so that attention matters
                parameter.mul_(4.0)
    return model


class StaticModel(HuggingFaceModel):
    """A model whose engines decode by steps of fixed shapes, wherever it is."""

    record: Callable[[Body], Body] = staticmethod(lambda body: body)
    steps: list[StaticSteps]

    def new_backend(
        self, max_rows: int, prefill_chunk: int, kv_cache_memory: int | None = None
    ) -> Backend:
        backend = super().new_backend(max_rows, prefill_chunk, kv_cache_memory)
        assert isinstance(backend, BatchedBackend)
        self.steps = [backend.play_back(self.record)]
        return backend


@pytest.fixture(params=sorted(FAMILIES))
def plain(request: pytest.FixtureRequest) -> Any:
    return model_of(*FAMILIES[request.param])


def request_for(seed: int, length: int, max_tokens: int) -> Request:
    generator = torch.Generator().manual_seed(seed)
    ids = tuple(torch.randint(3, VOCABULARY, (length,), generator=generator).tolist())
    sampling = SamplingParams(seed=seed, temperature=0.8)
    return Request(((*ids, 7, 8), (*ids[: length // 2], 8)), PLAN, sampling, max_tokens)


def joined_and_left(engine: Engine) -> list[list[tuple[int, float]]]:
    """Answers of unlike lengths that join and leave by and by, across buckets of both kinds."""
    requests = [
        request_for(0, 240, 30),  # past the first bucket of columns
        request_for(1, 1, 3),  # whose second prompt is a single token
        request_for(2, 40, 12),
        request_for(3, 20, 5),
        request_for(4, 9, 25),
    ]
    answers = [engine.submit(request) for request in requests]
    return [[(token.id, token.logprob) for token in answer] for answer in answers]


def assert_same(
    found: list[list[tuple[int, float]]], expected: list[list[tuple[int, float]]]
) -> None:
    for answer, other in zip(found, expected, strict=True):
        assert [token for token, _ in answer] == [token for token, _ in other]
        assert [each for _, each in answer] == pytest.approx([each for _, each in other], abs=1e-3)


def test_steps_of_fixed_shapes_change_no_token_over_joins_leaves_and_buckets(plain: Any) -> None:
    with Engine(HuggingFaceModel(plain), prefill_chunk=60) as engine:
        expected = joined_and_left(engine)
    static = StaticModel(plain)
    with Engine(static, prefill_chunk=60) as engine:
        for _ in range(2):  # the second time in rows that others left
            assert_same(joined_and_left(engine), expected)
    (steps,) = static.steps
    assert steps.is_on and len(steps) >= 2


@pytest.mark.parametrize(
    "error", [RuntimeError("operation not permitted while capturing"), MemoryError()], ids=repr
)
def test_what_cannot_be_recorded_is_computed_as_elsewhere(error: Exception) -> None:
    def refuse(body: Body) -> Body:
        raise error

    plain = model_of("qwen2", SHAPE)
    with Engine(HuggingFaceModel(plain)) as engine:
        expected = joined_and_left(engine)
    static = StaticModel(plain)
    static.record = refuse
    with Engine(static) as engine:
        assert_same(joined_and_left(engine), expected)
    assert not static.steps[0].is_on and len(static.steps[0]) == 0


def test_a_model_that_asks_for_its_body_in_parts_is_computed_as_elsewhere() -> None:
    plain = model_of("opt", OPT)  # whose head follows the decoder within the body
    with Engine(HuggingFaceModel(plain)) as engine:
        expected = joined_and_left(engine)
    static = StaticModel(plain)
    with Engine(static) as engine:
        assert_same(joined_and_left(engine), expected)
    assert not static.steps[0].is_on


def test_a_recording_is_made_once_for_many_steps_and_anew_when_memory_moves() -> None:
    static, made = StaticModel(model_of("qwen2", SHAPE)), list[int]()

    def counted(body: Body) -> Body:
        made.append(1)
        return body

    static.record = counted
    with Engine(static) as engine:
        list(engine.submit(request_for(0, 20, 60)))
        few = len(made)
        assert 1 <= few < 10
        list(engine.submit(request_for(1, 300, 4)))
        assert len(made) > few and len(static.steps[0]) == 1  # the first one's memory is gone


def test_there_are_only_so_many_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_step, "MOST_RECORDINGS", 2)
    static = StaticModel(model_of("qwen2", SHAPE))
    with Engine(static) as engine:
        answers = [engine.submit(request_for(seed, 20, 8 + 8 * seed)) for seed in range(6)]
        for answer in answers:
            list(answer)
    assert 1 <= len(static.steps[0]) <= 2


@pytest.mark.parametrize("count", [1, 2, 3, 17, 128, 255, 256, 257, 1000, 2049, 30_000])
def test_buckets_hold_what_they_are_for_and_not_much_more(count: int) -> None:
    assert count <= rows_bucket(count) < 2 * count or count == rows_bucket(count)
    assert count <= columns_bucket(count) < max(count + 256, 1.25 * count + 1)


def test_buckets_are_few() -> None:
    assert len({columns_bucket(columns) for columns in range(1, 32_768)}) <= 24


def test_what_stands_in_for_a_module_is_there_for_its_thread_and_block_only() -> None:
    module = nn.Linear(1, 1, bias=False).requires_grad_(False)
    module.weight.data.fill_(2.0)
    one = torch.ones(1)
    substitute, seen = Substitute(module), list[float]()
    with substitute.by("given") as usage:
        assert not usage.is_used
        assert module(one) == "given"
        assert usage.is_used
        thread = threading.Thread(target=lambda: seen.append(float(module(one))))
        thread.start()
        thread.join()
    assert seen == [2.0] and float(module(one)) == 2.0


@pytest.fixture
def on_gpu() -> Iterator[Any]:
    if not torch.cuda.is_available():
        pytest.skip("no GPU is at hand")
    yield model_of("qwen2", SHAPE, "cuda")


def test_graphs_on_a_gpu_give_what_its_kernels_give(on_gpu: Any) -> None:
    static = StaticModel(on_gpu)
    static.record = CUDAGraphs().record
    with Engine(static) as engine:
        found = joined_and_left(engine)
    assert static.steps[0].is_on and len(static.steps[0])
    other = StaticModel(on_gpu)  # the same shapes, computed
    with Engine(other) as engine:
        assert_same(found, joined_and_left(engine))
