"""A GGUF file as an engine's model: its weights, tokenizer and chat template.

The tokenizer is transformers' own reading of the file's, so that whatever knows tokenizers, such as
grammars, knows this one; a text is tokenized by both it and llama.cpp at load, and where they
differ the file is refused.

Knows the file and the settings of loading. Doesn't know requests.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from langchain_amulet.engine.backends.base import Backend, LoadedModel, ModelInfo
from langchain_amulet.engine.backends.llama_cpp.backend import LlamaCppBackend
from langchain_amulet.engine.backends.llama_cpp.context import KV_TYPES, LlamaModel
from langchain_amulet.engine.backends.llama_cpp.library import MAX_SEQUENCES, llama_library
from langchain_amulet.engine.loading.gguf import find_gguf, need_reader, no_gguf
from langchain_amulet.engine.loading.loader import DTYPE_VARIABLE, TOO_LONG, loading
from langchain_amulet.engine.loading.options import LoadOptions
from langchain_amulet.errors import ConfigurationError, UnsupportedModelError
from langchain_amulet.validation.wording import quoted

PROBE = "It's 12345.67\n\n  naïve  \t«Ωμέγα»  你好 🙂 don't\r\n\tfoo_bar(x) == 'y'"
"""What splits differently by almost any two ways of cutting a text into words."""

UNUSED = ("device_map", "quantization_config", "attn_implementation", "compile")
"""Settings that llama.cpp has no use for."""


class LlamaCppModel(LoadedModel):
    """A model that llama.cpp runs.

    Args:
        path: The GGUF file, or the first of several.
        dtype: What keys and values are kept in.

    Raises:
        ConfigurationError: The library isn't installed, or is another one than is known here.
        UnsupportedModelError: It isn't a file that the library can read, or no causal model's, or
            its tokenizer is of an unknown kind.
    """

    def __init__(self, path: Path, dtype: str = "float16") -> None:
        """Load weights and tokenizer."""
        self._weights, self._dtype = LlamaModel(llama_library(), path), dtype
        check_causal(self._weights)
        self.tokenizer = load_tokenizer(path)
        check_tokens(self._weights, self.tokenizer)

    @cached_property
    def info(self) -> ModelInfo:
        """What the file says."""
        weights, c = self._weights, self._weights.c
        kind = c.llama_ftype_name(c.llama_model_ftype(weights.pointer)) or b""
        return ModelInfo(
            vocabulary_size=weights.vocabulary_size,
            logits_width=weights.vocabulary_size,
            context_length=int(c.llama_model_n_ctx_train(weights.pointer)) or None,
            stop_ids=weights.stop_ids,
            max_streams=MAX_SEQUENCES,
            backend=LlamaCppBackend.name,
            dtype=kind.decode() or self._dtype,
        )

    def new_backend(
        self, max_rows: int, prefill_chunk: int, kv_cache_memory: int | None = None
    ) -> Backend:
        """A context of its own for one engine."""
        return LlamaCppBackend(
            self, self._weights, self._dtype, max_rows, prefill_chunk, kv_cache_memory
        )


def load_llama_cpp(model_id: str, options: LoadOptions) -> LlamaCppModel:
    """Load a GGUF file, a folder that holds one, or one of a repository on the Hub.

    Raises:
        ModelNotFoundError: There is no such file.
        UnsupportedModelError: See `LlamaCppModel`.
        ConfigurationError: A setting that can't be; see `LlamaCppModel` for the rest.
    """
    with loading(model_id):
        path = find_gguf(model_id, options.gguf_file, options.revision)
        if path is None:
            raise no_gguf(model_id, options.revision)
        return LlamaCppModel(path, kept_in(options))


def kept_in(options: LoadOptions) -> str:
    """The dtype of keys and values: the weights have that of the file.

    Raises:
        ConfigurationError: It can't be, or a setting is of no use for such a file.
    """
    for name in UNUSED:
        if value := getattr(options, name):
            raise ConfigurationError(
                f"{name} is for Hugging Face models, but is {quoted(value)} for a GGUF file, which "
                "is as it is: leave it out, or name a folder or repository of such a model."
            )
    if options.device not in (None, "cpu"):
        raise ConfigurationError(
            f"device must be the CPU for a GGUF file, not {options.device!r}: leave it out, or use "
            "backend='batched', which dequantises the file."
        )
    dtype = options.dtype or os.environ.get(DTYPE_VARIABLE) or "float16"
    if dtype not in KV_TYPES:
        setting = "dtype" if options.dtype else f"{DTYPE_VARIABLE} in the environment"
        raise ConfigurationError(
            f"{setting} is for a GGUF file what keys and values are kept in, "
            f"{', '.join(KV_TYPES)}, not {dtype!r}: use one of those, or leave it out for float16. "
            "The weights are as in the file: for fewer bits name another one."
        )
    return dtype


def check_causal(weights: LlamaModel) -> None:
    """Refuse what doesn't write a text token by token.

    Raises:
        UnsupportedModelError: It has an encoder, or writes in another order.
    """
    c, pointer = weights.c, weights.pointer
    is_other = c.llama_model_has_encoder(pointer) or c.llama_model_is_diffusion(pointer)
    if is_other or not c.llama_model_has_decoder(pointer):
        raise UnsupportedModelError(
            f"A GGUF file must be of a decoder-only language model, but {weights.path.name!r} "
            "isn't: use one of a chat model."
        )


def load_tokenizer(path: Path) -> Any:
    """The tokenizer that a file describes, with its chat template."""
    need_reader()
    tokenizer: Any = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    # Said already: what is too long is refused by the engine, and counting it is no mistake.
    tokenizer.deprecation_warnings[TOO_LONG] = True
    return tokenizer


def check_tokens(weights: LlamaModel, tokenizer: Any) -> None:
    """Refuse a file whose tokenizer is read otherwise by the two libraries.

    Raises:
        UnsupportedModelError: They cut a text into different tokens.
    """
    controls = "".join(token.content for token in tokenizer.added_tokens_decoder.values())
    for text in (PROBE, f"a{controls}b" if controls else ""):
        ours = tokenizer.encode(text, add_special_tokens=False)
        if ours != weights.tokenize(text):
            raise UnsupportedModelError(
                f"A GGUF file's tokenizer must be of a kind that transformers and llama.cpp read "
                f"alike, but for {weights.path.name!r} they cut a text into different tokens: name "
                "the repository with the weights that it was made of."
            )
