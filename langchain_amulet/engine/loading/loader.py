"""Models from disk or the Hub, and one engine per model for the whole process.

Knows transformers' ``from_pretrained``. Doesn't know requests, prompts or LangChain.
"""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING,
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
)

from langchain_amulet.engine.loading.hub import check_exists, not_found
from langchain_amulet.engine.loading.model_info import logits_width
from langchain_amulet.engine.loading.packing import pack
from langchain_amulet.engine.loading.quiet import quiet_if_small
from langchain_amulet.errors import (
    ConfigurationError,
    UnsupportedModelError,
)
from langchain_amulet.validation import told

T = TypeVar("T")

HEADS = ("ForCausalLM", "LMHeadModel", "ForConditionalGeneration")
"""How the names of classes end whose models predict the next token."""

DTYPE_VARIABLE = "LANGCHAIN_AMULET_DTYPE"
"""The environment variable with the dtype of models for which none is chosen."""

TOO_LONG = "sequence-length-is-longer-than-the-specified-maximum"
"""What the library's tokenizers call their warning of a long text, each of which says it once."""


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded; equal options share one copy of the weights.

    Attributes:
        device: Such as "cpu" or "cuda:0"; ``None`` for the first CUDA device, else the CPU.
            Ignored with ``device_map``.
        dtype: Such as "bfloat16"; ``None`` for the one that the environment variable
            ``LANGCHAIN_AMULET_DTYPE`` names, or else the fastest that the device has: on a CPU
            bfloat16 if it computes in it, else float32; elsewhere the model's own.
        device_map: As in ``from_pretrained``.
        quantization_config: As in ``from_pretrained``. One that says the same shares weights.
        attn_implementation: As in ``from_pretrained``; ``None`` for the library's choice.
        revision: Branch, tag or commit on the Hub.
        trust_remote_code: Run Python that comes with the model. Off, and better left off.
        use_safetensors: Refuse weights in pickle files, which can run code when they are loaded.
        pack: Lay the linear layers out for decoding on a CPU, see ``packing``.
        max_rows: See ``Engine``.
        max_queue: See ``Engine``.
        prefill_chunk: See ``Engine``.
    """

    device: str | None = None
    dtype: str | None = None
    device_map: str | tuple[tuple[str, int | str], ...] | None = None
    quantization_config: Any = field(default=None, compare=False)
    attn_implementation: str | None = None
    revision: str | None = None
    trust_remote_code: bool = False
    use_safetensors: bool = True
    pack: bool = True
    max_rows: int = 64
    max_queue: int = 4096
    prefill_chunk: int = 256
    _quantization: str = field(default="", init=False, repr=False)

    def __post_init__(self) -> None:
        """Compare quantisation by what it says: to the library's classes int8 equals int4."""
        said = getattr(self.quantization_config, "to_dict", lambda: self.quantization_config)()
        object.__setattr__(self, "_quantization", str(said))


@dataclass(frozen=True)
class LoadedModel:
    """A model ready to decode, with its tokenizer."""

    model: Any
    tokenizer: Any
    model_id: str
    options: LoadOptions

    @property
    def vocabulary(self) -> int:
        """How many logits there are, padding included."""
        return logits_width(self.model)


def load(model_id: str, options: LoadOptions | None = None) -> LoadedModel:
    """Load a model and its tokenizer.

    Raises:
        ModelNotFoundError: No such folder, Hub repository or revision, or no safetensors in it.
        UnsupportedModelError: Not a decoder-only language model.
        ConfigurationError: There is no such device.
    """
    options = options or LoadOptions()
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
    return LoadedModel(model, tokenizer, model_id, options)


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
        reason = told(str(error).partition("\n")[0])
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
