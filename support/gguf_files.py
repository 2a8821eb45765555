"""GGUF files of Llama models, written by the library of those who made the format."""

import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from torch import Tensor

NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
"""What llama.cpp calls the parts of a Llama."""


def rounded(model: Any) -> Any:
    """The model in float32, with the weights that a file in float16 has."""
    model.float()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.half().float() if weight.ndim > 1 else weight)
    return model


def write_gguf(path: Path, model: Any, tokenizer: Any, pre: str = "gpt-2") -> Path:
    """Write a Llama with a byte-level tokenizer, matrices in float16.

    Args:
        path: Where to.
        model: The model.
        tokenizer: Its tokenizer.
        pre: How llama.cpp calls its way of cutting texts into words.
    """
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _add_tokenizer(writer, tokenizer, config.vocab_size, pre)
    for name, weight in model.named_parameters():
        writer.add_tensor(_name(name), _array(name, weight.detach().float(), config))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_tokenizer(writer: gguf.GGUFWriter, tokenizer: Any, size: int, pre: str) -> None:
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    added = tokenizer.added_tokens_decoder
    texts = [tokenizer.convert_ids_to_tokens(i) or f"[PAD{i}]" for i in range(size)]
    kinds = [
        gguf.TokenType.CONTROL
        if i in added and added[i].special
        else gguf.TokenType.USER_DEFINED
        if i in added
        else gguf.TokenType.NORMAL
        if i < len(tokenizer)
        else gguf.TokenType.UNUSED
        for i in range(size)
    ]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(texts)
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in state["model"]["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_add_bos_token(False)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _name(name: str) -> str:
    stem, _, _ = name.rpartition(".")
    if stem.startswith("model.layers."):
        _, _, layer, part = stem.split(".", 3)
        return f"blk.{layer}.{NAMES[part]}.weight"
    return f"{NAMES[stem]}.weight"


def _array(name: str, weight: Tensor, config: Any) -> np.ndarray[Any, Any]:
    """As llama.cpp lays it out: it rotates neighbouring pairs where transformers rotates halves."""
    if weight.ndim == 1:
        return weight.numpy()
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for part, count in heads.items():
        if f".{part}." in name:
            weight = weight.view(count, 2, -1, weight.shape[1]).transpose(1, 2).reshape_as(weight)
    return weight.half().numpy()
