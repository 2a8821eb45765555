"""Tiny random reward models of the architectures that are really used, and a model to reward."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaForSequenceClassification, Qwen2Config, Qwen2ForCausalLM

from amulet_evals.scorers.reward_models import ARMO_OBJECTIVES
from support.models import NARROW, tiny_llama
from support.tokenizers import CHATML, byte_level

TEMPLATE = CHATML.replace("<|im_end|>\n", "<|im_end|>")  # as Llama 3's, which ends with a turn


def save_llama(folder: Path, labels: int, **config: Any) -> Path:
    """A random Llama with so many heads, whose tokenizer pads with its end of a turn."""
    tokenizer = byte_level(TEMPLATE)
    tokenizer.pad_token = tokenizer.eos_token
    torch.manual_seed(0)
    llama = tiny_llama(
        tokenizer,
        max_position_embeddings=512,
        pad_token_id=tokenizer.pad_token_id,
        num_labels=labels,
        initializer_range=0.3,
        **config,
    )
    LlamaForSequenceClassification(llama).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_armo(folder: Path) -> Path:
    """A random model in the shape of ArmoRM: its keys, its gate, its config and its code's name."""
    save_llama(folder, len(ARMO_OBJECTIVES))
    weights = load_file(folder / "model.safetensors")
    weights["regression_layer.weight"] = weights.pop("score.weight")
    weights["reward_transform_matrix"] = torch.eye(len(ARMO_OBJECTIVES))
    weights["gating.logit_scale"] = torch.ones(1)
    weights["gating.layers.0.weight"] = torch.randn(19, 32)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    for name in ("id2label", "label2id", "num_labels"):
        config.pop(name, None)
    config["architectures"] = ["LlamaForRewardModelWithGating"]
    config["auto_map"] = {"AutoModelForSequenceClassification": "modeling_custom.Its"}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def save_qwen2(folder: Path) -> Path:
    """A random chat model of Qwen2's architecture."""
    tokenizer = byte_level()
    torch.manual_seed(1)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        **NARROW,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.4,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
