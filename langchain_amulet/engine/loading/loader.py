"""Models and tokenizers from a folder or the Hub.

Knows transformers' ``from_pretrained``. Doesn't know backends, requests or prompts.
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
)

from langchain_amulet.engine.loading.hub import check_exists, not_found, resolve_model
from langchain_amulet.engine.loading.options import LoadOptions
from langchain_amulet.engine.loading.packing import pack
from langchain_amulet.engine.loading.quiet import quiet_if_small
from langchain_amulet.errors import (
    ConfigurationError,
    UnsupportedModelError,
)
from langchain_amulet.validation import message_of

HEADS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
"""How the names of classes end whose models predict the next token."""

DTYPE_VARIABLE = "LANGCHAIN_AMULET_DTYPE"
"""The environment variable with the dtype of models for which none is chosen."""

TOO_LONG = "sequence-length-is-longer-than-the-specified-maximum"
"""What the library's tokenizers call their warning of a long text, each of which says it once."""


def from_pretrained(model_id: str, options: LoadOptions) -> tuple[Any, Any]:
    """A model in evaluation mode, on its device, and its tokenizer.

    Raises:
        ModelNotFoundError: No such folder, Hub repository or revision, or no safetensors in it.
        UnsupportedModelError: Not a decoder-only language model.
        ConfigurationError: There is no such device.
    """
    model_id = resolve_model(model_id)
    source = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
    source = {name: value for name, value in source.items() if value is not None}
    config = _config(model_id, source)
    _require_causal(model_id, config)
    try:
        tokenizer = AutoTokenizer.from_pretrained(model_id, **source)
        # Said already: what is too long is refused by the engine, and counting it is no mistake.
        tokenizer.deprecation_warnings[TOO_LONG] = True
        with quiet_if_small(model_id):
            model: Any = AutoModelForCausalLM.from_pretrained(
                model_id, **source, **_placement(config, options)
            )
    except OSError as error:
        raise not_found(model_id, error) from error
    model.eval()
    if not _is_spread(options):
        model.to(device_of(options.device))
    if options.pack and options.quantization_config is None and model.device.type == "cpu":
        pack(model, model.get_output_embeddings())
    return model, tokenizer


def device_of(name: str | None) -> torch.device:
    """The device of a name; the first CUDA device for None, or else the CPU.

    Raises:
        ConfigurationError: There is no such device.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:  # by the kind of device, and of torch
        reason = message_of(str(error).partition("\n")[0])
        raise ConfigurationError(
            f"device must be one that this machine and this torch have, not {name!r}: {reason}. "
            "Use 'cpu', or None for a GPU if there is one."
        ) from error


def default_dtype(device: torch.device) -> torch.dtype | None:
    """The dtype of a model for which none is chosen; ``None`` for the model's own.

    It is what the environment says, so that several machines can agree, or else the fastest that
    the device computes in.

    Raises:
        ConfigurationError: The environment names something that is no dtype for weights.
    """
    named = os.environ.get(DTYPE_VARIABLE)
    if named:
        return _dtype(named)
    if device.type != "cpu":
        return None
    return torch.bfloat16 if computes_in_bfloat16() else torch.float32


def computes_in_bfloat16() -> bool:
    """Whether the CPU has bfloat16 instructions; without them it is slower than float32."""
    flags = _cpu_flags()
    return bool({"avx512_bf16", "amx_bf16", "bf16", "svebf16"} & flags)


def _dtype(name: str) -> torch.dtype:
    found = getattr(torch, name, None)
    if not (isinstance(found, torch.dtype) and found.is_floating_point):
        raise ConfigurationError(
            f"{DTYPE_VARIABLE} must name a torch dtype for weights, not {name!r}: set it to "
            "'float32' or 'bfloat16', or unset it for what runs fastest."
        )
    return found


def _config(model_id: str, source: dict[str, Any]) -> Any:
    check_exists(model_id, source.get("revision"))
    try:
        return AutoConfig.from_pretrained(model_id, **source)
    except OSError as error:
        raise not_found(model_id, error) from error
    except (ValueError, KeyError) as error:
        raise UnsupportedModelError(
            f"The installed transformers must know the model's architecture, but not that of "
            f"{model_id!r}: {error}. Update transformers or use another model."
        ) from error


def _require_causal(model_id: str, config: Any) -> None:
    if getattr(config, "is_encoder_decoder", False):
        raise UnsupportedModelError(
            f"Only decoder-only models can be steered, but {model_id!r} is an encoder-decoder "
            f"({config.model_type}). Use a causal language model instead."
        )
    if "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {}):
        return
    kinds = getattr(config, "architectures", None) or ()
    is_trained = not kinds or any(map(_writes_text, kinds))
    if type(config) not in MODEL_FOR_CAUSAL_LM_MAPPING or not is_trained:
        raise UnsupportedModelError(
            f"Only causal language models can be steered, but {model_id!r} "
            f"({', '.join(kinds) or config.model_type}) isn't one. Use a model for text generation."
        )


def _writes_text(architecture: str) -> bool:
    """Whether weights of a class by this name have a head that predicts the next token.

    Older checkpoints spell some of the library's classes differently, so endings count, too.
    """
    known = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()
    return architecture in known or architecture.endswith(HEADS)


def _placement(config: Any, options: LoadOptions) -> dict[str, Any]:
    device, mapped = device_of(options.device), options.device_map
    chosen: dict[str, Any] = {
        "dtype": getattr(torch, options.dtype) if options.dtype else default_dtype(device),
        "quantization_config": options.quantization_config,
        "attn_implementation": options.attn_implementation,
        "use_safetensors": options.use_safetensors,
    }
    chosen["dtype"] = chosen["dtype"] or "auto"
    if _is_spread(options):
        chosen["device_map"] = dict(mapped) if isinstance(mapped, tuple) else mapped or {"": device}
    return {name: value for name, value in chosen.items() if value is not None}


def _is_spread(options: LoadOptions) -> bool:
    """Whether accelerate places the weights; it needn't be there for a model on one device."""
    if options.device_map is None and options.quantization_config is None:
        return False
    if importlib.util.find_spec("accelerate") is None:
        raise ConfigurationError(
            "device_map and quantization_config need the package accelerate, which isn't "
            "installed. Install langchain-amulet[accelerate], or leave both out."
        )
    return True


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    lines = (line for line in text.splitlines() if line.lower().startswith(("flags", "features")))
    return set(next(lines, "").split())
