"""How likely a given answer is, with and without steering: teacher forcing of one call.

This module connects a call's settings with the engine's scoring: nothing of LangChain's config,
of threads or of event loops.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from torch import Tensor

from langchain_amulet.engine import AnyEngine
from langchain_amulet.steering import Plan, steer


@dataclass(frozen=True)
class AnswerScore:
    """How likely an answer is, token by token, in nats; its last token is the end of the turn.

    Every tuple has an entry per token. The distributions are those that a token is drawn from
    before penalties, temperature and truncation.

    Attributes:
        token_ids: The answer as the model reads it.
        base: Log-probabilities under the conversation alone.
        pref: Log-probabilities with the preferences in the prompt, and nothing more.
        steered: Log-probabilities after steering; -inf where the method's mask forbids the token.
    """

    token_ids: tuple[int, ...]
    base: tuple[float, ...]
    pref: tuple[float, ...]
    steered: tuple[float, ...]

    @property
    def base_total(self) -> float:
        """Log-probability of the whole answer under the conversation alone."""
        return math.fsum(self.base)

    @property
    def pref_total(self) -> float:
        """Log-probability of the whole answer with the preferences in the prompt alone."""
        return math.fsum(self.pref)

    @property
    def steered_total(self) -> float:
        """Log-probability of the whole answer as it would be decoded."""
        return math.fsum(self.steered)


@dataclass(frozen=True)
class ScoringRequest:
    """An answer that only has to be read by the model.

    Attributes:
        engine: Who has the model.
        plan: How the streams are combined.
        base: Index of the stream without preferences.
        prompts: Token ids of its streams.
        answer: Token ids of the answer.
    """

    engine: AnyEngine
    plan: Plan
    base: int
    prompts: tuple[tuple[int, ...], ...]
    answer: tuple[int, ...]

    def submit(self) -> Future[Tensor]:
        """Have it read: log-probabilities ``[streams, tokens, vocabulary]`` to come."""
        models = [stream.model for stream in self.plan.streams]
        return self.engine.score(self.prompts, self.answer, models)

    def scored(self, logprobs: Tensor) -> AnswerScore:
        """What came of it."""
        steps = [steer(logprobs[:, place], self.plan) for place in range(len(self.answer))]
        written = list(zip(steps, self.answer, strict=True))
        return AnswerScore(
            token_ids=self.answer,
            base=_chosen(logprobs[self.base], self.answer),
            pref=tuple(float(step.reference[token]) for step, token in written),
            steered=tuple(float(step.scores.log_softmax(0)[token]) for step, token in written),
        )


def _chosen(logprobs: Tensor, tokens: Sequence[int]) -> tuple[float, ...]:
    return tuple(float(row[token]) for row, token in zip(logprobs, tokens, strict=True))
