"""A bf16 model's choices are a float32 head's choices; packed layers compute what plain ones do."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import Qwen2Config, Qwen2ForCausalLM

from langchain_amulet.engine import Engine, HuggingFaceModel, Request
from langchain_amulet.engine.backends.huggingface.lm_head import SMALL_VOCABULARY, LMHead
from langchain_amulet.engine.loading.packing import PackedLinear, is_available, pack
from langchain_amulet.engine.sampler import candidate_queries
from langchain_amulet.methods import Amulet, Guidance, Method
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import steer

PAIRS = 64


def bf16_model(vocabulary: int, tied: bool = True) -> Any:
    torch.manual_seed(3)
    shape = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    model = Qwen2ForCausalLM(
        Qwen2Config(vocab_size=vocabulary, tie_word_embeddings=tied, **shape, **heads)
    )
    with torch.no_grad():
        model.model.norm.weight.mul_(16.0)  # logits of around 10, as trained models have
    return model.to(torch.bfloat16).eval()


def choices(logits: Tensor, method: Method) -> list[int]:
    """The best token of each pair of rows, steered."""
    plan = method.plan([Guidance()])
    pairs = logits.float().log_softmax(-1).view(PAIRS, 2, -1)
    return [int(steer(pair, plan).scores.argmax()) for pair in pairs]


@pytest.mark.parametrize("method", [Amulet.paper(), Amulet()], ids=["unmasked", "masked"])
@pytest.mark.parametrize("vocabulary", [SMALL_VOCABULARY // 2, 3 * SMALL_VOCABULARY])
@torch.inference_mode()
def test_steered_choices_equal_those_of_a_float32_head(vocabulary: int, method: Method) -> None:
    torch.manual_seed(0)
    module = nn.Linear(64, vocabulary, bias=False, dtype=torch.bfloat16)
    module.weight.normal_()
    module.weight[:, 0] = 1.0  # logits have an offset, as trained models' do
    middle, apart = torch.randn(PAIRS, 1, 64), torch.randn(PAIRS, 2, 64)
    hidden = (0.25 * middle + 0.02 * apart).flatten(0, 1).to(torch.bfloat16)
    hidden[:, 0] = 24.0
    exact = choices(hidden.float() @ module.weight.float().T, method)
    plan = method.plan([Guidance()])
    plain = choices(module(hidden[:, None])[:, -1], method)
    rows = [{0: 2 * pair, 1: 2 * pair + 1} for pair in range(PAIRS)]
    with LMHead(module).refined(
        [query for each in rows for query in candidate_queries(plan, each)]
    ):
        refined = choices(module(hidden[:, None])[:, -1], method)
    flips = sum(a != b for a, b in zip(plain, exact, strict=True))
    assert flips > PAIRS // 10, "the test needs a head whose rounding matters"
    assert refined == exact


@torch.inference_mode()
def test_another_model_s_candidates_have_a_float32_head_s_logits_too() -> None:
    torch.manual_seed(0)
    module = nn.Linear(64, 3 * SMALL_VOCABULARY, bias=False, dtype=torch.bfloat16)
    hidden = 4.0 * torch.randn(2, 1, 64, dtype=torch.bfloat16)
    exact = (hidden.float() @ module.weight.float().T)[:, 0]
    ids = torch.tensor([5, 999, 3 * SMALL_VOCABULARY - 1])
    with LMHead(module).refined(exact_ids=[ids, torch.tensor([10**6])]) as found:  # one it hasn't
        logits = module(hidden)[:, 0]
    torch.testing.assert_close(logits[:, ids], exact[:, ids], rtol=1e-6, atol=1e-5)
    assert (logits - exact).abs().max() > 1e-3
    assert found.candidates is None


@torch.inference_mode()
def test_only_the_pass_inside_the_block_is_refined_and_only_in_its_own_thread() -> None:
    model = bf16_model(500)
    hidden = torch.randn(2, 1, 64, dtype=torch.bfloat16)
    plain, elsewhere = model.lm_head(hidden), list[Tensor]()
    with LMHead(model.lm_head).refined():
        thread = threading.Thread(target=lambda: elsewhere.append(model.lm_head(hidden)))
        thread.start()
        thread.join()
        refined = model.lm_head(hidden)
    assert refined.dtype == torch.float32
    for found in (*elsewhere, model.lm_head(hidden)):
        assert found.dtype == torch.bfloat16 and torch.equal(found, plain)
    assert not model.lm_head._forward_hooks


def test_the_engine_decodes_a_bf16_model_with_a_float32_head() -> None:
    model = bf16_model(3 * SMALL_VOCABULARY)
    plan = Amulet.paper().plan([Guidance()])
    prompts = ((5, 6, 7, 8, 9), (5, 6, 9))
    request = Request(prompts, plan, SamplingParams(temperature=0.0), 1)
    with torch.inference_mode(), Engine(HuggingFaceModel(model)) as engine:
        token = next(engine.submit(request))
        rows = [model.base_model(torch.tensor([p])).last_hidden_state[0, -1] for p in prompts]
        logits = torch.stack(rows).float() @ model.lm_head.weight.float().T
        scores = steer(logits.log_softmax(-1), plan).scores
        # prefill in parts rounds the hidden states a little otherwise, so the best may tie
        assert float(scores.max() - scores[token.id]) < 2.0


needs_packing = pytest.mark.skipif(not is_available(), reason="this torch can't pack")


@needs_packing
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@torch.inference_mode()
def test_a_packed_model_gives_the_plain_one_s_logits(dtype: torch.dtype) -> None:
    plain = bf16_model(500).to(dtype)
    packed = copy.deepcopy(plain)
    assert pack(packed, packed.get_output_embeddings()) == 2 * 7 + 1
    ids = torch.randint(0, 500, (3, 7))
    torch.testing.assert_close(packed(ids).logits, plain(ids).logits, rtol=2e-2, atol=2e-2)


@needs_packing
def test_packing_keeps_only_the_head_s_plain_weight() -> None:
    model = bf16_model(500)
    pack(model, model.get_output_embeddings())
    layers = {name: m for name, m in model.named_modules() if isinstance(m, PackedLinear)}
    assert [name for name, layer in layers.items() if layer.weight is not None] == ["lm_head"]
    assert model.lm_head.weight is model.model.embed_tokens.weight


@needs_packing
def test_layers_that_are_not_plain_linear_ones_are_left_alone() -> None:
    class Scaled(nn.Linear):
        pass

    model = nn.Sequential(Scaled(8, 8), nn.Linear(8, 8, dtype=torch.float64))
    assert pack(model, None) == 0


@needs_packing
def test_a_packed_model_decodes_the_same_tokens() -> None:
    plain = bf16_model(500).float()
    packed = copy.deepcopy(plain)
    pack(packed, packed.get_output_embeddings())
    plan = Amulet().plan([Guidance()])
    request = Request(((5, 6, 7), (5, 7)), plan, SamplingParams(temperature=0.0), 12)
    found = []
    for model in (plain, packed):
        with Engine(HuggingFaceModel(model)) as engine:
            found.append([token.id for token in engine.submit(request)])
    assert found[0] == found[1]
