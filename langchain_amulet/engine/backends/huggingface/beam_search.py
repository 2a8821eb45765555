"""Beam search by the library's own ``generate``.

Knows token ids and a model. Doesn't know text, or who else uses the model: nobody does meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig, StoppingCriteria, StoppingCriteriaList

from langchain_amulet.engine.backends.base import BeamParams
from langchain_amulet.errors import AmuletError, GenerationError


def beam_search(
    model: Any, prompt: Sequence[int], params: BeamParams, on_step: Callable[[], None]
) -> list[int]:
    """The tokens of the likeliest answer found, its stop token and padding after it included.

    Raises:
        GenerationError: The library can't search with this model.
    """
    config = GenerationConfig(  # type: ignore[no-untyped-call]
        num_beams=params.beams,
        length_penalty=params.length_penalty,
        max_new_tokens=params.max_tokens,
        eos_token_id=sorted(params.stop_ids) or None,
        pad_token_id=min(params.stop_ids, default=0),
    )
    ids = torch.tensor([[*prompt]], device=model.device)
    try:
        with _without_own_settings(model):
            found = model.generate(
                ids,
                attention_mask=torch.ones_like(ids),
                generation_config=config,
                stopping_criteria=StoppingCriteriaList([_EveryStep(on_step)]),
            )
    except AmuletError:
        raise
    except Exception as error:
        raise GenerationError(
            f"Beam search with {type(model).__name__} failed in the library: "
            f"{type(error).__name__}: {error}. Use fewer beams, or another method."
        ) from error
    return [int(token) for token in found[0, ids.shape[1] :]]


class _EveryStep(StoppingCriteria):
    """Stops no beam; calls a function, which may raise to end the whole search."""

    def __init__(self, on_step: Callable[[], None]) -> None:
        self._on_step = on_step

    def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
        self._on_step()
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


@contextmanager
def _without_own_settings(model: Any) -> Iterator[None]:
    """Keep the model's own settings, such as a penalty, from filling up what is asked."""
    own = model.generation_config
    model.generation_config = GenerationConfig()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        model.generation_config = own
