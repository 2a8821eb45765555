"""Every family of causal LM decodes through the engine as it does without any cache.

The models are tiny and random, so a wrong mask, position or row shows at once in the logits: see
`TOLERANCE`.
"""

from __future__ import annotations

import copy
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    T5Config,
    T5ForConditionalGeneration,
)

from langchain_amulet.engine import Engine, HuggingFaceModel, Request
from langchain_amulet.engine.loading.packing import is_available, pack
from langchain_amulet.engine.next_tokens import next_tokens
from langchain_amulet.errors import UnsupportedModelError
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Contrast, Plan, Stream, steer
from support.tiny_engine import vivid

os.environ.setdefault("HF_HUB_OFFLINE", "1")

VOCABULARY = 128
WINDOW = 6
TOLERANCE = 5e-4
"""How far logits may be off, as a share of their spread: that is 0.1 in one family, 2.6 in another.

On any CPU float32 rounds by less than a tenth of this, even in the long recurrences of mamba. The
smallest mistake, two tokens in each other's place, moves them by more than ten times this.
"""
SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
HEADS = {**SHAPE, "head_dim": 8}
ROTARY = {**SHAPE, "head_dim": 8, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}
EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 24}
MIXED = {"layer_types": ["sliding_attention", "full_attention"], "sliding_window": WINDOW}
GPT = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
}

TOGETHER: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", SHAPE),
    "qwen2": ("qwen2", SHAPE),
    "qwen2 with a window": (
        "qwen2",
        {**SHAPE, "use_sliding_window": True, "sliding_window": WINDOW, "max_window_layers": 1},
    ),
    "qwen3": ("qwen3", HEADS),
    "qwen3_moe": ("qwen3_moe", {**HEADS, **EXPERTS, "num_experts": 4}),
    "mistral": ("mistral", {**SHAPE, "sliding_window": WINDOW}),
    "mixtral": (
        "mixtral",
        {**SHAPE, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": WINDOW},
    ),
    "gemma2": ("gemma2", {**HEADS, **MIXED, "query_pre_attn_scalar": 8}),
    "gemma3": ("gemma3_text", {**HEADS, **MIXED, "query_pre_attn_scalar": 8}),
    "phi": ("phi", {**SHAPE, "num_key_value_heads": 4}),
    "phi3": ("phi3", {**SHAPE, "sliding_window": WINDOW}),
    "gpt2": ("gpt2", GPT),
    "opt": (
        "opt",
        {**SHAPE, "ffn_dim": 48, "word_embed_proj_dim": 32},
    ),
    "falcon": ("falcon", {**SHAPE, "alibi": False, "new_decoder_architecture": False}),
    "gpt_neox": ("gpt_neox", SHAPE),
    "gptj": ("gptj", {**GPT, "rotary_dim": 4}),
    "codegen": ("codegen", {**GPT, "rotary_dim": 4}),
    "mpt": (
        "mpt",
        {"vocab_size": VOCABULARY, "d_model": 32, "n_layers": 2, "n_heads": 4, "max_seq_len": 64},
    ),
    "stablelm": ("stablelm", SHAPE),
    "olmo2": ("olmo2", SHAPE),
    "granite": ("granite", {**SHAPE, "logits_scaling": 3.0}),
    "smollm3": ("smollm3", SHAPE),
    "cohere2": ("cohere2", {**SHAPE, **MIXED, "logit_scale": 0.25}),
    "starcoder2": ("starcoder2", {**SHAPE, "sliding_window": WINDOW}),
    "glm4": ("glm4", HEADS),
    "gpt_oss": (
        "gpt_oss",
        {**HEADS, **MIXED, "num_local_experts": 4, "num_experts_per_tok": 2},
    ),
    "deepseek_v3": (
        "deepseek_v3",
        {
            **SHAPE,
            **EXPERTS,
            "num_key_value_heads": 4,
            "n_routed_experts": 4,
            "n_group": 2,
            "topk_group": 1,
            "kv_lora_rank": 16,
            "q_lora_rank": 16,
            "qk_rope_head_dim": 8,
            "qk_nope_head_dim": 8,
            "v_head_dim": 12,
            "first_k_dense_replace": 1,
        },
    ),
    "exaone4": ("exaone4", {**SHAPE, **MIXED}),
}

MAMBA: dict[str, Any] = {
    "mamba_d_state": 8,
    "mamba_d_conv": 4,
    "mamba_expand": 2,
}
LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
ALONE: dict[str, tuple[str, dict[str, Any]]] = {
    "bloom": ("bloom", {**GPT, "hidden_size": 32}),
    "falcon with alibi": ("falcon", {**SHAPE, "alibi": True}),
    "mamba": ("mamba", {**SHAPE, "state_size": 8}),
    "jamba": (
        "jamba",
        {**SHAPE, **MAMBA, "num_experts": 2, "attn_layer_period": 2, "attn_layer_offset": 1,
         "use_mamba_kernels": False},
    ),
    "falcon_h1": (
        "falcon_h1",
        {**HEADS, **MAMBA, "mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_ssm": 64,
         "mamba_n_groups": 1, "mamba_chunk_size": 8},
    ),
    "qwen3_next": (
        "qwen3_next",
        {**HEADS, **EXPERTS, **LINEAR, "num_experts": 4, "shared_expert_intermediate_size": 24},
    ),
    "qwen3_5": ("qwen3_5_text", {**ROTARY, **LINEAR}),
}  # fmt: skip

FAMILIES = {**TOGETHER, **ALONE}
GREEDY = SamplingParams(temperature=0.0)
AMULET = Plan(
    streams=(Stream((0,)), Stream()),
    anchor=0,
    contrasts=(Contrast(4.6487, 0, 1),),
    reference=((0, 1.0),),
)


@pytest.fixture(params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def model(family: str) -> Any:
    torch.manual_seed(len(family))
    kind, shape = FAMILIES[family]
    return vivid(AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **shape)))


@pytest.fixture
def engine(model: Any) -> Iterator[Engine]:
    with Engine(HuggingFaceModel(model), prefill_chunk=5) as engine:
        yield engine


def prompts(seed: int) -> tuple[tuple[int, ...], ...]:
    """A pref and a base prompt that share a start and run past the window."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, VOCABULARY, (16 + 3 * seed,), generator=generator).tolist()
    return (*ids[:9], *ids[11:], 7, 8), (*ids[:9], *ids[10:])


def request_for(seed: int, max_tokens: int) -> Request:
    return Request(prompts(seed), AMULET, GREEDY, max_tokens)


@pytest.fixture
def chosen_from(monkeypatch: pytest.MonkeyPatch) -> dict[Request, list[torch.Tensor]]:
    """What the engine chooses from: log-probabilities ``[streams, vocabulary]`` per step."""
    steps: dict[Request, list[torch.Tensor]] = defaultdict(list)

    def recorded(states: Any, step: Any, sampler: Any) -> Any:
        for slot, state in states.items():
            rows = list(step.streams[slot].rows)
            steps[state.request].append(step.logprobs.pool[rows])
        return next_tokens(states, step, sampler)

    monkeypatch.setattr("langchain_amulet.engine.scheduler.next_tokens", recorded)
    return steps


@torch.inference_mode()
def uncached(model: Any, request: Request) -> tuple[list[int], list[torch.Tensor]]:
    """Greedy tokens, and each step's log-probabilities, every position computed anew."""
    streams, tokens, steps = [list(prompt) for prompt in request.prompts], [], []
    for _ in range(request.max_tokens):
        logits = [model(torch.tensor([ids]), use_cache=False).logits[0, -1] for ids in streams]
        steps.append(torch.stack(logits).float().log_softmax(-1))
        tokens.append(int(steer(steps[-1], request.plan).scores.argmax()))
        for ids in streams:
            ids.append(tokens[-1])
    return tokens, steps


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    """The largest difference between log-probabilities, as a share of the logits' spread."""
    spread = expected.std(-1, keepdim=True)
    return float(((found - expected).abs() / spread).max())


def joined_and_left(engine: Engine) -> list[tuple[Request, list[int]]]:
    """Three requests. Chunked prefill lets them join one by one; the middle one leaves first."""
    requests = [request_for(0, 24), request_for(1, 3), request_for(2, 12)]
    answers = [engine.submit(request) for request in requests]
    return [
        (request, [token.id for token in answer])
        for request, answer in zip(requests, answers, strict=True)
    ]


def test_joins_and_leaves_change_nothing_against_an_uncached_loop(
    model: Any, engine: Engine, chosen_from: dict[Request, list[torch.Tensor]]
) -> None:
    for request, tokens in joined_and_left(engine):
        expected, steps = uncached(model, request)
        assert tokens == expected
        for found, step in zip(chosen_from[request], steps, strict=True):
            assert distance(found, step) < TOLERANCE


@pytest.mark.skipif(not is_available(), reason="this torch can't pack")
def test_a_packed_model_decodes_as_the_plain_one_does(
    family: str, model: Any, chosen_from: dict[Request, list[torch.Tensor]]
) -> None:
    packed = copy.deepcopy(model)
    assert pack(packed, packed.get_output_embeddings()) > 0
    run_by, request = HuggingFaceModel(packed), request_for(1, 6)
    assert run_by.info.shares_pass == (family in TOGETHER)
    with Engine(run_by, prefill_chunk=5) as engine:
        tokens = [token.id for token in engine.submit(request)]
    expected, steps = uncached(model, request)
    assert tokens == expected
    for found, step in zip(chosen_from[request], steps, strict=True):
        assert distance(found, step) < TOLERANCE


def test_scoring_gives_what_decoding_chose_from(
    engine: Engine, chosen_from: dict[Request, list[torch.Tensor]]
) -> None:
    request = request_for(1, 9)
    tokens = [token.id for token in engine.submit(request)]
    scored = engine.score(request.prompts, tokens).result()
    assert distance(scored, torch.stack(chosen_from[request], 1)) < TOLERANCE


def test_beams_find_an_answer_as_likely_as_the_library_s_own_search(
    model: Any, engine: Engine
) -> None:
    """Nearly always the same one: rounding may decide between two."""
    prompt, stops = prompts(1)[0], {2, 5}
    request = Request((prompt,), Plan.plain(), GREEDY, 10, stop_ids=frozenset(stops))
    found = engine.search(request, beams=4).result()
    settings = GenerationConfig(num_beams=4, max_new_tokens=10, eos_token_id=[*stops])
    settings.pad_token_id = 0
    with torch.inference_mode():
        ids = torch.tensor([prompt])
        (whole,) = model.generate(
            ids, attention_mask=torch.ones_like(ids), generation_config=settings
        )
    answer = whole[len(prompt) :].tolist()
    ends = [place for place, token in enumerate(answer) if token in stops]
    answer = answer[: ends[0] + 1] if ends else answer
    scored = engine.score((prompt,), answer).result()[0]
    total = sum(float(row[token]) for row, token in zip(scored, answer, strict=True))
    assert found.score == pytest.approx(total / len(answer), abs=1e-3)


def test_two_tokens_in_each_other_s_place_are_far_beyond_what_is_tolerated(model: Any) -> None:
    request = request_for(1, 1)
    *start, first, second, last = request.prompts[0]
    swapped = replace(request, prompts=((*start, second, first, last), request.prompts[1]))
    (_, (right,)), (_, (wrong,)) = uncached(model, request), uncached(model, swapped)
    assert distance(wrong, right) > 10 * TOLERANCE


def test_a_family_gets_its_backend_by_itself(family: str, model: Any) -> None:
    assert HuggingFaceModel(model).info.shares_pass == (family in TOGETHER)


def test_a_model_that_no_backend_can_run_is_refused_by_name() -> None:
    shape = {"d_model": 16, "d_kv": 4, "d_ff": 16, "num_layers": 1, "num_heads": 4}
    model = T5ForConditionalGeneration(T5Config(vocab_size=VOCABULARY, **shape)).eval()
    with pytest.raises(UnsupportedModelError, match="T5ForConditionalGeneration"):
        HuggingFaceModel(model)
