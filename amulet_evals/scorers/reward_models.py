"""Reward models: loaded, shown a conversation, and read head by head.

A model is shown the conversation through its own chat template, whole or not at all: what is too
long for it gets no reward, and never that of its beginning.

This module knows transformers' sequence classifiers: nothing of answers, scores or files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from langchain_amulet.chat_formats.chat_template import ChatTemplate
from langchain_amulet.engine.loading.hub import resolve_model
from langchain_amulet.engine.loading.loader import default_dtype, device_of
from langchain_amulet.errors import ModelNotFoundError, RequestError, UnsupportedModelError

ARMO = "LlamaForRewardModelWithGating"
"""The architecture of RLHFlow/ArmoRM-Llama3-8B-v0.1: a Llama with 19 heads, and a gate on top."""

ARMO_OBJECTIVES = (
    "helpsteer-helpfulness", "helpsteer-correctness", "helpsteer-coherence",
    "helpsteer-complexity", "helpsteer-verbosity", "ultrafeedback-overall_score",
    "ultrafeedback-instruction_following", "ultrafeedback-truthfulness", "ultrafeedback-honesty",
    "ultrafeedback-helpfulness", "beavertails-is_safe", "prometheus-score",
    "argilla-overall_quality", "argilla-judge_lm", "code-complexity", "code-style",
    "code-explanation", "code-instruction-following", "code-readability",
)  # fmt: skip
"""Its heads, in the order of its model card."""

ARMO_KEYS: Mapping[str, str] = MappingProxyType({r"^regression_layer\.": "score."})
"""Where the library looks for the heads. The gate, which mixes them, isn't loaded: each is read."""

UNBOUNDED = 10**9
"""Tokenizers that know no limit say a number beyond this."""

Encoding = Mapping[str, Sequence[int]]
"""What a model reads: ``input_ids``, and with some ``token_type_ids``."""


def read_config(model: str) -> Any:
    """A reward model's config, which needs no weights.

    Raises:
        ModelNotFoundError: There is no such model.
        UnsupportedModelError: The installed transformers don't know its architecture.
    """
    try:
        config = AutoConfig.from_pretrained(resolve_model(model))
    except OSError as error:
        raise ModelNotFoundError(_not_found(model, error)) from error
    except ValueError as error:
        raise UnsupportedModelError(_unsupported(model, str(error))) from error
    if _is_armo(config):
        config.num_labels = len(ARMO_OBJECTIVES)
    return config


def heads(config: Any) -> tuple[str, ...]:
    """Names of a reward model's heads in their order; their indices where they have none."""
    if _is_armo(config):
        return ARMO_OBJECTIVES
    labels = [str(config.id2label[at]) for at in range(config.num_labels)]
    unnamed = all(label == f"LABEL_{at}" for at, label in enumerate(labels))
    return tuple(map(str, range(len(labels)))) if unnamed else tuple(labels)


def load(model: str, config: Any, device: str | None, dtype: str | None) -> RewardModel:
    """A reward model with its weights.

    Args:
        model: Its name.
        config: Its config, see `read_config`.
        device: Such as "cuda:0"; None for a GPU if there is one.
        dtype: Such as "bfloat16"; None for the default, as of chat models.

    Raises:
        ModelNotFoundError: There are no weights.
        UnsupportedModelError: The weights have no head to read a reward from.
        ConfigurationError: There is no such device.
    """
    place = device_of(device)
    try:
        loaded, info = AutoModelForSequenceClassification.from_pretrained(
            resolve_model(model),
            config=config,
            dtype=getattr(torch, dtype) if dtype else default_dtype(place) or "auto",
            key_mapping=dict(ARMO_KEYS) if _is_armo(config) else None,
            use_safetensors=True,
            output_loading_info=True,
        )
        tokenizer: Any = AutoTokenizer.from_pretrained(resolve_model(model))
    except OSError as error:
        raise ModelNotFoundError(_not_found(model, error)) from error
    except ValueError as error:
        raise UnsupportedModelError(_unsupported(model, str(error))) from error
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"])[:3])
        raise UnsupportedModelError(_unsupported(model, f"its weights lack {missing}"))
    limits = (tokenizer.model_max_length, _positions(config))
    return RewardModel(
        model=loaded.to(place).eval(),
        tokenizer=tokenizer,
        template=ChatTemplate(tokenizer) if tokenizer.chat_template else None,
        limit=min((limit for limit in limits if limit and limit < UNBOUNDED), default=None),
    )


@dataclass(frozen=True)
class RewardModel:
    """A loaded reward model.

    Attributes:
        model: The weights.
        tokenizer: Their tokenizer.
        template: Its chat template; None for models that read a question and an answer as a pair.
        limit: The most tokens that it can read; None if unknown.
    """

    model: Any
    tokenizer: Any
    template: ChatTemplate | None
    limit: int | None

    def encode(self, question: str, answer: str) -> Encoding:
        """The conversation as the model reads it.

        Raises:
            RequestError: It doesn't fit, or its text can't be kept apart from control tokens.
        """
        if self.template is None:
            pair = self.tokenizer(question, answer, split_special_tokens=True, verbose=False)
            encoding = {
                name: pair[name] for name in ("input_ids", "token_type_ids") if name in pair
            }
        else:
            conversation = [
                {"role": "user", "content": question},
                {"role": "assistant", "content": answer},
            ]
            encoding = {"input_ids": self.template.encode(conversation, prompting=False)}
        size = len(encoding["input_ids"])
        if self.limit is not None and size > self.limit:
            raise RequestError(
                f"Question and answer must fit the reward model's {self.limit} tokens, but have "
                f"{size}: they are never cut, so there is no reward."
            )
        return encoding

    def rewards(self, batch: Sequence[Encoding]) -> Tensor:
        """What every head says of each: ``[conversations, heads]``, float32, on the CPU."""
        pad = _pad(batch, self.tokenizer.pad_token_id)
        # The library takes a reward from the last token that isn't this one.
        self.model.config.get_text_config().pad_token_id = pad
        seen = [{**each, "attention_mask": [1] * len(each["input_ids"])} for each in batch]
        inputs = {
            name: _rectangle([each[name] for each in seen], pad if name == "input_ids" else 0)
            for name in seen[0]
        }
        with torch.inference_mode():
            on_device = {name: tensor.to(self.model.device) for name, tensor in inputs.items()}
            logits: Tensor = self.model(**on_device).logits
        return logits.float().cpu()


def _rectangle(rows: Sequence[Sequence[int]], fill: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])


def _pad(batch: Sequence[Encoding], own: int | None) -> int:
    """A token to fill up with that no conversation holds: where one ends must be unmistakable.

    Many tokenizers pad with the very token that ends a turn.
    """
    used = {token for encoding in batch for token in encoding["input_ids"]}
    if own is not None and own not in used:
        return own
    return next(token for token in count() if token not in used)


def _positions(config: Any) -> int | None:
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def _is_armo(config: Any) -> bool:
    return ARMO in (config.architectures or ())


def _not_found(model: str, error: OSError) -> str:
    return (
        "A reward model must be a folder or Hub repository with a config, a tokenizer and "
        f"safetensors weights, but {model!r} isn't: {str(error).rstrip('.')}. Check the name and "
        "the access rights."
    )


def _unsupported(model: str, why: str) -> str:
    return (
        "A reward model must be one that AutoModelForSequenceClassification loads without code of "
        f"its own, but {model!r} isn't: {why.rstrip('.')}. Use another model."
    )
