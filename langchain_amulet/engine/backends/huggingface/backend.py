"""What all backends over Hugging Face models have in common: scoring and beam search.

Both are plain forward passes of one request, so every model is scored and searched alike, whatever
decodes it. A stream that is scored has passes of its own: at the length of a prompt and an answer a
pass is bound by arithmetic, where a batch would only add padding.

Knows a causal language model. Doesn't know how streams are kept between steps.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from langchain_amulet.engine.backends.base import Backend, LoadedModel, Steps
from langchain_amulet.engine.backends.huggingface.causal_lm import CausalLM
from langchain_amulet.engine.backends.huggingface.library_beams import LibraryBeams


class HuggingFaceBackend(Backend):
    """A backend that decodes with a Hugging Face model, in whatever way.

    Args:
        model: What it runs.
        lm: The same for forward passes.
        max_rows: The most streams at a time, over all requests.
        prefill_chunk: The most prompt tokens per pass, padding included.
        kv_cache_memory: The most bytes of keys and values; None for a share of what is free.
    """

    shares_pass: bool
    """Whether all its requests go through one forward pass per step."""

    def __init__(
        self,
        model: LoadedModel,
        lm: CausalLM,
        max_rows: int,
        prefill_chunk: int,
        kv_cache_memory: int | None = None,
    ) -> None:
        """Start without requests."""
        super().__init__(model)
        self._lm, self._max_rows, self._prefill_chunk = lm, max_rows, prefill_chunk

    def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Steps[Tensor]:
        """The logits at every place of a continuation, all precise in float32."""
        tokens, last = (*prompt, *continuation[:-1]), len(continuation)
        logits, _ = yield from self._lm.read(tokens, last, self._chunk(tokens))
        return logits

    def beams(self, prompt: Sequence[int]) -> LibraryBeams:
        """Beams in a cache of the library's, beside the requests' own."""
        return LibraryBeams(self._lm, tuple(prompt), self._chunk(prompt))

    def _chunk(self, tokens: Sequence[int]) -> int:
        """How many tokens are read in one pass of their own."""
        # Where rows don't share passes the model may be one that reads a prompt whole or not at
        # all, such as a recurrent one.
        return self._prefill_chunk if self.shares_pass else len(tokens)
