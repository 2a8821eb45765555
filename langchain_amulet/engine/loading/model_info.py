"""What can be read off a model and its config: its context, its logits, its stop tokens.

Knows transformers' configs. Doesn't know how a model is loaded or run.
"""

from __future__ import annotations

from types import NoneType
from typing import Any

from torch import Tensor
from transformers import AutoConfig

from langchain_amulet.validation.checks import check_type


def context_length(config: Any) -> int | None:
    """The most positions a model has, prompt and answer together; ``None`` if it has no limit.

    "longrope" models rotate by other frequencies past their original length: the library changes
    them for a whole batch, and what is cached keeps the old ones. So they end where that begins.
    """
    text = config.get_text_config(decoder=True)
    rope = getattr(text, "rope_parameters", None) or {}
    if rope.get("rope_type") == "longrope":
        return int(rope["original_max_position_embeddings"])
    names = ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length")
    lengths = (getattr(text, name, None) for name in names)
    return next((length for length in lengths if isinstance(length, int) and length > 0), None)


def logits_width(model: Any) -> int:
    """How many logits a model gives, padding included."""
    weight = getattr(model.get_output_embeddings(), "weight", None)
    if isinstance(weight, Tensor):
        return int(weight.shape[0])
    return int(model.config.get_text_config(decoder=True).vocab_size)


def declared_stops(generation_config: Any) -> frozenset[int]:
    """The tokens that end an answer, as a model's settings for generation declare them."""
    declared = getattr(generation_config, "eos_token_id", None)
    several = declared if isinstance(declared, list) else [declared]
    return frozenset(int(token) for token in several if token is not None)


def declared_context(model_id: str, revision: str | None = None) -> int | None:
    """The context that a model's engine will keep to, by its config alone and without a network.

    None if there is no limit, if the model isn't on this machine, or if only its own code could
    read its config.
    """
    check_type("model_id", model_id, str)
    check_type("revision", revision, str, NoneType)
    source = {} if revision is None else {"revision": revision}
    try:
        config = AutoConfig.from_pretrained(
            model_id, local_files_only=True, trust_remote_code=False, **source
        )
    except (OSError, ValueError, KeyError):
        return None
    return context_length(config)
