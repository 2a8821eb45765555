"""What all backends over Hugging Face models have in common: scoring and beam search.

Both are plain forward passes of one request, so every model is scored and searched alike, whatever
decodes it. A stream that is scored has a pass of its own: at the length of a prompt and an answer a
pass is bound by arithmetic, where a batch would only add padding.

Knows a causal language model. Doesn't know how streams are kept between steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from langchain_amulet.engine.backends.base import BeamParams, BeamSearchBackend, LoadedModel
from langchain_amulet.engine.backends.huggingface.beam_search import beam_search
from langchain_amulet.engine.backends.huggingface.causal_lm import CausalLM


class HuggingFaceBackend(BeamSearchBackend):
    """A backend that decodes with a Hugging Face model, in whatever way.

    Args:
        model: What it runs.
        lm: The same for forward passes.
        max_rows: The most streams at a time, over all requests.
        prefill_chunk: The most prompt tokens per pass, padding included.
    """

    shares_pass: bool
    """Whether all its requests go through one forward pass per step."""

    def __init__(self, model: LoadedModel, lm: CausalLM, max_rows: int, prefill_chunk: int) -> None:
        """Start without requests."""
        super().__init__(model)
        self._lm, self._max_rows, self._prefill_chunk = lm, max_rows, prefill_chunk

    def score(self, prompt: Sequence[int], continuation: Sequence[int]) -> Tensor:
        """The logits at every place of a continuation, all precise in float32."""
        return self._lm.uncached_logits((*prompt, *continuation[:-1]), len(continuation))

    def beam_search(
        self, prompt: Sequence[int], params: BeamParams, on_step: Callable[[], None]
    ) -> list[int]:
        """The likeliest answer that the library's ``generate`` finds."""
        return beam_search(self._lm.model, prompt, params, on_step)
