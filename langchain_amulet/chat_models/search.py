"""How a call's answer is found: by decoding it, or by a search among several.

This module knows methods, and drafts of answers: nothing of prompts, of LangChain's config, or of
how a method steers.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial, singledispatch
from typing import Any, cast

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk

from langchain_amulet.chat_models.call import Chunks, Draft, PreparedCall
from langchain_amulet.chat_models.ranking import Candidate, Guided, Ranking, as_ranking
from langchain_amulet.engine import BeamResult, TokenStream
from langchain_amulet.errors import RequestError
from langchain_amulet.methods import (
    BeamSearch,
    BestOf,
    GuidedReranking,
    Method,
    resolve_strength,
)
from langchain_amulet.waiting import Wait, collected, from_future


def answer(call: PreparedCall) -> Chunks:
    """The answer to a call: decoded, unless the call's method is a search.

    Raises:
        RequestError: The call can't be answered by its method.
        SchemaError: The answer can't be held to a schema that it must have.
    """
    return _answer(call.settings.method, call)


@singledispatch
def _answer(method: Method, call: PreparedCall) -> Chunks:
    return call.draft().chunks()


@_answer.register
def _(method: BestOf, call: PreparedCall) -> Chunks:
    return _best_sample(call, _drafts(call, method.n), as_ranking(method.scorer))


@_answer.register
def _(method: GuidedReranking, call: PreparedCall) -> Chunks:
    ranking = Guided(resolve_strength(method.strength))
    return _best_sample(call, _drafts(call, method.n, trace=True), ranking)


@_answer.register
def _(method: BeamSearch, call: PreparedCall) -> Chunks:
    return _beams(call.draft(), method)


def _best_sample(call: PreparedCall, drafts: Sequence[Draft], ranking: Ranking) -> Chunks:
    """The best of several answers, decoded together; it comes when all are done and ranked."""
    with ExitStack() as leaving:
        # All are submitted before the first is read, so that they share every step.
        begun = [(draft, leaving.enter_context(draft.submit())) for draft in drafts]
        candidates = []
        for draft, tokens in begun:
            chunks = yield from collected(draft.read(tokens))
            candidates.append(_candidate(call, draft, tokens, chunks))
    scores = yield Wait(partial(ranking.scores, candidates), partial(ranking.ascores, candidates))
    yield from best(candidates, scores)


def _candidate(
    call: PreparedCall, draft: Draft, tokens: TokenStream, chunks: Sequence[ChatGenerationChunk]
) -> Candidate:
    last = tokens.stop_token
    all_tokens = (*draft.response.tokens, *([] if last is None else [last]))
    return Candidate(call.messages, call.preference_texts, tuple(chunks), all_tokens)


def _beams(draft: Draft, method: BeamSearch) -> Chunks:
    """The answer that beam search finds; it comes when the search is over."""
    left = threading.Event()
    try:
        found = yield from_future(
            draft.engine.search(
                draft.request,
                method.n,
                method.length_penalty,
                is_wanted=lambda: not left.is_set(),
            )
        )
    finally:
        left.set()
    yield from _written(draft, method, found)


def _written(draft: Draft, method: BeamSearch, found: BeamResult) -> list[ChatGenerationChunk]:
    chunks: list[ChatGenerationChunk] = []
    for token in found.tokens:
        chunks += draft.response.feed(token)
        if draft.response.stopped:
            break
    *chunks, last = [*chunks, *draft.response.finish(found.finish.reason)]
    search = {"n": method.n, "scores": [found.score], "chosen": 0}
    return [*chunks, told_of_search(last, search, found.written)]


def best(candidates: Sequence[Candidate], scores: Sequence[float]) -> list[ChatGenerationChunk]:
    """The chunks of the best candidate, of several the first, with what the search was like."""
    chosen = max(range(len(candidates)), key=lambda index: scores[index])
    *chunks, last = candidates[chosen].chunks
    told = {"n": len(candidates), "scores": list(scores), "chosen": chosen}
    written = sum(_usage(candidate.chunks[-1])["output_tokens"] for candidate in candidates)
    return [*chunks, told_of_search(last, told, written)]


def told_of_search(
    last: ChatGenerationChunk, search: dict[str, Any], written: int
) -> ChatGenerationChunk:
    """An answer's last chunk, with what it cost to find it.

    Args:
        last: The chunk as the answer by itself would have it.
        search: What becomes ``response_metadata["search"]``.
        written: Tokens of all answers that were looked at.
    """
    usage = _usage(last)
    counted = {
        **usage,
        "output_tokens": written,
        "total_tokens": usage["input_tokens"] + written,
        "output_token_details": {"answer": usage["output_tokens"]},
    }
    metadata = {**last.message.response_metadata, "search": search}
    message = last.message.model_copy(
        update={"usage_metadata": counted, "response_metadata": metadata}
    )
    return ChatGenerationChunk(message=message)


def _drafts(call: PreparedCall, count: int, **changes: Any) -> tuple[Draft, ...]:
    """Drafts that differ by their seeds alone, the first one having the call's own."""
    sampling = call.request.sampling
    if sampling.is_greedy and count > 1:
        raise RequestError(
            f"To choose among {count} samples they must differ, but with temperature 0 all are "
            "the same: use a temperature above 0, such as 1."
        )
    return tuple(
        call.draft(sampling=replace(sampling, seed=seed), **changes)
        for seed in _seeds(sampling.seed, count)
    )


def _seeds(seed: int | None, count: int) -> list[int | None]:
    """More samples begin with those of fewer."""
    numbers = random.Random(seed)
    more = [None if seed is None else numbers.getrandbits(63) for _ in range(count - 1)]
    return [seed, *more]


def _usage(chunk: ChatGenerationChunk) -> UsageMetadata:
    message = cast("AIMessageChunk", chunk.message)
    return cast("UsageMetadata", message.usage_metadata)
