"""Steps of fixed shapes give what others do; on a GPU they are played back, elsewhere computed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from langchain_amulet.engine import Engine, HuggingFaceModel, Request
from langchain_amulet.engine.backends.base import Backend
from langchain_amulet.engine.backends.huggingface import batched, static_pass
from langchain_amulet.engine.backends.huggingface.batched import BatchedBackend
from langchain_amulet.engine.backends.huggingface.static_pass import (
    Body,
    CUDAGraphs,
    StaticPasses,
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


def peaked() -> Any:
    """A model whose first draw is as a rule the last word."""
    model = model_of("qwen2", SHAPE)
    with torch.no_grad():
        model.get_output_embeddings().weight.mul_(8.0)
    return model


class EveryOther:
    """A constraint that takes each token only when it is offered for the second time."""

    def __init__(self) -> None:
        self.offered: set[int] = set()

    def allowed(self) -> None:
        return None

    def accept(self, token: int) -> bool:
        is_new = token not in self.offered
        self.offered.symmetric_difference_update({token})
        return not is_new


class StaticModel(HuggingFaceModel):
    """A model whose engines decode by steps of fixed shapes, wherever it is."""

    record: Callable[[Body], Body] = staticmethod(lambda body: body)
    steps: list[StaticPasses]

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
    assert steps.is_on and len(steps.shapes) >= 2


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
    assert not static.steps[0].is_on and len(static.steps[0].shapes) == 0


def test_a_model_that_asks_for_its_body_in_parts_is_computed_as_elsewhere() -> None:
    plain = model_of("opt", OPT)  # whose head follows the decoder within the body
    with Engine(HuggingFaceModel(plain)) as engine:
        expected = joined_and_left(engine)
    static = StaticModel(plain)
    with Engine(static) as engine:
        assert_same(joined_and_left(engine), expected)
    assert not static.steps[0].is_on


def test_a_recording_is_made_once_for_many_steps_and_anew_when_memory_moves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batched, "SLACK", 8)
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
        assert len(made) > few and len(static.steps[0].shapes) == 1  # the old are gone


def test_a_step_is_begun_before_its_tokens_are_known_and_computed_once() -> None:
    static, played = StaticModel(peaked()), list[int]()

    def counted(body: Body) -> Body:
        def play() -> Any:
            played.append(1)
            return body()

        return play

    static.record = counted
    with Engine(static) as engine:
        list(engine.submit(request_for(0, 20, 60)))
        steps = engine.stats().decode_steps
        # The first pass of all shows what memory is like; what was begun after the end is in vain.
        assert steps - 2 <= len(played) <= steps + 1


def test_steps_are_seldom_begun_where_that_is_in_vain() -> None:
    """A flat distribution's token is drawn again from more candidates."""
    static, begun = StaticModel(model_of("qwen2", SHAPE)), list[bool]()

    def counted(body: Body) -> Body:
        def play() -> Any:
            begun.append(True)
            return body()

        return play

    static.record = counted
    with Engine(static) as engine:
        list(engine.submit(request_for(0, 20, 200)))
        assert len(begun) < 1.3 * engine.stats().decode_steps


def test_a_begun_step_serves_those_that_stay_whoever_leaves_or_is_fed_otherwise() -> None:
    """Sampled answers of unlike lengths, one of which is told what it may say as it goes."""
    requests = [request_for(40 + seed, 10 + seed, 6 + 5 * seed) for seed in range(5)]
    requests[3] = replace(requests[3], constraint=EveryOther())

    def answers(model: HuggingFaceModel) -> list[list[tuple[int, float]]]:
        with Engine(model) as engine:
            streams = [engine.submit(request) for request in requests]
            return [[(token.id, token.logprob) for token in answer] for answer in streams]

    plain = peaked()
    expected = answers(HuggingFaceModel(plain))
    requests[3] = replace(requests[3], constraint=EveryOther())
    assert_same(answers(StaticModel(plain)), expected)


def test_short_passes_over_prompts_are_recorded_once_they_come_again() -> None:
    static = StaticModel(model_of("qwen2", SHAPE))
    with Engine(static) as engine:
        for seed in range(5):
            list(engine.submit(request_for(seed, 20, 1)))
    shapes = static.steps[0].shapes
    assert any(width > 1 for _, width, _ in shapes) and any(width == 1 for _, width, _ in shapes)


def test_there_are_only_so_many_recordings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_pass, "MOST_RECORDINGS", 2)
    static = StaticModel(model_of("qwen2", SHAPE))
    with Engine(static) as engine:
        answers = [engine.submit(request_for(seed, 20, 8 + 8 * seed)) for seed in range(6)]
        for answer in answers:
            list(answer)
    assert 1 <= len(static.steps[0].shapes) <= 2


@pytest.mark.parametrize("count", [1, 2, 3, 17, 127, 128, 129, 1000, 2049, 30_000])
def test_buckets_hold_what_they_are_for_and_not_much_more(count: int) -> None:
    assert count <= rows_bucket(count) < 2 * count or count == rows_bucket(count)
    assert count <= columns_bucket(count) < max(count + 128, 1.25 * count + 1)


def test_buckets_are_few() -> None:
    assert len({columns_bucket(columns) for columns in range(1, 32_768)}) <= 28


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
    assert static.steps[0].is_on and len(static.steps[0].shapes)
    other = StaticModel(on_gpu)  # the same shapes, computed
    with Engine(other) as engine:
        assert_same(found, joined_and_left(engine))


def test_what_fails_while_it_is_captured_leaves_the_gpu_usable(on_gpu: Any) -> None:
    graphs = CUDAGraphs()
    held = torch.ones(4, device="cuda")
    with pytest.raises(RuntimeError):
        graphs.record(lambda: held.sum().item())
    assert float(torch.rand(3, device="cuda").sum()) > 0
    play = graphs.record(lambda: held * 2)
    assert play().tolist() == [2.0] * 4


def test_recordings_that_are_dropped_make_room_for_others(on_gpu: Any) -> None:
    graphs, held = CUDAGraphs(), torch.ones(4, device="cuda")
    for factor in range(1, 4):
        play = graphs.record(lambda factor=factor: held * factor)  # type: ignore[misc]
        assert play().tolist() == [float(factor)] * 4
        del play
