"""Checkpoints that read images, too: their text half decodes as the whole model does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForMultimodalLM

from langchain_amulet.engine import Engine, HuggingFaceModel, LoadOptions, Request, load
from langchain_amulet.engine.loading.architecture import drop_unread
from langchain_amulet.errors import UnsupportedModelError
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Contrast, Plan, Stream, steer
from support.tokenizers import byte_level

TEXT: dict[str, Any] = {
    "vocab_size": 400,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
SIGHT: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "image_size": 28,
    "patch_size": 14,
}
BLOCKS: dict[str, Any] = {
    **SIGHT, "depth": 1, "num_heads": 4, "embed_dim": 32, "out_hidden_size": 32, "in_channels": 3
}  # fmt: skip
IMAGE = {"image_token_id": 301, "image_token_index": 301, "video_token_id": 302}
ROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 1, 1]}
LATENT = {
    "num_key_value_heads": 4, "kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4, "v_head_dim": 8, "qk_head_dim": 8, "n_routed_experts": 4,
    "num_experts_per_tok": 2, "moe_intermediate_size": 24, "first_k_dense_replace": 1,
    "n_group": 1, "topk_group": 1,
}  # fmt: skip

MISTRAL = {"model_type": "mistral", **TEXT}
LLAMA = {"model_type": "llama", **TEXT}
COHERE = {"model_type": "cohere2", **TEXT}
ROTATED = {**TEXT, "rope_parameters": ROPE}

FAMILIES: dict[str, dict[str, Any]] = {
    "mistral3": {
        "text_config": MISTRAL,
        "vision_config": {"model_type": "pixtral", **SIGHT, "head_dim": 8},
    },
    "mistral4": {**TEXT, **LATENT},
    "llava": {"text_config": LLAMA, "vision_config": {"model_type": "clip_vision_model", **SIGHT}},
    "smolvlm": {"text_config": LLAMA, "vision_config": SIGHT},
    "idefics3": {"text_config": LLAMA, "vision_config": SIGHT},
    "qwen2_vl": {"text_config": ROTATED, "vision_config": BLOCKS},
    "qwen2_5_vl": {"text_config": ROTATED, "vision_config": BLOCKS},
    "qwen3_vl": {
        "text_config": ROTATED,
        "vision_config": {**BLOCKS, "deepstack_visual_indexes": [0]},
    },
    "glm4v": {"text_config": ROTATED, "vision_config": BLOCKS},
    "aya_vision": {
        "text_config": COHERE,
        "vision_config": {"model_type": "siglip_vision_model", **SIGHT},
    },
}

PLAN = Plan(
    streams=(Stream((0,)), Stream()),
    anchor=0,
    contrasts=(Contrast(2.0, 0, 1),),
    reference=((0, 1.0),),
)
PROMPTS = ((5, 6, 7, 8, 9, 10), (5, 6, 7, 12))


def made(family: str) -> Any:
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **IMAGE, **FAMILIES[family])
    model = AutoModelForMultimodalLM.from_config(config).float().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def next_logits(model: Any, tokens: tuple[int, ...]) -> Tensor:
    with torch.inference_mode():
        return model(input_ids=torch.tensor([tokens]), use_cache=False).logits[0, -1].float()


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_the_text_half_of_a_saved_model_answers_as_the_whole_one_would(
    family: str, tmp_path: Path
) -> None:
    whole = made(family)
    whole.save_pretrained(tmp_path)
    byte_level().save_pretrained(tmp_path)
    loaded = load(str(tmp_path), LoadOptions(dtype="float32", pack=False))
    assert isinstance(loaded, HuggingFaceModel)
    sizes = [sum(p.numel() for p in model.parameters()) for model in (loaded.model, whole)]
    # A checkpoint of mistral4 holds no images' encoder to begin with.
    assert sizes[0] < sizes[1] or family == "mistral4"
    request = Request(PROMPTS, PLAN, SamplingParams(temperature=0.0), 6)
    with Engine(loaded) as engine:
        answer = [token.id for token in engine.submit(request)]
    expected: list[int] = []
    for _ in answer:
        rows = [next_logits(whole, (*prompt, *expected)) for prompt in PROMPTS]
        expected.append(int(steer(torch.stack(rows).log_softmax(-1), PLAN).scores.argmax()))
    assert answer == expected


def test_what_text_passes_stays(family: str) -> None:
    model = made(family)
    expected = next_logits(model, PROMPTS[0])
    drop_unread(model)
    assert torch.equal(next_logits(model, PROMPTS[0]), expected)


def test_a_model_that_answers_images_alone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "vit", "architectures": ["ViTForImageClassification"]})
    )
    byte_level().save_pretrained(tmp_path)
    with pytest.raises(UnsupportedModelError, match="ViTForImageClassification"):
        load(str(tmp_path))
