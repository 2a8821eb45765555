"""Tiny models with random weights: everything about them is real but what they say."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from support.tokenizers import CHATML, byte_level

NARROW: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
"""The shape of two narrow layers, by the names that most configs have."""


def tiny_llama(tokenizer: PreTrainedTokenizerFast, **more: Any) -> LlamaConfig:
    """A Llama of two narrow layers for a tokenizer."""
    return LlamaConfig(
        vocab_size=len(tokenizer),
        num_key_value_heads=2,
        **NARROW,
        **more,
    )


def save_random_model(
    folder: Path, tokenizer: PreTrainedTokenizerFast, seed: int = 0, positions: int = 1024
) -> str:
    """Save a random two-layer Llama with its tokenizer; returns the folder's name."""
    torch.manual_seed(seed)
    config = tiny_llama(
        tokenizer,
        max_position_embeddings=positions,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.4,  # far from uniform, so that prompts matter
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return str(folder)


def save_model(
    folder: Path, template: str | None = CHATML, seed: int = 0, controls: Sequence[str] = ()
) -> str:
    """Save a random two-layer Llama with its tokenizer; returns the folder's name."""
    tokenizer = byte_level(template)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in controls])
    return save_random_model(folder, tokenizer, seed)
