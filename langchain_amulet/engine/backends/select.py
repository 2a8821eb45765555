"""Which backend a model gets, found out by trying rather than by its name.

First by features: a model whose own cache holds anything but keys and values per position, or that
calls itself stateful, can't be rows of a slab. Then by a probe: two short prompts that share a
prefix go through the backend, prefill, join and decode steps included, with the model's attention
windows shrunk so that they are passed, and must give the logits of plain forward passes without
any cache. What fails on the slab is tried on the slow backend; what fails there too can't run.

Knows backends and models. Doesn't know requests, sampling or callers.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from langchain_amulet.engine.backends.attention_masks import narrow_windows
from langchain_amulet.engine.backends.base import Backend, Prompts
from langchain_amulet.engine.backends.batched import BatchedBackend
from langchain_amulet.engine.backends.sequential import SequentialBackend
from langchain_amulet.errors import UnsupportedModelError

WINDOW = 4
STEPS = 3
PROBE_CHUNK = 256


BackendFactory = Callable[[int, int], Backend]
"""Makes a backend of one model, given ``max_rows`` and ``prefill_chunk``."""


def select_backend(model: Any) -> BackendFactory:
    """The fastest backend that gives the model's own logits, to be made as often as needed.

    Raises:
        UnsupportedModelError: None does.
    """
    reasons: list[str] = []
    factories: list[BackendFactory] = [lambda rows, chunk: SequentialBackend(model)]
    if keeps_only_keys_and_values(model):
        factories.insert(0, partial(BatchedBackend, model))
    for make in factories:
        reason = _mismatch(model, make)
        if reason is None:
            return make
        reasons.append(reason)
    raise UnsupportedModelError(
        f"{type(model).__name__} can't be decoded: its cached decoding must repeat its uncached "
        f"logits, but {'; '.join(reasons)}. Use a decoder-only model whose cache transformers "
        "supports."
    )


def keeps_only_keys_and_values(model: Any) -> bool:
    """Whether the library's own cache for this model is nothing but attention layers."""
    if getattr(model, "_is_stateful", False) or "cache_params" in _parameters(model):
        return False
    try:
        layers = DynamicCache(config=model.config).layers
    except Exception:  # a config that the library has no plain cache for
        return False
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


def _mismatch(model: Any, make: BackendFactory) -> str | None:
    """Why a backend can't run the model, or ``None`` if it can."""
    prompts = _probe_prompts(model)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with narrow_windows(model.config.get_text_config(decoder=True), WINDOW):
                backend = make(len(prompts), PROBE_CHUNK)
                name = type(backend).__name__.lower()
                got = _decoded(backend, prompts)
                expected = _uncached(model, prompts)
        except Exception as error:
            return f"it raised {type(error).__name__}: {error}"
    distance = _distance(got, expected)
    if distance <= _tolerance(model):
        return None
    return f"the {name} backend is off by {distance:.2g} of the logits' spread"


def _probe_prompts(model: Any) -> Prompts:
    """Two prompts with a common start and unlike ends, each longer than two windows."""
    size = model.config.get_text_config(decoder=True).vocab_size
    body = tuple((7 * i * i + 3 * i + 5) % size for i in range(2 * WINDOW + 1))
    return ((*body, 1 % size, 3 % size, 4 % size, 2 % size), (*body, 2 % size))


def _decoded(backend: Backend, prompts: Prompts) -> Tensor:
    """Logits ``[steps, streams, vocabulary]`` of a fixed continuation, through the backend."""
    seat, logits = backend.join(prompts), []
    while not seat.is_filled:
        for error in backend.prefill().values():
            raise error
    backend.start(seat)
    for step in range(STEPS):
        logits.append(backend.decode(lambda forward: forward())[seat.rows])
        seat.push(step + 1)
    backend.leave(seat)
    return torch.stack(logits)


def _uncached(model: Any, prompts: Prompts) -> Tensor:
    """The same logits by whole forward passes."""
    logits = [
        torch.cat([_plain(model, (*prompt, *range(1, step + 1))) for prompt in prompts])
        for step in range(STEPS)
    ]
    return torch.stack(logits)


def _plain(model: Any, tokens: tuple[int, ...]) -> Tensor:
    output = model(input_ids=torch.tensor([tokens], device=model.device), use_cache=False)
    logits: Tensor = output.logits[:, -1].float()
    return logits


def _distance(got: Tensor, expected: Tensor) -> float:
    """Median over steps and streams of the error's size against the logits' spread."""
    spread = (expected - expected.mean(-1, keepdim=True)).norm(dim=-1)
    return float(((got - expected).norm(dim=-1) / spread.clamp(min=1e-9)).median())


def _tolerance(model: Any) -> float:
    return 1e-4 if model.dtype == torch.float32 else 0.1


def _parameters(model: Any) -> Any:
    return inspect.signature(model.forward).parameters
