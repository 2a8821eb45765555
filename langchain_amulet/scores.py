"""How likely a given answer is, with and without steering: teacher forcing of one call.

This module connects a call's settings with the engine's scoring: nothing of LangChain's config,
of threads or of event loops.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from langchain_core.messages import AIMessage, BaseMessage
from torch import Tensor

from langchain_amulet.calls import render
from langchain_amulet.engine import Engine
from langchain_amulet.errors import EmptyInputError
from langchain_amulet.handle import ModelHandle
from langchain_amulet.messages import to_turns
from langchain_amulet.settings import CallSettings
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
class Reading:
    """An answer that only has to be read by the model.

    Attributes:
        engine: Who has the model.
        plan: How the streams are combined.
        base: Index of the stream without preferences.
        prompts: Token ids of its streams.
        answer: Token ids of the answer.
    """

    engine: Engine
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


def read(
    handle: ModelHandle,
    settings: CallSettings,
    messages: Sequence[BaseMessage],
    answer: AIMessage | str,
    plan: Plan,
) -> Reading:
    """Render an answer to the conversation, and the prompts of ``plan`` and of the base.

    Raises:
        RequestError: The messages or the answer can't be read, or it is empty.
        ChatTemplateError: There is no chat template, or it refuses them.
    """
    message = answer if isinstance(answer, AIMessage) else AIMessage(answer)
    try:
        (turn,) = to_turns([message])
    except EmptyInputError as error:
        raise EmptyInputError(
            "An answer needs text or a tool call, but this one has neither: give it some text."
        ) from error
    opened = handle.opened
    template = opened.template(settings.chat_template)
    plan, base = plan.with_base()
    return Reading(
        engine=opened.engine,
        plan=plan,
        base=base,
        prompts=render(plan, handle, settings, messages),
        answer=template.encode_answer(turn, settings.chat_template_kwargs),
    )


def _chosen(logprobs: Tensor, tokens: Sequence[int]) -> tuple[float, ...]:
    return tuple(float(row[token]) for row, token in zip(logprobs, tokens, strict=True))
