"""Compiled layers give what others do; what can't be compiled is computed as it was."""

from __future__ import annotations

import shutil
from functools import partial
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from langchain_amulet.engine import Engine, HuggingFaceModel, LoadOptions, Request, load
from langchain_amulet.engine.backends.huggingface.batched import BatchedBackend
from langchain_amulet.engine.loading.packing import PackedLinear
from langchain_amulet.methods import Amulet, Guidance
from langchain_amulet.sampling import SamplingParams

SHAPE: dict[str, Any] = {
    "vocab_size": 160,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "max_position_embeddings": 1024,
}
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # of torch's own

PLAN = Amulet().plan([Guidance()])


def model_of(kind: str, **more: Any) -> Any:
    torch.manual_seed(3)
    config = AutoConfig.for_model(kind, **{**SHAPE, **more})
    model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:  # far from the tiny default, so that attention matters
                parameter.mul_(4.0)
    return model


def answers(engine: Engine) -> list[list[tuple[int, float]]]:
    """Answers of one to six rows at a time, as requests join and leave."""
    requests = [
        Request(
            ((5, 6, *range(20, 20 + length), 7), (5, *range(20, 20 + length))),
            PLAN,
            SamplingParams(seed=length, temperature=0.8),
            max_tokens,
        )
        for length, max_tokens in ((3, 12), (30, 3), (9, 20))
    ]
    streams = [engine.submit(request) for request in requests]
    return [[(token.id, token.logprob) for token in stream] for stream in streams]


def assert_same_when_compiled(model: Any) -> None:
    with Engine(HuggingFaceModel(model)) as engine:
        expected = answers(engine)
    compiled = HuggingFaceModel(model, compile=True)
    assert compiled._lm.is_compiled
    with Engine(compiled) as engine:
        found = answers(engine)
    for answer, other in zip(found, expected, strict=True):
        assert [token for token, _ in answer] == [token for token, _ in other]
        assert [each for _, each in answer] == pytest.approx([each for _, each in other], abs=1e-3)


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What a compiler is asked to compile, which is run as it is instead."""
    seen: list[Any] = []

    def noted(graph: Any, inputs: Any) -> Any:
        seen.append(graph)
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=noted))
    return seen


def operators(graph: Any) -> list[str]:
    """What a graph computes."""
    return [str(node.target) for node in graph.graph.nodes if node.op.startswith("call_")]


def test_layers_are_compiled_but_for_their_attention_once_for_all_and_any_number_of_rows(
    graphs: list[Any],
) -> None:
    assert_same_when_compiled(model_of("qwen2"))
    computed = [found for graph in graphs if (found := operators(graph))]
    assert len(computed) == 4
    assert not any("attention" in each or "index_copy" in each for g in computed for each in g)
    assert any("silu" in each for operators in computed for each in operators)


@pytest.mark.exhaustive
@pytest.mark.parametrize("kind", ["gemma2", "gpt2", "qwen3", "phi3"])
def test_compiled_layers_of_any_family_change_no_token(kind: str, graphs: list[Any]) -> None:
    assert_same_when_compiled(model_of(kind, pad_token_id=0))
    assert graphs


def test_what_cannot_be_compiled_is_computed_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def refuse(graph: Any, inputs: Any) -> Any:
        asked.append(graph)
        raise RuntimeError("no compiler is at hand")

    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=refuse))
    assert_same_when_compiled(model_of("qwen2", num_hidden_layers=1))
    assert asked


def test_a_model_that_is_compiled_already_is_run_as_it_is(graphs: list[Any]) -> None:
    model = model_of("qwen2", num_hidden_layers=1)
    HuggingFaceModel(model, compile=True)
    forward = model.model.layers[0].forward
    again = HuggingFaceModel(model, compile=True)
    assert again.info.backend == "batched" and model.model.layers[0].forward is forward


def test_a_model_that_runs_one_request_at_a_time_is_not_compiled() -> None:
    model = HuggingFaceModel(model_of("qwen2"), backend="sequential", compile=True)
    assert not model._lm.is_compiled


def test_what_is_to_be_compiled_is_not_packed() -> None:
    packed, plain = (
        load("pocket", LoadOptions(compile=each, dtype="float32")) for each in (False, True)
    )
    for model, is_packed in ((packed, True), (plain, False)):
        assert isinstance(model, HuggingFaceModel)
        assert isinstance(model.new_backend(2, 8, 2**24), BatchedBackend)
        assert any(isinstance(each, PackedLinear) for each in model.model.modules()) == is_packed


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU is at hand")
def test_what_is_compiled_for_a_gpu_is_recorded_there_and_changes_no_token() -> None:
    torch.compiler.reset()
    assert_same_when_compiled(model_of("qwen2").to("cuda"))


@pytest.mark.exhaustive
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch's compiler needs one of C++ here")
def test_what_torch_s_compiler_makes_changes_no_token() -> None:
    torch.compiler.reset()
    assert_same_when_compiled(model_of("qwen2"))
