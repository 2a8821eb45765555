"""Attention over prompts gives what the library's gives, and leaves to it what isn't its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import Gemma2Config, Gemma2ForCausalLM, Qwen2Config, Qwen2ForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from langchain_amulet.engine import HuggingFaceModel
from langchain_amulet.engine.backends.huggingface import prompt_attention as module
from langchain_amulet.engine.backends.huggingface.attention_masks import attention_masks
from langchain_amulet.engine.backends.huggingface.causal_lm import CausalLM
from langchain_amulet.engine.backends.huggingface.prompt_attention import NAME, prompt_attention
from langchain_amulet.engine.backends.huggingface.select import attentions
from support.tiny_engine import vivid

HEADS = {"grouped": (6, 2), "one for all": (4, 1), "one each": (3, 3)}
WINDOWS = {"full": None, "windowed": 5}
DIM, BEFORE, TOKENS = 8, 13, 7


SHAPE: dict[str, Any] = {
    "vocab_size": 67,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}


class Layer(nn.Module):
    """As much of a layer as the library's attention asks for."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.num_key_value_groups = groups


class Config:
    """As much of a config as masks are made of."""

    def __init__(self, window: int | None) -> None:
        self.sliding_window = window


def drawn(heads: int, shared: int, dtype: torch.dtype, window: int | None) -> list[Tensor]:
    """Queries, keys and values of two rows of unlike lengths, and their mask."""
    torch.manual_seed(0)
    query = torch.randn(2, TOKENS, heads, DIM).transpose(1, 2)
    # Laid out as the cache gathers them, with columns to spare.
    key, value = (
        torch.randn(shared, 2, 32, DIM).transpose(0, 1)[:, :, : BEFORE + TOKENS] for _ in range(2)
    )
    positions = torch.tensor([[BEFORE], [4]]) + torch.arange(TOKENS)
    mask = attention_masks(Config(window), positions, BEFORE + TOKENS, dtype)
    assert isinstance(mask, Tensor)
    return [*(each.to(dtype) for each in (query, key, value)), mask]


def both(tensors: list[Tensor], **others: Any) -> tuple[Tensor, Tensor]:
    """What it gives, and what the library does."""
    layer = Layer(tensors[0].shape[1] // tensors[1].shape[1])
    ours, theirs = (
        compute(layer, *tensors, scaling=0.3, **others)[0]
        for compute in (prompt_attention, sdpa_attention_forward)
    )
    return ours, theirs


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize("heads", HEADS.values(), ids=HEADS)
def test_in_float32_it_is_the_library_s(heads: tuple[int, int], window: int | None) -> None:
    ours, theirs = both(drawn(*heads, torch.float32, window))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("most", [1, 500, 2**23], ids=["one token", "a few", "all"])
@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
@pytest.mark.parametrize("heads", HEADS.values(), ids=HEADS)
def test_the_products_are_the_library_s_attention_however_many_tokens_at_a_time(
    heads: tuple[int, int], window: int | None, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_SCORES", most)
    query, *rest = drawn(*heads, torch.float32, window)
    ours = module._by_products(query * 0.3, *rest)
    theirs = both([query, *rest])[1]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("heads", HEADS.values(), ids=HEADS)
def test_in_bfloat16_it_is_as_precise_as_that_dtype(heads: tuple[int, int]) -> None:
    exact = both(drawn(*heads, torch.float32, None))[1]
    ours, _ = both(drawn(*heads, torch.bfloat16, None))
    assert (ours.float() - exact).abs().max() < 0.03
    assert ours.dtype == torch.bfloat16


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_one_token_per_row_is_computed_by_it_where_the_columns_are_many(
    window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def last(tensors: list[Tensor]) -> list[Tensor]:
        query, key, value, mask = tensors
        return [query[:, :, -1:], key, value, mask[:, :, -1:]]

    few, _ = both(last(drawn(6, 2, torch.bfloat16, window)))
    monkeypatch.setattr(module, "MANY_COLUMNS", 2 * (BEFORE + TOKENS))
    ours, theirs = both(last(drawn(6, 2, torch.bfloat16, window)))
    exact = both(last(drawn(6, 2, torch.float32, window)))[1]
    assert torch.equal(few, theirs) and not torch.equal(ours, theirs)
    assert (ours.float() - exact).abs().max() < 0.03


def test_what_it_is_not_for_is_the_library_s_to_the_bit() -> None:
    query, key, value, mask = drawn(6, 2, torch.bfloat16, None)
    one_token = [query[:, :, -1:], key, value, mask[:, :, -1:]]
    no_mask = [query, key[:, :, :TOKENS], value[:, :, :TOKENS], None]
    truths = [query, key, value, mask == 0]
    per_head = [query, key, value, mask.expand(-1, 6, -1, -1)]
    bias = {"position_bias": torch.ones(1, 6, TOKENS, BEFORE + TOKENS, dtype=torch.bfloat16)}
    for tensors, others in (
        *((each, {}) for each in (one_token, no_mask, truths, per_head)),
        ([query, key, value, mask], bias),
    ):
        ours, theirs = both(tensors, **others)  # type: ignore[arg-type]
        assert torch.equal(ours, theirs)


def test_soft_caps_are_refused_as_the_library_s_refuses_them() -> None:
    with pytest.raises(ValueError, match="softcap"):
        prompt_attention(Layer(3), *drawn(6, 2, torch.bfloat16, None), softcap=30.0)


def qwen2(**more: Any) -> Any:
    torch.manual_seed(0)
    return vivid(Qwen2ForCausalLM(Qwen2Config(**SHAPE, **more)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_model_that_runs_by_sdpa_is_given_it_and_goes_on_by_itself_as_before(
    dtype: torch.dtype,
) -> None:
    model, ids = qwen2().to(dtype), torch.arange(3, 20)[None]
    before = model(ids).logits, model.generate(ids, max_new_tokens=8, do_sample=False)
    run = HuggingFaceModel(model)
    assert run.info.backend == "batched" and attentions(CausalLM(model)) == {NAME}
    after = model(ids).logits, model.generate(ids, max_new_tokens=8, do_sample=False)
    assert all(torch.equal(*pair) for pair in zip(before, after, strict=True))
    assert HuggingFaceModel(model).info.backend == "batched"  # as it is now


def test_a_folder_of_such_a_model_does_not_name_it(tmp_path: Path) -> None:
    model = qwen2()
    HuggingFaceModel(model)
    model.save_pretrained(tmp_path)
    assert NAME not in (tmp_path / "config.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_prompts_of_a_model_are_computed_by_it_only_in_place_of_sdpa(
    attention: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []

    def counting(*given: Tensor) -> Tensor:
        passes.append(1)
        return by_products(*given)

    by_products = module._by_products
    monkeypatch.setattr(module, "_by_products", counting)
    HuggingFaceModel(qwen2(attn_implementation=attention).to(torch.bfloat16))
    assert bool(passes) == (attention == "sdpa")


def test_a_model_with_soft_caps_keeps_the_library_s() -> None:
    torch.manual_seed(0)
    model = vivid(Gemma2ForCausalLM(Gemma2Config(**SHAPE, head_dim=8)))
    assert HuggingFaceModel(model).info.backend == "batched"
    assert NAME not in attentions(CausalLM(model))


def test_a_model_that_it_fails_keeps_the_library_s(monkeypatch: pytest.MonkeyPatch) -> None:
    by_products = module._by_products
    monkeypatch.setattr(module, "_by_products", lambda *given: -by_products(*given))
    model = qwen2().to(torch.bfloat16)
    assert HuggingFaceModel(model).info.backend == "batched"
    assert attentions(CausalLM(model)) == {"sdpa"}
