"""A model's layers compiled for decode steps: few kernels instead of many around their attention.

Of a layer's step on a GPU the norms, the rotation of queries and keys, the activation and the sums
are dozens of kernels that do next to nothing. Compiled by ``torch.compile`` they are a few. What
the cache does, and attention, stay as they are, since the kernels that they have are better than
what a compiler makes of them; so do passes over prompts, which keep a device busy by themselves.

Compiling takes a while, once for one row and once for more, when the first step needs it. What
can't be compiled is computed as it was: torch logs a warning then.

Knows the modules of transformers' models. Doesn't know requests, rows, or what a cache holds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

from langchain_amulet.engine.backends.huggingface.prompt_attention import NAME as PROMPTS
from langchain_amulet.engine.backends.huggingface.prompt_attention import REPLACED, prompt_attention

NAME = "langchain_amulet_opaque"
"""What a config calls the attention that compilers don't look into."""

MOST_VARIANTS = 1024
"""Up to how many variants of one piece of a layer are compiled; torch's own limit is 8. Between the
cache and attention there is a piece without any kernel that is another one for each layer."""

SETTINGS = {
    "allow_unspec_int_on_nn_module": True,  # or the number of a layer makes each another one
    "recompile_limit": MOST_VARIANTS,
    "accumulated_recompile_limit": MOST_VARIANTS,
    "suppress_errors": True,
}
"""How torch's compiler is set while it is at work."""


class CompiledForward:
    """A layer's ``forward`` that is compiled where it is fed one token per row.

    Args:
        plain: The layer's own.
    """

    def __init__(self, plain: Callable[..., Any]) -> None:
        """Compile nothing yet."""
        self._plain, self._compiled = plain, torch.compile(plain, dynamic=True)

    def __call__(self, hidden_states: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Compute the layer for ``hidden_states`` [rows, tokens, hidden]."""
        if hidden_states.shape[1] > 1:
            return self._plain(hidden_states, *args, **kwargs)
        with torch._dynamo.config.patch(SETTINGS):
            return self._compiled(hidden_states, *args, **kwargs)


def compile_layers(model: Any, body: nn.Module, count: int) -> None:
    """Have decode steps of a model's layers compiled, when the first of them needs it.

    Args:
        model: A model of transformers, whose attention is looked into unless it is ``sdpa``, or
            what this package has in the place of that.
        body: Where its layers are.
        count: How many these are. If there are no so many in a list, nothing is compiled.
    """
    if model.config._attn_implementation in (REPLACED, PROMPTS):
        AttentionInterface.register(NAME, torch.compiler.disable(prompt_attention))  # type: ignore[no-untyped-call]
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)
    stacks = (each for each in body.modules() if isinstance(each, nn.ModuleList))
    for layer in next((stack for stack in stacks if len(stack) == count), ()):
        if not isinstance(layer.forward, CompiledForward):
            layer.forward = CompiledForward(layer.forward)


def hide_cache(cache: Any) -> None:
    """Let no compiler look into what a cache does."""
    cache.update = torch.compiler.disable(cache.update)  # type: ignore[no-untyped-call]
