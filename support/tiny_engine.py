"""A tiny model of an engine's own, with a token that poisons, and requests to it."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from transformers import PhiConfig, PhiForCausalLM

from langchain_amulet.engine import Engine, Request
from langchain_amulet.sampling import SamplingParams
from langchain_amulet.steering import Contrast, Plan, Plausibility, Stream

VOCABULARY, CONTEXT = 128, 4096
POISON = VOCABULARY - 1
AMULET = Plan(
    streams=(Stream((0,)), Stream()),
    anchor=0,
    contrasts=(Contrast(4.6487, 0, 1),),
    reference=((0, 1.0),),
    mask=Plausibility(0.1),
)
PLAIN = Plan.plain()
ENDLESS = 4000
"""More tokens than a test waits for."""


def vivid(model: Any) -> Any:
    """The model with weights far from their tiny defaults, so that attention matters."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4.0)
    return model.eval()


def poisonable_phi(vocabulary: int = VOCABULARY, context: int = CONTEXT) -> Any:
    """A random Phi whose last token makes all that follows NaN, and is never chosen."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    config = PhiConfig(vocab_size=vocabulary, max_position_embeddings=context, **shape, **heads)
    model = vivid(PhiForCausalLM(config))
    with torch.no_grad():
        model.model.embed_tokens.weight[-1] = math.nan
        model.lm_head.bias[-1] = -1e4
    return model


def request_for(
    seed: int = 0, max_tokens: int = 8, plan: Plan = AMULET, length: int = 12, **more: Any
) -> Request:
    """A request with prompts that begin alike and draws of its own, both by the seed."""
    generator = torch.Generator().manual_seed(seed)
    ids = tuple(torch.randint(3, POISON, (length,), generator=generator).tolist())
    prompts = tuple((*ids, 5, 6, 9) if stream.preferences else (*ids, 9) for stream in plan.streams)
    sampling = more.pop("sampling", SamplingParams(seed=seed))
    return Request(prompts, plan, sampling, max_tokens, **more)


def poisoned(request: Request) -> Request:
    """The same request with prompts that end with `POISON`."""
    return replace(request, prompts=tuple((*p[:-1], POISON) for p in request.prompts))


def ids_of(engine: Engine, request: Request) -> list[int]:
    """The answer's tokens."""
    return [token.id for token in engine.submit(request)]


def wait_until(holds: Callable[[], object], seconds: float = 20.0) -> None:
    """Look again and again until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.002)
