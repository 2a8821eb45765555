"""A Hugging Face causal language model, called by whatever names its ``forward`` has.

What a model's forward can be told, and what its config says, is read once, here.

Knows the models of transformers. Doesn't know requests, prompts or queues.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from langchain_amulet.engine.backends.base import CandidateQuery, StepLogits, Steps
from langchain_amulet.engine.backends.huggingface.compilation import compile_layers
from langchain_amulet.engine.backends.huggingface.lm_head import LMHead
from langchain_amulet.engine.backends.huggingface.substitute import Substitute
from langchain_amulet.engine.loading.model_info import context_length

CACHE_NAMES = ("cache", "cache_params", "past_key_values")
"""What a forward may call the cache that it takes and gives: transformers 5.24 began to rename the
last two to the first, and from 5.40 on knows that one only."""

KEPT = ("keys", "values")
"""What a layer of the library's own cache calls what it keeps."""


@dataclass(frozen=True)
class ForwardSignature:
    """What a model's ``forward`` can be told.

    Attributes:
        cache: The name of its cache, as an argument and in what it returns.
        takes_position_ids: Whether positions can be given.
        takes_logits_to_keep: Whether it can be told how many positions' logits are wanted.
    """

    cache: str
    takes_position_ids: bool
    takes_logits_to_keep: bool

    @classmethod
    def of(cls, module: nn.Module) -> ForwardSignature:
        """Read off a module."""
        names = inspect.signature(module.forward).parameters
        return cls(
            cache=next((name for name in CACHE_NAMES if name in names), CACHE_NAMES[-1]),
            takes_position_ids="position_ids" in names,
            takes_logits_to_keep="logits_to_keep" in names,
        )


class CausalLM:
    """Forward passes of a causal language model.

    Attributes:
        model: The model itself, in evaluation mode.
        config: The config of its text part.
        body: All of it but its head.
        head: Its output embedding.
        context_length: The most positions it has; None for no limit.
        is_compiled: Whether its layers are compiled for decode steps.
    """

    def __init__(self, model: Any) -> None:
        """Read off what the model can be told; nothing is computed."""
        self.model = model
        self.config = model.config.get_text_config(decoder=True)
        self.head = LMHead(model.get_output_embeddings())
        self.context_length = context_length(model.config)
        self.signature = ForwardSignature.of(model)
        self.body: nn.Module = model.base_model
        self._body_signature = ForwardSignature.of(self.body)
        self.is_compiled = False

    def compile(self) -> None:
        """Have its layers compiled for decode steps, see ``compilation``."""
        if not self.is_compiled:
            compile_layers(self.model, self.body, self.config.num_hidden_layers)
            self.is_compiled = True

    @cached_property
    def substitute(self) -> Substitute:
        """What can stand in for the body; there from its first use on."""
        return Substitute(self.body)

    @cached_property
    def calls_body(self) -> bool:
        """Whether a forward pass has the body computed by one call, as feeding one token shows."""
        zero = torch.zeros((1, 1), dtype=torch.long, device=self.device)
        with torch.inference_mode():
            output = self.fill(zero, zero, None, None)
            with self.substitute.by(output) as usage:
                self.model(**self._inputs(self.signature, zero, zero, None, None))
        return usage.is_used and hasattr(output, "last_hidden_state")

    @property
    def device(self) -> torch.device:
        """Where its inputs belong."""
        device: torch.device = self.model.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """What it computes in."""
        dtype: torch.dtype = self.model.dtype
        return dtype

    @cached_property
    def bytes_per_token(self) -> int:
        """Bytes of keys and values of one position, as feeding one token shows them."""
        cache = DynamicCache(config=self.model.config)
        zero = torch.zeros((1, 1), dtype=torch.long, device=self.device)
        with torch.inference_mode():
            self.fill(zero, zero, cache, None)
        kept = (getattr(layer, name, None) for layer in cache.layers for name in KEPT)
        return sum(each.nbytes for each in kept if isinstance(each, Tensor))

    def next_logits(
        self,
        tokens: Tensor,
        positions: Tensor,
        cache: Any,
        masks: Any = None,
        queries: Sequence[CandidateQuery] = (),
        exact_ids: Sequence[Tensor] = (),
    ) -> tuple[StepLogits, Any]:
        """Feed tokens, and get what follows the last one of each row.

        Args:
            tokens: ``[rows, tokens]``.
            positions: Where they are in their rows, ``[rows, tokens]``.
            cache: What was fed before, as the model has it; None for nothing.
            masks: As the model takes them; None for the plain causal one.
            queries: See ``Backend.decode``.
            exact_ids: See ``Backend.decode``.

        Returns:
            The logits, ``[rows, logits_width]``, and the cache with the tokens in it.
        """
        inputs = self._inputs(self.signature, tokens, positions, cache, masks)
        with self.head.refined(queries, exact_ids) as refined:
            output = self.model(**inputs, **self._last(1))
        logits = StepLogits(output.logits[:, -1].float(), refined.candidates)
        return logits, getattr(output, self.signature.cache, None)

    def logits_of(
        self,
        output: Any,
        tokens: Tensor,
        positions: Tensor,
        queries: Sequence[CandidateQuery] = (),
        exact_ids: Sequence[Tensor] = (),
    ) -> StepLogits:
        """The same, where the body's output is there already; only if the model `calls_body`."""
        with self.substitute.by(output):
            return self.next_logits(tokens, positions, None, None, queries, exact_ids)[0]

    def fill(self, tokens: Tensor, positions: Tensor, cache: Any, masks: Any) -> Any:
        """Put tokens into the cache; no logits are computed. The arguments are as before.

        Returns:
            What the body gives.
        """
        return self.body(**self._inputs(self._body_signature, tokens, positions, cache, masks))

    def read(self, tokens: Sequence[int], last: int, chunk: int) -> Steps[tuple[Tensor, Any]]:
        """Read one sequence, so many tokens in a step.

        Args:
            tokens: Token ids.
            last: At how many places, counted from the end, it is asked what follows.
            chunk: The most tokens in one pass.

        Returns:
            Steps to the logits ``[last, logits_width]``, all precise in float32, and to the cache
            with the tokens in it, as the model has it.
        """
        found: list[Tensor] = []
        cache: Any = None
        for start in range(0, len(tokens), chunk):
            part = tokens[start : start + chunk]
            end = start + len(part)
            asked = min(len(part), end + last - len(tokens))  # below 1 for none of the part
            ids = torch.tensor([part], device=self.device)
            positions = torch.arange(start, end, device=self.device)[None]
            inputs = self._inputs(self.signature, ids, positions, cache, None)
            # Within a step, as others use the head between two of them.
            with self.head.exact():
                output = self.model(**inputs, **self._last(max(asked, 1)))
            cache = getattr(output, self.signature.cache, None)
            if asked > 0:
                found.append(output.logits[0, -asked:].float())
            yield
        return torch.cat(found), cache

    def _inputs(
        self, signature: ForwardSignature, tokens: Tensor, positions: Tensor, cache: Any, masks: Any
    ) -> dict[str, Any]:
        inputs = {"input_ids": tokens, signature.cache: cache, "use_cache": True}
        if masks is not None:
            inputs["attention_mask"] = masks
        if signature.takes_position_ids:
            # Padding may run past the last position that the model has an embedding for.
            last = None if self.context_length is None else self.context_length - 1
            inputs["position_ids"] = positions if last is None else positions.clamp(max=last)
        return inputs

    def _last(self, count: int) -> dict[str, int]:
        """How to say that logits are wanted of so many positions only."""
        return {"logits_to_keep": count} if self.signature.takes_logits_to_keep else {}
