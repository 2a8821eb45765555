"""How much `pocket.training.reward`'s model rewards an answer: best of 16 is the best by it.

That reward is the one which its training defines (DPO, arXiv 2305.18290, eq. 5), up to a factor
and a constant: what the answer's log-probability has gained over the model that training began
with, the preference in the prompt of both. The style's exact score isn't used to choose.

Knows two causal language models. Doesn't know how answers are found.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from langchain_core.messages import AIMessage, BaseMessage, convert_to_openai_messages
from transformers import AutoModelForCausalLM, AutoTokenizer

from langchain_amulet.engine.loading.hub import resolve_model

REWARD, BEGAN_WITH = "build/reward", "pocket"


def rewarded(
    messages: Sequence[BaseMessage], answer: AIMessage, preferences: Sequence[str]
) -> float:
    """The answer's reward in nats."""
    preference = {"role": "system", "content": "\n".join(preferences)}
    conversation = convert_to_openai_messages([*messages, AIMessage(answer.text)])
    encoded: Any = _tokenizer().apply_chat_template(
        [preference, *conversation],
        return_dict=True,
        return_assistant_tokens_mask=True,
        return_tensors="pt",
    )
    ids, is_answer = encoded["input_ids"], encoded["assistant_masks"].bool()
    return _likelihood(REWARD, ids, is_answer) - _likelihood(BEGAN_WITH, ids, is_answer)


@torch.inference_mode()
def _likelihood(name: str, ids: torch.Tensor, is_answer: torch.Tensor) -> float:
    """Log-probability of the tokens of ``ids`` ``[1, length]`` that are the answer's, in nats."""
    logprobs = _model(name)(ids).logits[:, :-1].float().log_softmax(-1)
    chosen = logprobs.gather(-1, ids[:, 1:, None])[..., 0]
    return float(chosen[is_answer[:, 1:]].sum())


@lru_cache
def _model(name: str) -> Any:
    return AutoModelForCausalLM.from_pretrained(resolve_model(name), dtype="float32")


@lru_cache
def _tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(resolve_model(BEGAN_WITH))
