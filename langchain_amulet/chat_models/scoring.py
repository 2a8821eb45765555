"""What a chat model makes of answers that it is given: how likely they are, what they teach.

This module knows the ways of calling: what is done with an answer is in `scores` and `fitting`.
"""

from __future__ import annotations

import asyncio
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import run_in_executor

from langchain_amulet.chat_models.call import render
from langchain_amulet.chat_models.messages import to_turns
from langchain_amulet.chat_models.model_handle import ModelHandle
from langchain_amulet.chat_models.settings import CallSettings
from langchain_amulet.errors import ConfigurationError, EmptyInputError, RequestError
from langchain_amulet.fitting.answer_scores import AnswerScore, ScoringRequest
from langchain_amulet.fitting.estimator import Estimator
from langchain_amulet.fitting.examples import Applies, Examples, FittedPreferences, always
from langchain_amulet.preferences.preference import AnyPreference, PreferenceLike, as_preferences
from langchain_amulet.preferences.resolution import last_question
from langchain_amulet.steering import Plan

Readings = Sequence[tuple[tuple[int, ...], ScoringRequest]]
"""Answers to be read, each with the indices of the preferences that apply."""


class TakesAnswers:
    """A chat model that reads given answers instead of writing its own."""

    def score(
        self,
        input: LanguageModelInput,
        answer: AIMessage | str,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AnswerScore:
        """How likely an answer would be, token by token: base, prompted and steered.

        Nothing is decoded. Thoughts aren't scored, tool calls are.

        Args:
            input: The conversation, as for ``invoke``.
            answer: What is answered.
            config: As for ``invoke``: it may bring the preference or the user.
            **kwargs: As for ``invoke``, such as ``preference`` and ``method``.

        Raises:
            RequestError: As ``invoke``, and if the chat template can't write the answer.
        """
        reading = self._reading(input, answer, self._lift(input, config, kwargs))
        return reading.scored(reading.submit().result())

    async def ascore(
        self,
        input: LanguageModelInput,
        answer: AIMessage | str,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AnswerScore:
        """How likely an answer would be; see `score`."""
        lifted = await self._alift(input, config, kwargs)
        reading = await run_in_executor(None, self._reading, input, answer, lifted)
        logprobs = await asyncio.wrap_future(reading.submit())
        return await run_in_executor(None, reading.scored, logprobs)

    def fit(
        self,
        preferences: Sequence[AnyPreference] | PreferenceLike,
        examples: Examples,
        *,
        applies: Applies[AnyPreference] = always,
        deviation: float = 1.0,
        **kwargs: Any,
    ) -> FittedPreferences[AnyPreference]:
        """Fit preferences to answers that a user liked, or chose over others.

        One preference is given its strength, several their weights; all else stays as it is.
        What they were is where the fit starts from: the method's strength where they have none.

        Args:
            preferences: Those by which answers are steered, as for ``invoke``.
            examples: What was liked and what was chosen.
            applies: Whether a preference counts for a conversation with this last question.
            deviation: How far from where it starts the fit is expected to end, as a standard
                deviation. The smaller it is, the more examples it takes to get there.
            **kwargs: As for ``invoke``, such as ``method``.

        Raises:
            RequestError: There is no preference, it isn't one, or an example can't be read.
        """
        fitting: Estimator[AnyPreference] = self._fitting(preferences, deviation, kwargs)
        readings = self._readings(fitting, examples, applies, kwargs)
        heard = {
            each: fitting.heard(*each, each[1].submit().result())
            for each in dict.fromkeys(readings)
        }
        return fitting.learned(examples, [heard[each] for each in readings])

    async def afit(
        self,
        preferences: Sequence[AnyPreference] | PreferenceLike,
        examples: Examples,
        *,
        applies: Applies[AnyPreference] = always,
        deviation: float = 1.0,
        **kwargs: Any,
    ) -> FittedPreferences[AnyPreference]:
        """Fit preferences to answers that a user liked, or chose over others; see `fit`."""
        fitting: Estimator[AnyPreference] = self._fitting(preferences, deviation, kwargs)
        readings = await run_in_executor(None, self._readings, fitting, examples, applies, kwargs)
        heard = {}
        for each in dict.fromkeys(readings):
            logprobs = await asyncio.wrap_future(each[1].submit())
            heard[each] = await run_in_executor(None, fitting.heard, *each, logprobs)
        answers = [heard[each] for each in readings]
        return await run_in_executor(None, fitting.learned, examples, answers)

    # --- What both ways share ---

    def _reading(
        self, input: LanguageModelInput, answer: AIMessage | str, kwargs: Mapping[str, Any]
    ) -> ScoringRequest:
        """An answer to be scored, rendered."""
        settings = self.for_call(None, kwargs)
        plan = settings.method.plan(settings.pulls)
        return read(self._answering(kwargs), settings, self._messages(input), answer, plan)

    def _fitting(
        self,
        preferences: Sequence[AnyPreference] | PreferenceLike,
        deviation: float,
        kwargs: Mapping[str, Any],
    ) -> Estimator[AnyPreference]:
        if not (math.isfinite(deviation) and deviation > 0.0):
            raise ConfigurationError(
                f"deviation must be a finite number above 0, not {deviation!r}: 1.0 is usual."
            )
        given = as_preferences(preferences)
        if not given:
            raise RequestError(
                "Only a preference can be fitted, and there is none: give the one that the "
                "answers are to be explained by."
            )
        fitted = cast("tuple[AnyPreference, ...]", given)  # of whatever kind they were
        return Estimator(fitted, self.for_call(None, kwargs).method, deviation)

    def _readings(
        self,
        fitting: Estimator[AnyPreference],
        examples: Examples,
        applies: Applies[AnyPreference],
        kwargs: Mapping[str, Any],
    ) -> Readings:
        """Every answer to be learned from, rendered, in the order of the examples."""
        if not isinstance(examples, Examples):
            raise RequestError(
                f"examples must be Examples, not of type {type(examples).__name__}: make them by "
                "Examples(liked=[(question, answer), ...])."
            )
        settings = self.for_call(None, {**kwargs, "preference": fitting.plain})
        handle, readings = self._answering(kwargs), []
        for input, answer in examples.all:
            messages = self._messages(input)
            about = last_question(messages)
            applying = tuple(
                index
                for index, preference in enumerate(fitting.preferences)
                if applies(preference, about)
            )
            plan = fitting.plan(applying)
            readings.append((applying, read(handle, settings, messages, answer, plan)))
        return readings

    # --- What it takes of a chat model ---

    @abstractmethod
    def for_call(self, stop: list[str] | None, kwargs: Mapping[str, Any]) -> CallSettings:
        """The settings of one call."""

    @abstractmethod
    def _answering(self, kwargs: Mapping[str, Any]) -> ModelHandle:
        """The model that a call is for."""

    @abstractmethod
    def _messages(self, input: LanguageModelInput) -> list[BaseMessage]:
        """A call's conversation."""

    @abstractmethod
    def _lift(
        self, input: LanguageModelInput, config: RunnableConfig | None, kwargs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A call's arguments, with what it prefers."""

    @abstractmethod
    async def _alift(
        self, input: LanguageModelInput, config: RunnableConfig | None, kwargs: Mapping[str, Any]
    ) -> dict[str, Any]:
        """A call's arguments, with what it prefers."""


def read(
    handle: ModelHandle,
    settings: CallSettings,
    messages: Sequence[BaseMessage],
    answer: AIMessage | str,
    plan: Plan,
) -> ScoringRequest:
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
    return ScoringRequest(
        engine=opened.engine,
        plan=plan,
        base=base,
        prompts=render(plan, handle, settings, messages),
        answer=template.encode_answer(turn, settings.chat_template_kwargs),
    )
