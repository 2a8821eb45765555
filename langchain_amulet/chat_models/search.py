"""How a call's answer is found: by decoding it, or by a search among several.

Knows the plans of searches, and drafts of answers. Doesn't know prompts, LangChain's config, or how
any method steers, searches or ranks.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, cast

from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGenerationChunk

from langchain_amulet.chat_models.call import Chunks, Draft, PreparedCall
from langchain_amulet.engine import BeamResult, Token, TokenStream, Trace
from langchain_amulet.errors import ConfigurationError, RequestError
from langchain_amulet.methods import BeamPlan, Ranking, SearchPlan
from langchain_amulet.methods.method import search_of
from langchain_amulet.methods.search import checked_scores
from langchain_amulet.waiting.procedure import collected
from langchain_amulet.waiting.wait import Wait, from_future, in_executor


def answer(call: PreparedCall) -> Chunks:
    """The answer to a call: decoded, unless the call's method is a search.

    Raises:
        RequestError: The call can't be answered by its method.
        ConfigurationError: The method is somebody's own and fails, see `search_of`.
        SchemaError: The answer can't be held to a schema that it must have.
    """
    match search_of(call.settings.method):
        case None:
            return call.draft().chunks()
        case SearchPlan() as search:
            return _best_sample(call, _drafts(call, search), search)
        case BeamPlan() as search:
            return _beams(call.draft(), search)


# --- Samples, ranked by the search ---


@dataclass(frozen=True)
class SampledAnswer:
    """A `Candidate`: an answer that was drawn to be chosen among.

    Attributes:
        messages: The conversation.
        preferences: How it is to be answered, in words.
        chunks: The answer as it would be streamed.
        tokens: Its tokens, with that which ended it, if one did.
    """

    messages: tuple[BaseMessage, ...]
    preferences: tuple[str, ...]
    chunks: tuple[ChatGenerationChunk, ...]
    tokens: tuple[Token, ...]

    @cached_property
    def message(self) -> AIMessage:
        """The answer as it would be returned."""
        result = generate_from_stream(iter(self.chunks))
        return cast("AIMessage", result.generations[0].message)

    @property
    def token_ids(self) -> tuple[int, ...]:
        """The answer's tokens."""
        return tuple(token.id for token in self.tokens)

    @property
    def pref(self) -> tuple[float, ...]:
        """Log-probabilities under the plan's reference."""
        return self._logprobs(lambda trace: trace.pref)

    @property
    def base(self) -> tuple[float, ...]:
        """Log-probabilities under the conversation alone."""
        return self._logprobs(lambda trace: trace.base)

    @property
    def steered(self) -> tuple[float, ...]:
        """Log-probabilities in the distribution that tokens were drawn from."""
        return self._logprobs(lambda trace: trace.steered)

    def _logprobs(self, of: Callable[[Trace], float | None]) -> tuple[float, ...]:
        found = [None if token.trace is None else of(token.trace) for token in self.tokens]
        if None in found:
            raise ConfigurationError(
                "A search's candidates know their tokens' probabilities only if its plan has "
                "trace=True, those of the base prompt if that is a stream of the method's plan, "
                "but here one is missing: make it SearchPlan(..., trace=True), or add the stream."
            )
        return tuple(_log(probability) for probability in found if probability is not None)


def _best_sample(call: PreparedCall, drafts: Sequence[Draft], search: SearchPlan) -> Chunks:
    """The best of several answers, decoded together; it comes when all are done and ranked."""
    with ExitStack() as leaving:
        # All are submitted before the first is read, so that they share every step.
        begun = [(draft, leaving.enter_context(draft.submit())) for draft in drafts]
        candidates = []
        for draft, tokens in begun:
            chunks = yield from collected(draft.read(tokens))
            candidates.append(_candidate(call, draft, tokens, chunks))
    values = yield _ranked(search, candidates)
    yield from _best(candidates, checked_scores(values, len(candidates)))


def _candidate(
    call: PreparedCall, draft: Draft, tokens: TokenStream, chunks: Sequence[ChatGenerationChunk]
) -> SampledAnswer:
    last = tokens.stop_token
    all_tokens = (*draft.response.tokens, *([] if last is None else [last]))
    return SampledAnswer(call.messages, call.preference_texts, tuple(chunks), all_tokens)


def _ranked(search: SearchPlan, candidates: Sequence[SampledAnswer]) -> Wait[Any]:
    """What the search says of each candidate. Its own code may take any time, so it is waited for.

    What it returns is made a list where it is computed: a generator would do its work later.
    """
    rank = search.rank
    if isinstance(rank, Ranking):
        return Wait(partial(rank.scores, candidates), partial(rank.ascores, candidates))
    return in_executor(lambda: list(rank(candidates)))


def _best(
    candidates: Sequence[SampledAnswer], scores: Sequence[float]
) -> list[ChatGenerationChunk]:
    """The chunks of the best candidate, of several the first, with what the search was like."""
    chosen = max(range(len(candidates)), key=lambda index: scores[index])
    *chunks, last = candidates[chosen].chunks
    search = {"n": len(candidates), "scores": list(scores), "chosen": chosen}
    written = sum(_usage(candidate.chunks[-1])["output_tokens"] for candidate in candidates)
    return [*chunks, _with_search(last, search, written)]


def _drafts(call: PreparedCall, search: SearchPlan) -> tuple[Draft, ...]:
    """Drafts that differ by their seeds alone, the first one having the call's own."""
    sampling = call.request.sampling
    if sampling.is_greedy and search.n > 1:
        raise RequestError(
            f"To choose among {search.n} samples they must differ, but with temperature 0 all are "
            "the same: use a temperature above 0, such as 1."
        )
    if search.trace and not call.model.traces:
        raise RequestError(
            f"The method {call.settings.method.name!r} ranks answers by what their tokens' "
            "probabilities were before steering, which the model's backend can't tell: use another "
            "method, or another backend."
        )
    # A trace that was asked for is shown; one that only the search needs isn't.
    trace = call.request.trace or search.trace
    return tuple(
        call.draft(sampling=replace(sampling, seed=seed), trace=trace)
        for seed in _seeds(sampling.seed, search.n)
    )


def _seeds(seed: int | None, count: int) -> list[int | None]:
    """More samples begin with those of fewer."""
    numbers = random.Random(seed)
    more = [None if seed is None else numbers.getrandbits(63) for _ in range(count - 1)]
    return [seed, *more]


# --- Beams, searched by the engine ---


def _beams(draft: Draft, search: BeamPlan) -> Chunks:
    """The answer that beam search finds; it comes when the search is over."""
    searching = draft.engine.search(draft.request, search.n, search.length_penalty)
    try:
        found = yield from_future(searching)
    finally:
        searching.cancel()  # it ends if nobody waits for it any more
    yield from _written(draft, search, found)


def _written(draft: Draft, search: BeamPlan, found: BeamResult) -> list[ChatGenerationChunk]:
    chunks: list[ChatGenerationChunk] = []
    for token in found.tokens:
        chunks += draft.response.feed(token)
        if draft.response.stopped:
            break
    *chunks, last = [*chunks, *draft.response.finish(found.finish.reason)]
    said = {"n": search.n, "scores": [found.score], "chosen": 0}
    return [*chunks, _with_search(last, said, found.written)]


# --- What all searches tell ---


def _with_search(
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


def _usage(chunk: ChatGenerationChunk) -> UsageMetadata:
    message = cast("AIMessageChunk", chunk.message)
    return cast("UsageMetadata", message.usage_metadata)


def _log(probability: float) -> float:
    return math.log(probability) if probability > 0.0 else -math.inf
