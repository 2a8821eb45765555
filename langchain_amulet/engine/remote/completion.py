"""What vLLM's API of completions is asked for a request.

Knows vLLM's parameters and the wire of requests. Doesn't know connections or answers.
"""

from __future__ import annotations

import hmac
import secrets
from typing import Any

from langchain_amulet.engine.backends.base import CacheScope
from langchain_amulet.engine.remote.request_wire import ARGUMENT, write
from langchain_amulet.engine.request import Request


def completion(
    model: str, request: Request, tokenizer: str, api_key: str | None = None
) -> dict[str, Any]:
    """All prompts in one call, greedy, as the token is chosen by steering.

    Args:
        model: What the server calls it.
        request: What is asked.
        tokenizer: See `write`.
        api_key: What the server is shown, by which it keeps clients apart; None for nothing.

    Raises:
        RequestError: Part of it can only run in the caller's process.
        SchemaError: Its grammar is too long.
    """
    salt = _salt(request.cache_scope, api_key)
    wanted = request.sampling.top_logprobs
    return {
        "model": model,
        "prompt": [list(prompt) for prompt in request.prompts],
        "max_tokens": request.max_tokens,
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "ignore_eos": True,
        "stop_token_ids": sorted(request.stop_ids),
        "logprobs": 0 if not wanted else wanted + 1,
        "return_token_ids": True,
        "return_tokens_as_token_ids": True,
        "stream": True,
        "vllm_xargs": {ARGUMENT: write(request, tokenizer)},
        **({} if salt is None else {"cache_salt": salt}),
    }


def _salt(scope: CacheScope, api_key: str | None) -> str | None:
    """What keeps vLLM from sharing computed prompts with other scopes; None for all that share.

    The same in every process with this key. Another client of the server may know users' names,
    and would find what they asked if their salts could be made of these alone.
    """
    if not scope.keeps:
        return secrets.token_hex(16)
    if scope.name is None:
        return None
    spelled = repr(scope.name).encode("utf-8", "replace")
    return hmac.digest((api_key or "").encode(), spelled, "sha256").hex()
