"""Which class of the library's loads a model's folder, and what of the model text never reaches.

A checkpoint that reads images, too, is a causal language model with more around it: its text half
is run like any other, and what only images would pass is let go.

Knows transformers' lists of classes. Doesn't know files, devices or requests.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoModelForMultimodalLM
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MULTIMODAL_LM_MAPPING,
)

from langchain_amulet.errors import UnsupportedModelError

HEADS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
"""How the names of classes end whose models predict the next token."""


def loader_class(model_id: str, config: Any) -> Any:
    """The library's class by whose ``from_pretrained`` a model is loaded.

    Args:
        model_id: Its name, for the message.
        config: Its config.

    Raises:
        UnsupportedModelError: It isn't a decoder-only language model.
    """
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModelError(
            f"Only decoder-only models can be steered, but {model_id!r} is an encoder-decoder "
            f"({config.model_type}). Use a causal language model instead."
        )
    # Code of its own, which was allowed in, says so; the library's tables don't know its classes.
    if "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {}):
        return AutoModelForCausalLM
    kinds = getattr(config, "architectures", None) or ()
    if not kinds or any(map(_writes_text, kinds)):
        # Where the library has both, the first is the text half alone.
        if type(config) in MODEL_FOR_CAUSAL_LM_MAPPING:
            return AutoModelForCausalLM
        if type(config) in MODEL_FOR_MULTIMODAL_LM_MAPPING:
            return AutoModelForMultimodalLM
    raise UnsupportedModelError(
        f"Only causal language models can be steered, but {model_id!r} "
        f"({', '.join(kinds) or config.model_type}) isn't one. Use a model for text generation."
    )


def drop_unread(model: Any) -> None:
    """Let go of the parts of a model that text doesn't pass, such as an images' encoder.

    They are found by a pass of one token: names differ from family to family. A model that can't
    be run stays whole, for others to say what is wrong with it.
    """
    parts, read = dict(model.base_model.named_children()), set[str]()

    def passed(name: str) -> Any:
        return lambda *_: read.add(name)

    with ExitStack() as stack:
        for name, part in parts.items():
            for module in part.modules():  # a list of layers is passed without being called
                handle = module.register_forward_pre_hook(passed(name))
                stack.callback(handle.remove)
        try:
            with torch.inference_mode():
                model(input_ids=torch.ones(1, 1, dtype=torch.long, device=model.device))
        except Exception:  # whatever a model's own code raises
            return
    for name in parts.keys() - read:
        setattr(model.base_model, name, None)


def _writes_text(architecture: str) -> bool:
    """Whether weights of a class by this name have a head that predicts the next token.

    Older checkpoints spell some of the library's classes differently, so endings count, too.
    """
    known = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
    return architecture in known or architecture.endswith(HEADS)
