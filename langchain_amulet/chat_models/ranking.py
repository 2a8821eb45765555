"""Which of several answers is the best: by a function, a runnable, or what decoding said of them.

This module knows whole answers and their tokens: nothing of how they are found.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, cast

from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import Runnable
from langchain_core.runnables.config import run_in_executor

from langchain_amulet.engine import Token
from langchain_amulet.errors import GenerationError
from langchain_amulet.methods.best_of import takes_preferences

Scorer = Callable[..., float] | Runnable[dict[str, Any], Any]
"""Says how good an answer to a conversation is; see `langchain_amulet.methods.BestOf`."""


@dataclass(frozen=True)
class Candidate:
    """An answer that may be given.

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


class Ranking(Protocol):
    """Gives every candidate a number, the higher the better."""

    def scores(self, candidates: Sequence[Candidate]) -> list[float]:
        """A number for each, in their order."""
        ...

    async def ascores(self, candidates: Sequence[Candidate]) -> list[float]:
        """The same without blocking the event loop."""
        ...


@dataclass(frozen=True)
class ByFunction:
    """Ranks by a function, called for one answer after another.

    Attributes:
        function: The function.
        with_preferences: Whether it is told the preferences, too.
    """

    function: Callable[..., float]
    with_preferences: bool = False

    def scores(self, candidates: Sequence[Candidate]) -> list[float]:
        """What the function returns."""
        return numbers(map(self._score, candidates))

    async def ascores(self, candidates: Sequence[Candidate]) -> list[float]:
        """What the function returns, in another thread."""
        return await run_in_executor(None, self.scores, candidates)

    def _score(self, candidate: Candidate) -> float:
        more = {"preferences": list(candidate.preferences)} if self.with_preferences else {}
        return self.function(list(candidate.messages), candidate.message, **more)


@dataclass(frozen=True)
class ByRunnable:
    """Ranks by a runnable, called with all answers as a batch."""

    runnable: Runnable[dict[str, Any], Any]

    def scores(self, candidates: Sequence[Candidate]) -> list[float]:
        """What the runnable returns."""
        return numbers(self.runnable.batch([_asked(each) for each in candidates]))

    async def ascores(self, candidates: Sequence[Candidate]) -> list[float]:
        """What the runnable returns."""
        return numbers(await self.runnable.abatch([_asked(each) for each in candidates]))


@dataclass(frozen=True)
class Guided:
    """Ranks by ``sum_t [l_pref + strength (l_pref - l_base)]``, from the tokens' traces."""

    strength: float

    def scores(self, candidates: Sequence[Candidate]) -> list[float]:
        """The sums, in nats."""
        return [math.fsum(map(self._score, candidate.tokens)) for candidate in candidates]

    async def ascores(self, candidates: Sequence[Candidate]) -> list[float]:
        """The sums, which take no time."""
        return self.scores(candidates)

    def _score(self, token: Token) -> float:
        if token.trace is None or token.trace.base is None:
            raise GenerationError(
                "Guided reranking needs a trace of each token under both prompts, and has none: "
                "this is a fault of the package, so please report it."
            )
        pref, base = _log(token.trace.pref), _log(token.trace.base)
        # As in steering: what is impossible in the other prompt says nothing.
        contrast = pref - base if math.isfinite(pref - base) else 0.0
        return pref + self.strength * contrast


def as_ranking(scorer: Scorer) -> Ranking:
    """A ranking by a function or a runnable."""
    if isinstance(scorer, Runnable):
        return ByRunnable(scorer)
    return ByFunction(scorer, with_preferences=takes_preferences(scorer))


def numbers(values: Any) -> list[float]:
    """Scores as numbers.

    Raises:
        GenerationError: One of them isn't one, or all forbid their answers.
    """
    scores = []
    for value in values:
        try:
            scores.append(float(value))
        except (TypeError, ValueError) as error:
            raise GenerationError(_unscored(value)) from error
        if math.isnan(scores[-1]):
            raise GenerationError(_unscored(value))
    if scores and max(scores) == -math.inf:
        raise GenerationError(
            "A scorer must leave an answer that may be given, but scored each of "
            f"{len(scores)} with -inf: look at more answers, or score the least bad one higher."
        )
    return scores


def _asked(candidate: Candidate) -> dict[str, Any]:
    return {"messages": list(candidate.messages), "answer": candidate.message}


def _log(probability: float) -> float:
    return math.log(probability) if probability > 0.0 else -math.inf


def _unscored(value: object) -> str:
    return (
        f"A scorer must return a number for each answer, but returned {value!r}: mend it, or "
        "return -inf for an answer that must not be given."
    )
