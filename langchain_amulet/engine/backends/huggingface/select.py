"""Which backend a model gets, found out by trying rather than by its name.

First by features: a model whose own cache holds anything but keys and values per position, or that
calls itself stateful, can't be rows of one KV cache, and neither can one whose attention takes
other masks. Then by a probe: two short prompts that share a prefix go through the backend, prefill,
join and decode steps included, with the model's attention windows shrunk so that they are passed,
and must give the logits of plain forward passes without any cache. What the fast backend fails is
tried with the slow one; what fails there too can't run. The fast one is tried with an attention of
its own first, where there is one for the model, and else with the model's.

Knows backends and models. Doesn't know requests, sampling or callers.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from langchain_amulet.engine.backends.base import Backend, LoadedModel, Prompts
from langchain_amulet.engine.backends.huggingface.attention_masks import narrow_windows
from langchain_amulet.engine.backends.huggingface.backend import HuggingFaceBackend
from langchain_amulet.engine.backends.huggingface.batched import BatchedBackend
from langchain_amulet.engine.backends.huggingface.causal_lm import CausalLM
from langchain_amulet.engine.backends.huggingface.compilation import NAME as COMPILED
from langchain_amulet.engine.backends.huggingface.prompt_attention import (
    NAME,
    REPLACED,
    use_library_attention,
    use_prompt_attention,
)
from langchain_amulet.engine.backends.huggingface.sequential import SequentialBackend
from langchain_amulet.errors import ConfigurationError, UnsupportedModelError

logger = logging.getLogger(__name__)

AUTO = "auto"
"""The name that stands for the fastest backend which can run a model."""

FASTEST_FIRST: tuple[type[HuggingFaceBackend], ...] = (BatchedBackend, SequentialBackend)
"""All backends over the library's models."""

WINDOW = 4
"""What attention windows are shrunk to for the probe."""

STEPS = 3
"""How many steps the probe decodes."""

BATCHED_ATTENTIONS = frozenset({"eager", "sdpa"})
"""The attentions that the batched backend's masks are made for. Others read a mask of that kind as
something else: flex attention takes memory for it that isn't its own, which ends the process."""

OWN = frozenset({NAME, COMPILED})
"""The package's own attentions, which take the same masks."""

PROBE_CHUNK = WINDOW + 2
"""How many prompt tokens the probe's passes may have: fewer than a prompt, as a beginning has the
model's own mask and only what comes after it those of the backend; and more than a window."""


def select_backend(model: LoadedModel, lm: CausalLM, name: str = AUTO) -> type[HuggingFaceBackend]:
    """The fastest backend that gives the model's own logits.

    Args:
        model: The model.
        lm: The same for forward passes.
        name: The one backend to try; ``"auto"`` for all.

    Raises:
        ConfigurationError: There is no backend of that name.
        UnsupportedModelError: None can run the model.
    """
    kind, reasons = type(lm.model).__name__, list[str]()
    for backend in _candidates(name):
        reason = _mismatch_by_best_attention(model, lm, backend)
        if reason is None:
            logger.info("The %s backend repeats the logits of %s", backend.name, kind)
            return backend
        logger.info("The %s backend can't run %s: it %s", backend.name, kind, reason)
        reasons.append(f"the {backend.name} backend {reason}")
    raise UnsupportedModelError(
        f"{kind} can't be decoded: cached decoding must repeat a model's "
        f"uncached logits, but {'; '.join(reasons)}. Use a decoder-only model whose cache "
        f"transformers supports{'' if name == AUTO else ', or backend=' + repr(AUTO)}."
    )


def keeps_only_keys_and_values(lm: CausalLM) -> bool:
    """Whether the library's own cache for this model is nothing but attention layers."""
    if getattr(lm.model, "_is_stateful", False) or lm.signature.cache == "cache_params":
        return False
    try:
        layers = DynamicCache(config=lm.model.config).layers
    except Exception:  # a config that the library has no plain cache for
        return False
    return all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in layers)


def attentions(lm: CausalLM) -> frozenset[str]:
    """By what the model and its parts compute attention, by the library's names for it."""
    configs = (getattr(module, "config", None) for module in lm.model.modules())
    named = {getattr(config, "_attn_implementation", None) for config in configs}
    return frozenset(str(name) for name in named if name is not None)


def _candidates(name: str) -> Sequence[type[HuggingFaceBackend]]:
    if name == AUTO:
        return FASTEST_FIRST
    named = [backend for backend in FASTEST_FIRST if backend.name == name]
    if not named:
        known = ", ".join([AUTO, *(backend.name for backend in FASTEST_FIRST)])
        raise ConfigurationError(
            f"A Hugging Face model's backend must be one of {known}, not {name!r}: use one of "
            "those."
        )
    return named


def _mismatch_by_best_attention(
    model: LoadedModel, lm: CausalLM, backend: type[HuggingFaceBackend]
) -> str | None:
    """The same as `_mismatch`; the model is left with the quickest attention that has none."""
    is_replaceable = attentions(lm) in ({REPLACED}, {NAME}) and lm.device.type == "cpu"
    if backend is BatchedBackend and is_replaceable:
        try:
            use_prompt_attention(lm.model)
        except Exception as error:  # a model of somebody's own that has no such choice
            logger.info("%s keeps its attention: %s", type(lm.model).__name__, error)
            return _mismatch(model, lm, backend)
        if _mismatch(model, lm, backend) is None:
            return None
        use_library_attention(lm.model)
    return _mismatch(model, lm, backend)


def _mismatch(model: LoadedModel, lm: CausalLM, backend: type[HuggingFaceBackend]) -> str | None:
    """What a backend does wrong with the model, or ``None`` if it can run it."""
    if backend is BatchedBackend and not keeps_only_keys_and_values(lm):
        return "needs a cache of nothing but keys and values"
    # Before the probe, as what it would find out may be that the process is gone.
    if backend is BatchedBackend and not (used := attentions(lm) - OWN) <= BATCHED_ATTENTIONS:
        known, odd = sorted(BATCHED_ATTENTIONS), sorted(used - BATCHED_ATTENTIONS)
        return f"computes attention by {' or '.join(known)}, not by {', '.join(odd)}"
    prompts = _probe_prompts(lm)
    with torch.inference_mode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with narrow_windows(lm.config, WINDOW):
                got = _decoded(backend(model, lm, len(prompts), PROBE_CHUNK), prompts)
                expected = _uncached(lm, prompts)
        except Exception as error:
            return f"raised {type(error).__name__}: {error}"
    distance = _distance(got, expected)
    if distance <= _tolerance(lm.dtype):
        return None
    return f"is off by {distance:.2g} of the logits' spread"


def _probe_prompts(lm: CausalLM) -> Prompts:
    """Two prompts with a common start and unlike ends, each longer than two windows."""
    # Tokens that differ from place to place: among equal ones a misplaced one would go unseen.
    size = lm.config.vocab_size
    body = tuple((7 * i * i + 3 * i + 5) % size for i in range(2 * WINDOW + 1))
    return ((*body, 1 % size, 3 % size, 4 % size, 2 % size), (*body, 2 % size))


def _decoded(backend: Backend, prompts: Prompts) -> Tensor:
    """Logits ``[steps, streams, logits_width]`` of a fixed continuation, through the backend."""
    slot, logits = backend.join(prompts, STEPS), []
    while not slot.is_prefilled:
        for error in backend.prefill().values():
            raise error
    backend.start(slot)
    for step in range(STEPS):
        logits.append(backend.decode().logits[slot.rows])
        slot.feed(step + 1)
    backend.leave(slot)
    return torch.stack(logits)


def _uncached(lm: CausalLM, prompts: Prompts) -> Tensor:
    """The same logits by whole forward passes, as the library itself gives them."""
    logits = [
        torch.cat([_plain(lm, (*prompt, *range(1, step + 1))) for prompt in prompts])
        for step in range(STEPS)
    ]
    return torch.stack(logits)


def _plain(lm: CausalLM, tokens: tuple[int, ...]) -> Tensor:
    output = lm.model(input_ids=torch.tensor([tokens], device=lm.device), use_cache=False)
    logits: Tensor = output.logits[:, -1].float()
    return logits


def _distance(got: Tensor, expected: Tensor) -> float:
    """Median over steps and streams of the error's size against the logits' spread."""
    spread = (expected - expected.mean(-1, keepdim=True)).norm(dim=-1)
    return float(((got - expected).norm(dim=-1) / spread.clamp(min=1e-9)).median())


def _tolerance(dtype: torch.dtype) -> float:
    return 1e-4 if dtype == torch.float32 else 0.1
