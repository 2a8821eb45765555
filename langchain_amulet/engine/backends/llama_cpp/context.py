"""A model in llama.cpp, and contexts of it: sequences of tokens whose keys and values are kept.

Knows sequences by number. Doesn't know whose they are.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Sequence
from ctypes import POINTER, c_float, c_int8, c_int32
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from langchain_amulet.engine.backends.llama_cpp.library import LlamaBatch, LlamaLibrary
from langchain_amulet.errors import GenerationError, UnsupportedModelError

KV_TYPES = {"float32": 0, "float16": 1, "bfloat16": 30}
"""ggml's numbers of the dtypes that keys and values may be kept in."""

NO_SLOT, NO_MEMORY = 1, -2
"""What ``llama_decode`` gives for want of memory."""

UBATCH = 512
"""The most tokens of one pass within the library, which makes several of a longer batch."""


@dataclass(frozen=True)
class Fed:
    """Tokens for the end of a sequence.

    Attributes:
        sequence: Its number.
        tokens: What comes next.
        start: How long it is so far.
        outputs: Of how many of the last tokens it is asked what follows.
    """

    sequence: int
    tokens: Sequence[int]
    start: int
    outputs: int = 0


class LlamaModel:
    """Weights in memory.

    Args:
        library: What runs them.
        path: The GGUF file, or the first of several.

    Raises:
        UnsupportedModelError: The library can't read it.
    """

    def __init__(self, library: LlamaLibrary, path: Path) -> None:
        """Load them."""
        self.library, self.path, self.c = library, path, library.c
        params = self.c.llama_model_default_params()
        params.n_gpu_layers = 0
        library.complaints.clear()
        self.pointer = self.c.llama_model_load_from_file(str(path).encode(), params)
        if not self.pointer:
            raise UnsupportedModelError(
                f"A GGUF file must be whole and of an architecture that llama.cpp knows, but "
                f"{path.name!r} can't be loaded: {'; '.join(library.complaints)}. Fetch it again, "
                "or install a newer langchain-amulet[llama]."
            )
        # Not at exit: the engine's thread may still compute then, and the process frees all.
        weakref.finalize(self, self.c.llama_model_free, self.pointer).atexit = False
        self.vocabulary = self.c.llama_model_get_vocab(self.pointer)
        self.vocabulary_size = int(self.c.llama_vocab_n_tokens(self.vocabulary))

    @cached_property
    def keeps_positions(self) -> bool:
        """Whether a sequence can be cut and copied in part; a recurrent state can't."""
        model = self.pointer
        return not (self.c.llama_model_is_recurrent(model) or self.c.llama_model_is_hybrid(model))

    @cached_property
    def stop_ids(self) -> frozenset[int]:
        """Tokens that end an answer, as the file says and the library guesses from their names."""
        ids = range(self.vocabulary_size)
        return frozenset(i for i in ids if self.c.llama_vocab_is_eog(self.vocabulary, i))

    def tokenize(self, text: str) -> list[int]:
        """The text's tokens, control tokens in it included, as the library finds them."""
        data = text.encode()
        found = (c_int32 * (len(data) + 8))()
        args = (data, len(data), found, len(found), False, True)
        return list(found[: self.c.llama_tokenize(self.vocabulary, *args)])

    def bytes_per_token(self, dtype: str) -> int:
        """Bytes of keys and values of one position, as feeding a second token shows them."""
        context, sizes = LlamaContext(self, 256, 1, 2, dtype), []
        for place in range(2):
            context.decode([Fed(0, [0], place)])
            sizes.append(self.c.llama_state_seq_get_size(context.pointer, 0))
        return max(1, int(sizes[1] - sizes[0]))


class LlamaContext:
    """Memory for sequences of one model, all in one pool of positions.

    Args:
        model: The model.
        positions: How many tokens it has room for, those that sequences share once.
        sequences: They have numbers from 0 to below this.
        batch: The most tokens at a time.
        dtype: What keys and values are kept in.

    Attributes:
        positions: How many there are, which may be a few more than asked for.

    Raises:
        MemoryError: There is none for so many.
    """

    def __init__(
        self, model: LlamaModel, positions: int, sequences: int, batch: int, dtype: str
    ) -> None:
        """Allocate it whole."""
        self._model, self._c = model, model.c
        params = self._c.llama_context_default_params()
        params.n_ctx, params.n_seq_max = positions, sequences
        params.n_batch, params.n_ubatch = batch, min(batch, UBATCH)
        params.type_k = params.type_v = KV_TYPES[dtype]
        params.kv_unified = True
        params.n_threads = params.n_threads_batch = torch.get_num_threads()
        self.pointer = self._c.llama_init_from_model(model.pointer, params)
        if not self.pointer:
            raise MemoryError(
                f"llama.cpp has no memory for a context of {positions} tokens: "
                f"{'; '.join(model.library.complaints)}"
            )
        weakref.finalize(self, self._c.llama_free, self.pointer).atexit = False
        self._memory = self._c.llama_get_memory(self.pointer)
        self.positions = int(self._c.llama_n_ctx(self.pointer))
        self._tokens, self._places = (c_int32 * batch)(), (c_int32 * batch)()
        self._sequences, self._counts = (c_int32 * batch)(), (c_int32 * batch)(*[1] * batch)
        address, size = ctypes.addressof(self._sequences), ctypes.sizeof(c_int32)
        pointers = (ctypes.cast(address + size * i, POINTER(c_int32)) for i in range(batch))
        self._pointers = (POINTER(c_int32) * batch)(*pointers)
        self._wanted = (c_int8 * batch)()

    def decode(self, parts: Sequence[Fed]) -> Tensor:
        """Feed tokens to sequences, all in one batch.

        Returns:
            What follows each token of which that was asked, ``[outputs, vocabulary]``, float32.

        Raises:
            MemoryError: There was none; the sequences are as they were.
            GenerationError: The library failed.
        """
        tokens: list[c_int32 | int] = [token for part in parts for token in part.tokens]
        count = len(tokens)
        self._tokens[:count] = tokens
        self._places[:count] = [part.start + i for part in parts for i in range(len(part.tokens))]
        self._sequences[:count] = [part.sequence for part in parts for _ in part.tokens]
        self._wanted[:count] = [
            left <= part.outputs for part in parts for left in range(len(part.tokens), 0, -1)
        ]
        threads = torch.get_num_threads()
        self._c.llama_set_n_threads(self.pointer, threads, threads)
        batch = LlamaBatch(
            count,
            self._tokens,
            None,
            self._places,
            self._counts,
            self._pointers,
            self._wanted,
        )
        code = self._c.llama_decode(self.pointer, batch)
        if code:
            for part in parts:
                self.cut(part.sequence, part.start)
            if code in (NO_SLOT, NO_MEMORY):
                raise MemoryError(f"llama.cpp has no memory for {count} more tokens")
            raise GenerationError(
                f"llama.cpp failed with code {code}: {'; '.join(self._model.library.complaints)}. "
                "Submit the request again once the cause is gone."
            )
        return self._logits(sum(part.outputs for part in parts))

    def copy(self, source: int, target: int, start: int, stop: int) -> None:
        """Let a sequence have what another one has at some positions; nothing is moved."""
        self._c.llama_memory_seq_cp(self._memory, source, target, start, stop)

    def cut(self, sequence: int, length: int = 0) -> None:
        """Let a sequence be so long only."""
        self._c.llama_memory_seq_rm(self._memory, sequence, length, -1)

    def _logits(self, rows: int) -> Tensor:
        """A copy, as the library writes the next ones to the same place."""
        size = self._model.vocabulary_size
        if not rows:
            return torch.empty(0, size)
        address = self._c.llama_get_logits(self.pointer)
        kept = (c_float * (rows * size)).from_address(address)
        return torch.frombuffer(kept, dtype=torch.float32).view(rows, size).clone()
