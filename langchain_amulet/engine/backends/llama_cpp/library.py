"""llama.cpp's C interface: the functions used here, from the library that a wheel brings.

``xllamacpp`` is a package with prebuilt wheels whose library exports all of that interface. Its own
Python interface decodes one prompt per request, so it isn't imported: only the library is opened.
Structs of C have no names at run time, and one whose fields have moved would be filled with
nonsense silently. So what the library says the defaults are is compared with what they must be,
field by field, before anything else is asked of it.

Knows C. Doesn't know requests, sequences or prompts.
"""

from __future__ import annotations

import ctypes
import logging
from ctypes import POINTER, c_bool, c_char_p, c_float, c_int8, c_int32, c_size_t, c_uint32, c_void_p
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from langchain_amulet.errors import ConfigurationError
from langchain_amulet.validation.packages import needing
from langchain_amulet.validation.wording import message_of

logger = logging.getLogger(__name__)

PACKAGE = "xllamacpp"
"""What brings the library."""

MAX_SEQUENCES = 256
"""How many sequences one context may hold, by the library's own constant."""

ERROR = 4
"""The log level from which the library says why something failed."""


class ModelParams(ctypes.Structure):
    """``llama_model_params``, with room behind it for fields of later versions."""

    _fields_ = (
        ("devices", c_void_p),
        ("tensor_buft_overrides", c_void_p),
        ("n_gpu_layers", c_int32),
        ("split_mode", c_int32),
        ("load_mode", c_int32),
        ("lazy_mode", c_int32),
        ("main_gpu", c_int32),
        ("tensor_split", c_void_p),
        ("progress_callback", c_void_p),
        ("progress_callback_user_data", c_void_p),
        ("kv_overrides", c_void_p),
        ("vocab_only", c_bool),
        ("check_tensors", c_bool),
        ("use_extra_bufts", c_bool),
        ("no_host", c_bool),
        ("no_alloc", c_bool),
        ("load_mtp", c_bool),
        ("later", ctypes.c_ubyte * 128),
    )


class ContextParams(ctypes.Structure):
    """``llama_context_params``, likewise."""

    _fields_ = (
        ("n_ctx", c_uint32),
        ("n_batch", c_uint32),
        ("n_ubatch", c_uint32),
        ("n_seq_max", c_uint32),
        ("n_rs_seq", c_uint32),
        ("n_outputs_max", c_uint32),
        ("n_outputs_max_per_seq", c_uint32),
        ("n_threads", c_int32),
        ("n_threads_batch", c_int32),
        ("ctx_type", c_int32),
        ("rope_scaling_type", c_int32),
        ("pooling_type", c_int32),
        ("attention_type", c_int32),
        ("flash_attn_type", c_int32),
        ("rope_freq_base", c_float),
        ("rope_freq_scale", c_float),
        ("yarn_ext_factor", c_float),
        ("yarn_attn_factor", c_float),
        ("yarn_beta_fast", c_float),
        ("yarn_beta_slow", c_float),
        ("yarn_orig_ctx", c_uint32),
        ("defrag_thold", c_float),
        ("cb_eval", c_void_p),
        ("cb_eval_user_data", c_void_p),
        ("type_k", c_int32),
        ("type_v", c_int32),
        ("moe_cache_size", c_size_t),
        ("abort_callback", c_void_p),
        ("abort_callback_data", c_void_p),
        ("embeddings", c_bool),
        ("offload_kqv", c_bool),
        ("no_perf", c_bool),
        ("op_offload", c_bool),
        ("swa_full", c_bool),
        ("kv_unified", c_bool),
        ("samplers", c_void_p),
        ("n_samplers", c_size_t),
        ("ctx_other", c_void_p),
        ("later", ctypes.c_ubyte * 128),
    )


class LlamaBatch(ctypes.Structure):
    """``llama_batch``: tokens, where each is, in which sequence, and whether its logits count."""

    _fields_ = (
        ("n_tokens", c_int32),
        ("token", POINTER(c_int32)),
        ("embd", POINTER(c_float)),
        ("pos", POINTER(c_int32)),
        ("n_seq_id", POINTER(c_int32)),
        ("seq_id", POINTER(POINTER(c_int32))),
        ("logits", POINTER(c_int8)),
    )


LOG = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)

SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "llama_version": (c_char_p, ()),
    "llama_log_set": (None, (LOG, c_void_p)),
    "llama_model_default_params": (ModelParams, ()),
    "llama_context_default_params": (ContextParams, ()),
    "llama_model_load_from_file": (c_void_p, (c_char_p, ModelParams)),
    "llama_model_free": (None, (c_void_p,)),
    "llama_model_get_vocab": (c_void_p, (c_void_p,)),
    "llama_model_n_ctx_train": (c_int32, (c_void_p,)),
    "llama_model_has_encoder": (c_bool, (c_void_p,)),
    "llama_model_has_decoder": (c_bool, (c_void_p,)),
    "llama_model_is_recurrent": (c_bool, (c_void_p,)),
    "llama_model_is_hybrid": (c_bool, (c_void_p,)),
    "llama_model_is_diffusion": (c_bool, (c_void_p,)),
    "llama_model_ftype": (c_int32, (c_void_p,)),
    "llama_ftype_name": (c_char_p, (c_int32,)),
    "llama_vocab_n_tokens": (c_int32, (c_void_p,)),
    "llama_vocab_is_eog": (c_bool, (c_void_p, c_int32)),
    "llama_tokenize": (
        c_int32,
        (c_void_p, c_char_p, c_int32, POINTER(c_int32), c_int32, c_bool, c_bool),
    ),
    "llama_init_from_model": (c_void_p, (c_void_p, ContextParams)),
    "llama_free": (None, (c_void_p,)),
    "llama_n_ctx": (c_uint32, (c_void_p,)),
    "llama_set_n_threads": (None, (c_void_p, c_int32, c_int32)),
    "llama_decode": (c_int32, (c_void_p, LlamaBatch)),
    "llama_get_logits": (c_void_p, (c_void_p,)),
    "llama_get_memory": (c_void_p, (c_void_p,)),
    "llama_memory_seq_cp": (None, (c_void_p, c_int32, c_int32, c_int32, c_int32)),
    "llama_memory_seq_rm": (c_bool, (c_void_p, c_int32, c_int32, c_int32)),
    "llama_state_seq_get_size": (c_size_t, (c_void_p, c_int32)),
}
"""What is called, with the types of what it gives and takes."""

MODEL_DEFAULTS = {
    "n_gpu_layers": -1,
    "split_mode": 1,
    "load_mode": -1,
    "lazy_mode": 1,
    "main_gpu": 0,
    "vocab_only": False,
    "check_tensors": False,
    "use_extra_bufts": True,
    "no_host": False,
    "no_alloc": False,
    "tensor_split": None,
    "kv_overrides": None,
}
"""What ``llama_model_default_params`` gives where the struct is as it is declared here."""

CONTEXT_DEFAULTS = {
    "n_ctx": 512,
    "n_batch": 2048,
    "n_ubatch": 512,
    "n_seq_max": 1,
    "n_rs_seq": 0,
    "n_outputs_max": 0,
    "n_outputs_max_per_seq": 1,
    "ctx_type": 0,
    "rope_scaling_type": -1,
    "pooling_type": -1,
    "attention_type": -1,
    "flash_attn_type": -1,
    "rope_freq_base": 0.0,
    "rope_freq_scale": 0.0,
    "yarn_ext_factor": -1.0,
    "yarn_beta_slow": -1.0,
    "yarn_orig_ctx": 0,
    "defrag_thold": -1.0,
    "type_k": 1,
    "type_v": 1,
    "moe_cache_size": 0,
    "abort_callback": None,
    "embeddings": False,
    "offload_kqv": True,
    "no_perf": True,
    "op_offload": True,
    "swa_full": True,
    "kv_unified": False,
    "samplers": None,
}
"""The same for ``llama_context_default_params``."""


class LlamaLibrary:
    """The library, once it is sure that it is the one whose interface is declared here.

    Args:
        path: The shared library.

    Attributes:
        c: Its functions, by their names in C.
        complaints: The last of what it logged as errors.

    Raises:
        ConfigurationError: Its interface is another one.
    """

    def __init__(self, path: Path) -> None:
        """Open it, and have it log by Python's logging."""
        try:
            self.c = ctypes.CDLL(str(path))
            for name, (result, arguments) in SIGNATURES.items():
                function = getattr(self.c, name)
                function.restype, function.argtypes = result, arguments
        except (OSError, AttributeError) as error:
            raise _mismatch(message_of(error)) from error
        check_defaults(self.c.llama_model_default_params(), MODEL_DEFAULTS)
        check_defaults(self.c.llama_context_default_params(), CONTEXT_DEFAULTS)
        self.complaints: list[str] = []
        self._log = LOG(self._noted)  # kept, as C's hold on it counts for nothing
        self.c.llama_log_set(self._log, None)

    def _noted(self, level: int, text: bytes | None, _: Any) -> None:
        said = (text or b"").decode("utf-8", "replace").strip()
        logger.debug("%s", said)
        if level == ERROR and said:
            self.complaints = [*self.complaints[-3:], said]


def check_defaults(given: ctypes.Structure, expected: dict[str, Any]) -> None:
    """Refuse a library whose struct has other fields, or has them elsewhere.

    Raises:
        ConfigurationError: A field isn't what the library's default for it is known to be.
    """
    for name, value in expected.items():
        found = getattr(given, name)
        if found != value:
            raise _mismatch(f"{name} of {type(given).__name__} is {found!r} instead of {value!r}")


def _mismatch(reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"GGUF files need the C interface of llama.cpp as {PACKAGE} has it since 2026.10, but in "
        f"{PACKAGE} {version(PACKAGE)} {reason}: install langchain-amulet[llama] anew, or use "
        "backend='batched', which dequantises the file."
    )


@cache
def llama_library() -> LlamaLibrary:
    """The library of the installed package; one for the process, as the library logs for all.

    Raises:
        MissingExtraError: The package isn't installed.
        ConfigurationError: Its interface is another one.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:  # not imported, as only its library is of use
        with needing("llama", "A GGUF file"):
            raise ModuleNotFoundError(name=PACKAGE)
    folder = Path(spec.origin).parent
    found = sorted(path for path in folder.glob(f"{PACKAGE}*") if path.suffix in {".so", ".pyd"})
    if not found:
        raise _mismatch("there is no library")
    return LlamaLibrary(found[0])
