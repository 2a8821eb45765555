"""Models and tokenizers from a folder or the Hub.

Whatever a library raises on the way becomes an error of the package: a broken folder, a setting
that can't be, a package that isn't installed. What a library passes over in silence is refused,
too: layers without weights, which it would fill with random numbers.

Knows transformers' ``from_pretrained``. Doesn't know backends, requests or prompts.
"""

from __future__ import annotations

import importlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, GgufConfig
from transformers.utils.hub import cached_file

from langchain_amulet.engine.loading.architecture import drop_unread, loader_class
from langchain_amulet.engine.loading.gguf import find_gguf, names_gguf, need_reader
from langchain_amulet.engine.loading.hub import check_exists, not_found
from langchain_amulet.engine.loading.options import LoadOptions
from langchain_amulet.engine.loading.packing import pack
from langchain_amulet.engine.loading.quiet import quiet_if_small
from langchain_amulet.engine.loading.weights import check_tokenizer, check_weights
from langchain_amulet.errors import AmuletError, ConfigurationError, UnsupportedModelError
from langchain_amulet.validation.packages import needing
from langchain_amulet.validation.wording import message_of

DTYPES = (torch.float32, torch.bfloat16, torch.float16, torch.float64)
"""What weights can be computed in."""

DTYPE_VARIABLE = "LANGCHAIN_AMULET_DTYPE"
"""The environment variable with the dtype of models for which none is chosen."""

DEVICE = re.compile(
    r"GPU is required|requires an? (\w+ )*GPU|only supported on GPU|need an? GPU", re.I
)
"""How libraries say that a way of quantising needs a device that isn't there."""

TOO_LONG = "sequence-length-is-longer-than-the-specified-maximum"
"""What the library's tokenizers call their warning of a long text, each of which says it once."""


@contextmanager
def loading(model_id: str) -> Iterator[None]:
    """Raise an error of the package for whatever goes wrong with a model meanwhile.

    Raises:
        ModelNotFoundError: A file couldn't be found or read.
        ConfigurationError: A package isn't installed, or there isn't enough memory.
        UnsupportedModelError: Anything else: what the folder holds makes no model.
    """
    try:
        yield
    except AmuletError:
        raise
    # Configs, tokenizers and weights of any kind and state are read by other people's code.
    except Exception as error:
        raise _failure(model_id, error) from error


def _failure(model_id: str, error: Exception) -> AmuletError:
    """The error of the package for what a library raised while it read a model."""
    said = message_of(error)
    if isinstance(error, OSError):
        return not_found(model_id, error)
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return ConfigurationError(
            f"A model must fit the memory, but {model_id!r} doesn't: {said}. Use a smaller model, "
            "quantization_config or device_map, or let other models go."
        )
    # Some libraries say so in an ImportError, others in whatever they have.
    if isinstance(error, (ImportError, RuntimeError, NotImplementedError)) and DEVICE.search(said):
        return ConfigurationError(
            f"{model_id!r} can be loaded in this way only on a device that isn't there: {said}. "
            "Choose another device, quantization_config or model."
        )
    if isinstance(error, ImportError):
        return ConfigurationError(
            f"{model_id!r} can be loaded in this way only with a package that isn't installed: "
            f"{said}. Install it, or choose another attn_implementation, quantization_config or "
            "model."
        )
    return UnsupportedModelError(
        f"A model must be whole and fit its settings, but {model_id!r} can't be loaded: "
        f"{type(error).__name__}: {said}. Check its files and how it is to be loaded (dtype, "
        "device_map, quantization_config, attn_implementation)."
    )


def from_pretrained(model_id: str, options: LoadOptions) -> tuple[Any, Any]:
    """A model in evaluation mode, on its device, and its tokenizer.

    Raises:
        ModelNotFoundError: No such folder, Hub repository or revision, or no safetensors in it.
        UnsupportedModelError: Not a decoder-only language model, or one that lacks weights.
        ConfigurationError: A setting that can't be, such as a device that isn't there.
    """
    model_id, source = _source(model_id, options)
    config = _config(model_id, source)
    kind = loader_class(model_id, config)
    tokenizer = AutoTokenizer.from_pretrained(model_id, **source)
    tokenizer.chat_template = tokenizer.chat_template or _processors_template(model_id, source)
    # Said already: what is too long is refused by the engine, and counting it is no mistake.
    tokenizer.deprecation_warnings[TOO_LONG] = True
    with quiet_if_small(model_id):
        chosen = _placement(config, options)
        if "gguf_file" in source:  # packed weights would be computed with by the library's kernels
            chosen["quantization_config"] = GgufConfig(dequantize=True)
        loaded: Any = kind.from_pretrained(model_id, **source, **chosen, output_loading_info=True)
    model, report = loaded
    _check_device_map(model, options)
    check_weights(model_id, model, report)
    check_tokenizer(model_id, tokenizer, model.get_input_embeddings().num_embeddings)
    model.eval()
    if not _is_spread(config, options):
        model.to(device_of(options.device))
    if kind is not AutoModelForCausalLM:
        drop_unread(model)
    # What is packed a compiler can't look into.
    packs = options.pack and not options.compile and options.quantization_config is None
    if packs and model.device.type == "cpu":
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
        device = torch.empty(0, device=name).device
    # By the kind of device, and of torch; for some it imports a module that isn't there.
    except (RuntimeError, AssertionError, ImportError, AttributeError) as error:
        reason = message_of(str(error).partition("\n")[0].partition(". ")[0])
        raise ConfigurationError(
            f"device must be one that this machine and this torch have, not {name!r}: {reason}. "
            "Use 'cpu', or None for a GPU if there is one."
        ) from error
    if device.type == "meta":
        raise ConfigurationError(
            "device must be one that computes, not 'meta', which holds shapes without numbers: "
            "use 'cpu', or None for a GPU if there is one."
        )
    return device


def default_dtype(device: torch.device) -> torch.dtype | None:
    """The dtype of a model for which none is chosen; ``None`` for the model's own.

    It is what the environment says, so that several machines can agree, or else the fastest that
    the device computes in.

    Raises:
        ConfigurationError: The environment names something that is no dtype for weights.
    """
    named = os.environ.get(DTYPE_VARIABLE)
    if named:
        return dtype_of(named, DTYPE_VARIABLE)
    if device.type != "cpu":
        return None
    return torch.bfloat16 if computes_in_bfloat16() else torch.float32


def computes_in_bfloat16() -> bool:
    """Whether the CPU has bfloat16 instructions; without them it is slower than float32."""
    flags = _cpu_flags()
    return bool({"avx512_bf16", "amx_bf16", "bf16", "svebf16"} & flags)


def dtype_of(name: str, setting: str = "dtype") -> torch.dtype:
    """The dtype of a name, one that weights can be computed in.

    Args:
        name: Such as "bfloat16".
        setting: What says so, for the message.

    Raises:
        ConfigurationError: There is no such dtype, or it can't hold weights that are computed with.
    """
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype) or found not in DTYPES:
        raise ConfigurationError(
            f"{setting} must be the name of a torch dtype for weights, not {name!r}: use "
            "'bfloat16', 'float16', 'float32' or 'float64', or leave it out for what runs fastest. "
            "For fewer bits use a model that is quantised, such as a GGUF file, or for Hugging "
            "Face weights quantization_config."
        )
    return found


def _source(model_id: str, options: LoadOptions) -> tuple[str, dict[str, Any]]:
    """Where the library finds a model: a GGUF file is one of the folder that it lies in."""
    source = {"revision": options.revision, "trust_remote_code": options.trust_remote_code}
    known = {name: value for name, value in source.items() if value is not None}
    if not names_gguf(model_id, options.gguf_file):
        return model_id, known
    need_reader()
    if options.quantization_config is not None:
        raise ConfigurationError(
            "quantization_config is for Hugging Face weights, but a GGUF file is dequantised as a "
            "whole for this backend: leave it out, or leave backend out for llama.cpp, which runs "
            "the file as it is."
        )
    path = find_gguf(model_id, options.gguf_file, options.revision)
    assert path is not None
    return str(path.parent), {**known, "gguf_file": path.name}


def _processors_template(model_id: str, source: dict[str, Any]) -> Any:
    """The chat template of what prepares images and text together, where it has one of its own."""
    known = {name: source[name] for name in ("revision",) if name in source}
    found = cached_file(
        model_id,
        "chat_template.json",
        **known,
        _raise_exceptions_for_missing_entries=False,
        _raise_exceptions_for_gated_repo=False,
        _raise_exceptions_for_connection_errors=False,
    )
    if found is None:
        return None
    return json.loads(Path(found).read_text(encoding="utf-8")).get("chat_template")


def _config(model_id: str, source: dict[str, Any]) -> Any:
    if "gguf_file" not in source:
        check_exists(model_id, source.get("revision"))
    try:
        return AutoConfig.from_pretrained(model_id, **source)
    except (ValueError, KeyError) as error:
        raise UnsupportedModelError(
            f"The installed transformers must know the model's architecture, but not that of "
            f"{model_id!r}: {message_of(error)}. Update transformers or use another model."
        ) from error


def _placement(config: Any, options: LoadOptions) -> dict[str, Any]:
    device, mapped = device_of(options.device), options.device_map
    chosen: dict[str, Any] = {
        "dtype": dtype_of(options.dtype) if options.dtype else default_dtype(device),
        "quantization_config": options.quantization_config,
        "attn_implementation": options.attn_implementation,
        "use_safetensors": options.use_safetensors,
    }
    chosen["dtype"] = chosen["dtype"] or "auto"  # None would be left out below
    if _is_spread(config, options):
        chosen["device_map"] = dict(mapped) if isinstance(mapped, tuple) else mapped or {"": device}
    return {name: value for name, value in chosen.items() if value is not None}


def _check_device_map(model: Any, options: LoadOptions) -> None:
    """Refuse names that the library passes over, and with them what was meant to be placed."""
    if not isinstance(options.device_map, tuple):
        return
    parts = (model.named_modules(), model.named_parameters(), model.named_buffers())
    known = {name for each in parts for name, _ in each}
    unknown = sorted({name for name, _ in options.device_map} - known)
    if unknown:
        raise ConfigurationError(
            f"A device_map's keys must be names of the model's modules, or '' for all of it, but "
            f"it has none called {', '.join(map(repr, unknown[:4]))}: use 'auto', or names such "
            f"as {next(name for name, _ in model.named_children())!r}."
        )


def _is_spread(config: Any, options: LoadOptions) -> bool:
    """Whether accelerate places the weights; it needn't be there for a model on one device.

    Quantised ones can't be moved once they are loaded.
    """
    quantized = options.quantization_config or getattr(config, "quantization_config", None)
    if not options.device_map and quantized is None:
        return False
    with needing("accelerate", "What has a device_map or is quantised"):
        importlib.import_module("accelerate")
    return True


def _cpu_flags() -> set[str]:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return set()
    lines = (line for line in text.splitlines() if line.lower().startswith(("flags", "features")))
    return set(next(lines, "").split())
