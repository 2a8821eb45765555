"""How likely a given continuation is, token by token: teacher forcing.

Plain forward passes without a cache, so every model is scored alike, whatever backend decodes it.
A stream has a pass of its own: at the length of a prompt and an answer a pass is bound by
arithmetic, where a batch would only add padding.

Knows token ids and a model. Doesn't know plans, requests or where the tokens come from.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from langchain_amulet.engine.backends.lm_head import LMHead


def score(model: Any, head: LMHead, prompt: Sequence[int], continuation: Sequence[int]) -> Tensor:
    """Log-probabilities of every token at every place of a continuation.

    Args:
        model: A causal language model, used by nobody else meanwhile.
        head: The watch on its output embedding, which gives float32 logits of a bf16 model.
        prompt: What the continuation follows.
        continuation: At least one token.

    Returns:
        ``[len(continuation), vocabulary]``, float32: at ``t``, the distribution of what follows
        the prompt and the first ``t`` tokens of the continuation.
    """
    ids = torch.tensor([[*prompt, *continuation[:-1]]], device=model.device)
    length = len(continuation)
    takes = inspect.signature(model.forward).parameters
    kept = {"logits_to_keep": length} if "logits_to_keep" in takes else {}
    with head.exact():
        logits: Tensor = model(input_ids=ids, use_cache=False, **kept).logits
    return logits[0, -length:].float().log_softmax(-1)
