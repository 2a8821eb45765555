"""What a row's sampling parameters say of the group that it belongs to.

Knows vLLM's parameters and the wire. Doesn't know rows, schedulers or models.
"""

from __future__ import annotations

from functools import lru_cache

from vllm import SamplingParams

from langchain_amulet.engine.remote.request_wire import ARGUMENT, GroupSpec, read
from langchain_amulet.errors import RequestError

PLAIN = SamplingParams()

KEPT = 256
"""How many texts are kept as they were read, each of which may have a long grammar in it."""


def group_of(params: SamplingParams | None) -> GroupSpec | None:
    """The group of a row; None for one that decodes by itself, as nobody asked for steering.

    Raises:
        RequestError: What it was asked can't be read.
    """
    arguments = (params and params.extra_args) or {}
    if ARGUMENT not in arguments:
        return None
    text = arguments[ARGUMENT]
    return _read(text) if isinstance(text, str) else read(text)


def check(params: SamplingParams) -> None:
    """Refuse parameters by which vLLM would end rows, or choose their tokens, one by one.

    Raises:
        RequestError: There are some, or what the row was asked can't be read.
    """
    spec = group_of(params)
    if spec is None:
        return
    wanted = {
        "temperature": 0.0,
        "max_tokens": spec.max_tokens,
        "ignore_eos": True,
        "stop_token_ids": sorted(spec.stop_ids),
    }
    others = (
        "n", "presence_penalty", "frequency_penalty", "repetition_penalty", "stop", "min_tokens",
        "bad_words", "logit_bias", "allowed_token_ids", "structured_outputs", "prompt_logprobs",
        "thinking_token_budget", "repetition_detection",
    )  # fmt: skip
    wanted |= {name: getattr(PLAIN, name) for name in others}
    for name, value in wanted.items():
        given = getattr(params, name)
        if _plain(given) != _plain(value):
            raise RequestError(
                f"Rows that decode together are drawn and ended together, so {name} must be "
                f"{value!r} in what vLLM is asked, not {given!r}: say it in {ARGUMENT!r} alone."
            )
    if params.logprobs is None:
        raise RequestError(
            "What came of steering is told by log-probabilities, so logprobs must be a number in "
            "what vLLM is asked, not None: use 0 for none but the token's."
        )


def _plain(value: object) -> object:
    """A parameter without a difference between none and nothing, or in order."""
    return sorted(value) if isinstance(value, list) and value else value or None


@lru_cache(maxsize=KEPT)
def _read(text: str) -> GroupSpec:
    """Kept, as every row of a group has the same text, and several parts of the server read it."""
    return read(text)
