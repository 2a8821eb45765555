"""Whether what was loaded is the model that was saved: every tensor there, and the right tokenizer.

A library fills layers without weights with random numbers, leaves layers out for which its config
has no place, and reads any tokenizer beside any model. All three answer, fluently and wrongly.

Knows what transformers reports of a load. Doesn't know files, devices or requests.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from torch import nn

from langchain_amulet.errors import UnsupportedModelError

NAMED = 4
"""How many tensors a message names."""

PLACE = re.compile(r"\.\d+\.")
"""The number of a layer in a tensor's name."""


def check_weights(model_id: str, model: nn.Module, report: Mapping[str, Any]) -> None:
    """Refuse a model of which a part wasn't loaded.

    Tied weights and what the model's class declares to be optional are no part of the report.

    Args:
        model_id: Its name, for the message.
        model: The model.
        report: What ``from_pretrained`` gives for ``output_loading_info=True``.

    Raises:
        UnsupportedModelError: Tensors are missing or have another shape than the config says, or
            there are more layers than it says.
    """
    mismatched = sorted(str(next(iter(key))) for key in report.get("mismatched_keys") or ())
    found = {
        "lacks": sorted(report.get("missing_keys") or ()),
        "has another shape in": mismatched,
        "has no place in its config for": _leftover(model, report.get("unexpected_keys") or ()),
        "couldn't be read in": [str(each) for each in report.get("error_msgs") or ()],
    }
    wrong = [f"{what} {_named(names)}" for what, names in found.items() if names]
    if wrong:
        raise UnsupportedModelError(
            f"A model's weights must be whole and those of its config, but {model_id!r} "
            f"{', and '.join(wrong)}. Fetch its files again, or mend its config: what is missing "
            "would be random numbers."
        )


def check_tokenizer(model_id: str, tokenizer: Any, rows: int) -> None:
    """Refuse a tokenizer that can't be the model's.

    Args:
        model_id: The model's name, for the message.
        tokenizer: Its tokenizer.
        rows: For how many token ids the model has an embedding.

    Raises:
        UnsupportedModelError: It has no tokens, or more than the model. Tokens that were added to
            it don't count, as text models are published with those of their relatives that see.
    """
    size = tokenizer.vocab_size
    if not 0 < size <= rows:
        raise UnsupportedModelError(
            f"A model's tokenizer must have tokens, and no more than the model has embeddings for, "
            f"but that of {model_id!r} has {size} for {rows}: put the model's own tokenizer files "
            "beside its weights."
        )


def _leftover(model: nn.Module, names: Collection[str]) -> list[str]:
    """Tensors of layers like those that the model has, and biases of its layers.

    What else is left over isn't the language model's: images' encoders, say.
    """
    modules = dict(model.named_modules())
    own = {PLACE.sub(".N.", name) for name in model.state_dict()}

    def belongs(name: str) -> bool:
        module = modules.get(name.removesuffix(".bias")) if name.endswith(".bias") else None
        return getattr(module, "bias", 0) is None or PLACE.sub(".N.", name) in own

    return sorted(filter(belongs, names))


def _named(names: Collection[str]) -> str:
    shown = ", ".join(list(names)[:NAMED])
    return shown if len(names) <= NAMED else f"{shown} and {len(names) - NAMED} more"
