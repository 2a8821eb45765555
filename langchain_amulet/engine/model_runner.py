"""One model in an engine: the backend that runs it and the watch on its head.

Knows a model and its limits. Doesn't know requests, nor the other models beside it.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from langchain_amulet.engine.backends.base import Backend
from langchain_amulet.engine.backends.lm_head import CandidateQuery, LMHead
from langchain_amulet.engine.loading.model_info import context_length, logits_width
from langchain_amulet.errors import ContextLengthError, RequestError


@dataclass(frozen=True)
class StepLogprobs:
    """What a forward pass gave.

    Attributes:
        logprobs: Normalised, of every row, ``[rows, vocabulary]``, float32.
        candidates: The best token ids of each scout, ``[scouts, k]``, if they were sought.
    """

    logprobs: Tensor
    candidates: Tensor | None


class ModelRunner:
    """A model as an engine runs it.

    Attributes:
        model: The causal language model.
        backend: Its rows.
        head: Watches its output embedding, until the member is collected.
        context_length: The most positions it has; ``None`` for no limit.
        vocabulary: How many tokens it can be fed.
        width: How many logits it gives, padding included.
    """

    def __init__(self, model: Any, backend: Backend) -> None:
        """Watch the model's head; nothing is computed yet."""
        self.model, self.backend = model, backend
        self.head = LMHead(model.get_output_embeddings())
        self.context_length = context_length(model.config)
        self.vocabulary = int(model.get_input_embeddings().num_embeddings)
        self.width = logits_width(model)
        weakref.finalize(self, self.head.detach).atexit = False

    def decode(
        self, scouts: Sequence[CandidateQuery], others: Sequence[Tensor] = ()
    ) -> StepLogprobs:
        """One step of its started seats.

        Args:
            scouts: What will be chosen from; where a step is several passes, each row by itself.
            others: Token ids that matter besides, ``[ids]`` each, on any device.
        """
        together = self.backend.in_one_pass
        ids = torch.cat([each.to(self.model.device) for each in others]) if others else None

        def watched(forward: Callable[[], Tensor]) -> Tensor:
            with self.head.watch(scouts if together else None, ids):
                return forward()

        logits = self.backend.decode(watched)
        # In place, as this is the largest tensor of a step, and new memory is slow to come by.
        logprobs = torch.log_softmax(logits, -1, out=logits)
        return StepLogprobs(logprobs, self.head.candidates if together else None)

    def check(self, prompt: Sequence[int], length: int) -> None:
        """Refuse a prompt that the model can't be fed, or not with ``length`` more tokens.

        Raises:
            ContextLengthError: The prompt and ``length`` exceed its context.
            RequestError: It lacks a token id.
        """
        if not 0 <= min(prompt) <= max(prompt) < self.vocabulary:
            raise RequestError(
                f"Token ids must lie in [0, {self.vocabulary}), the model's vocabulary, but "
                f"a prompt spans [{min(prompt)}, {max(prompt)}]. Use the model's tokenizer."
            )
        wanted = len(prompt) + length
        if self.context_length is not None and wanted > self.context_length:
            raise ContextLengthError(
                f"Prompt and answer must fit the model's context of {self.context_length} tokens, "
                f"but {len(prompt)} + {length} is {wanted}. Shorten the conversation or lower "
                "max_tokens."
            )
