"""Beams as rows of a cache of the library's own.

Any model whose cache the library can reorder can be searched, whatever decodes it. The rows have
one length, so that nothing is padded.

Knows token ids and a model. Doesn't know which beams are worth going on with.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from langchain_amulet.engine.backends.base import Steps
from langchain_amulet.engine.backends.huggingface.causal_lm import CausalLM
from langchain_amulet.errors import GenerationError


class LibraryBeams:
    """`Beams` of a Hugging Face model.

    Args:
        lm: The model.
        prompt: What all beams begin with.
        chunk: How many tokens of the prompt are read in one pass.
    """

    def __init__(self, lm: CausalLM, prompt: tuple[int, ...], chunk: int) -> None:
        """Read nothing yet."""
        self._lm, self._prompt, self._chunk = lm, prompt, chunk
        self._cache: Any = None
        self._length = len(prompt)

    def begin(self) -> Steps[Tensor]:
        """Read the prompt into one row.

        Raises:
            GenerationError: The model's cache can't be reordered.
        """
        logits, self._cache = yield from self._lm.read(self._prompt, 1, self._chunk)
        if not hasattr(self._cache, "reorder_cache"):
            raise GenerationError(
                "Beam search needs a model whose cache the library can reorder, but that of "
                f"{type(self._lm.model).__name__} can't be: draw samples and choose among them."
            )
        return logits

    def extend(self, parents: Sequence[int], tokens: Sequence[int]) -> Steps[Tensor]:
        """Put copies of the parents' rows in the place of all rows, and feed them."""
        device = self._lm.device
        self._cache.reorder_cache(torch.tensor(parents, device=device))
        step, self._cache = self._lm.next_logits(
            torch.tensor(tokens, device=device)[:, None],
            torch.full((len(tokens), 1), self._length, device=device),
            self._cache,
        )
        self._length += 1
        yield
        return step.logits
