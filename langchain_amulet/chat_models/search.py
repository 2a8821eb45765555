"""How a call's answer is found: by decoding it, or by a search among several.

This module knows methods, and drafts of answers: nothing of prompts, of LangChain's config, or of
how a method steers.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any, cast

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk

from langchain_amulet.chat_models.drafts import Answering, AsyncChunks, Chunks, Draft, PreparedCall
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


@singledispatch
def answering(method: Method, call: PreparedCall) -> Answering:
    """How ``method`` finds the answer to a call: by decoding it, unless it is a search.

    Raises:
        RequestError: The call can't be answered by this method.
        SchemaError: The answer can't be held to a schema that it must have.
    """
    return call.draft()


@answering.register
def _(method: BestOf, call: PreparedCall) -> Answering:
    return Samples(call, _drafts(call, method.n), as_ranking(method.scorer))


@answering.register
def _(method: GuidedReranking, call: PreparedCall) -> Answering:
    ranking = Guided(resolve_strength(method.strength))
    return Samples(call, _drafts(call, method.n, trace=True), ranking)


@answering.register
def _(method: BeamSearch, call: PreparedCall) -> Answering:
    return Beams(call.draft(), method)


@dataclass(frozen=True)
class Samples:
    """The best of several answers, decoded together; it comes when all are done and ranked."""

    call: PreparedCall
    drafts: tuple[Draft, ...]
    ranking: Ranking

    def chunks(self) -> Chunks:
        """Decode them all, and give the best one."""
        with ExitStack() as leaving:
            begun = [(draft, leaving.enter_context(draft.submit())) for draft in self.drafts]
            candidates = [self._candidate(d, g, list(d.read(g))) for d, g in begun]
        yield from best(candidates, self.ranking.scores(candidates))

    async def achunks(self) -> AsyncChunks:
        """Decode them all, and give the best one, without blocking the event loop."""
        with ExitStack() as leaving:
            begun = [(draft, leaving.enter_context(draft.submit())) for draft in self.drafts]
            candidates = await asyncio.gather(*(self._awhole(d, g) for d, g in begun))
        for chunk in best(candidates, await self.ranking.ascores(candidates)):
            yield chunk

    async def _awhole(self, draft: Draft, generation: TokenStream) -> Candidate:
        chunks = [chunk async for chunk in draft.aread(generation)]
        return self._candidate(draft, generation, chunks)

    def _candidate(
        self, draft: Draft, generation: TokenStream, chunks: Sequence[ChatGenerationChunk]
    ) -> Candidate:
        last = generation.stop_token
        tokens = (*draft.answer.tokens, *([] if last is None else [last]))
        return Candidate(self.call.messages, self.call.preferences, tuple(chunks), tokens)


@dataclass(frozen=True)
class Beams:
    """The answer that beam search finds; it comes when the search is over."""

    draft: Draft
    method: BeamSearch

    def chunks(self) -> Chunks:
        """Search, and give what was found."""
        gone = threading.Event()
        try:
            found = self._submit(gone).result()
        finally:
            gone.set()
        yield from self._written(found)

    async def achunks(self) -> AsyncChunks:
        """Search, and give what was found, without blocking the event loop."""
        gone = threading.Event()
        try:
            found = await asyncio.wrap_future(self._submit(gone))
        finally:
            gone.set()
        for chunk in self._written(found):
            yield chunk

    def _submit(self, gone: threading.Event) -> Future[BeamResult]:
        return self.draft.engine.search(
            self.draft.request,
            self.method.n,
            self.method.length_penalty,
            is_wanted=lambda: not gone.is_set(),
        )

    def _written(self, found: BeamResult) -> list[ChatGenerationChunk]:
        answer = self.draft.answer
        chunks: list[ChatGenerationChunk] = []
        for token in found.tokens:
            chunks += answer.feed(token)
            if answer.stopped:
                break
        *chunks, last = [*chunks, *answer.finish(found.finish.reason)]
        told = {"n": self.method.n, "scores": [found.score], "chosen": 0}
        return [*chunks, told_of_search(last, told, found.written)]


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
