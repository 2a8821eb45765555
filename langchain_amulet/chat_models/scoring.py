"""Answers that a chat model is given: how likely they are, and what they teach of preferences.

This module connects settings and prompts with the engine's scoring and the maths of `fitting`:
nothing of LangChain's config, or of who waits in which way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, cast

from langchain_core.messages import AIMessage, BaseMessage
from torch import Tensor

from langchain_amulet.chat_formats.given_answer import encode_answer
from langchain_amulet.chat_models.length import check_prompts_fit
from langchain_amulet.chat_models.messages import to_turns
from langchain_amulet.chat_models.model_handle import ModelHandle
from langchain_amulet.chat_models.prompts import codec_of_call, render
from langchain_amulet.chat_models.settings import AnswerSettings, CallSettings
from langchain_amulet.errors import ConfigurationError, EmptyInputError, RequestError
from langchain_amulet.fitting.answer_scores import AnswerScore, ScoringRequest
from langchain_amulet.fitting.estimator import AnswerEvidence, Estimator
from langchain_amulet.fitting.examples import Applies, Examples, FittedPreferences
from langchain_amulet.methods.method import plan_of
from langchain_amulet.preferences.preference import AnyPreference, PreferenceLike, as_preferences
from langchain_amulet.preferences.resolution import last_question
from langchain_amulet.steering import Plan
from langchain_amulet.validation.checks import check_type, is_finite
from langchain_amulet.validation.wording import quoted
from langchain_amulet.waiting.procedure import Procedure
from langchain_amulet.waiting.wait import from_future, in_executor

MOST_DEVIATION = 1e6
"""The widest that a fit may range: beyond, all that is fitted comes out the same."""

Conversation = Sequence[BaseMessage]


def score(
    handle: ModelHandle,
    settings: CallSettings,
    conversation: Conversation,
    answer: AIMessage | str,
) -> Procedure[None, AnswerScore]:
    """How likely an answer would be, token by token: base, prompted and steered.

    Raises:
        RequestError: The messages or the answer can't be read, or it is empty.
        ChatTemplateError: There is no chat template, or it refuses them.
    """
    plan = plan_of(settings.method, settings.guidance)
    request: ScoringRequest = yield in_executor(
        partial(scoring_request, handle, settings, conversation, answer, plan), handle.workers
    )
    logprobs = yield from _scored(request)
    return cast("AnswerScore", (yield in_executor(partial(request.scored, logprobs))))


def fit(
    handle: ModelHandle,
    settings: CallSettings,
    estimator: Estimator[AnyPreference],
    conversations: Sequence[Conversation],
    examples: Examples,
    applies: Applies[AnyPreference],
) -> Procedure[None, FittedPreferences[AnyPreference]]:
    """Fit preferences to examples.

    Args:
        handle: The model that reads them.
        settings: How it is prompted.
        estimator: What is fitted.
        conversations: Those of `Examples.all`, in its order, as messages.
        examples: What was liked and what was chosen.
        applies: Whether a preference counts for a conversation with this last question.

    Raises:
        RequestError: An example can't be read.
        ChatTemplateError: There is no chat template, or it refuses an example.
    """

    def requests() -> list[tuple[tuple[int, ...], ScoringRequest]]:
        """Every answer, rendered, with the indices of the preferences that apply to it."""
        found = []
        pairs = zip(conversations, examples.all, strict=True)
        for conversation, (_, answer) in pairs:
            about = last_question(conversation)
            applying = estimator.applying(applies, about)
            plan = estimator.plan(applying)
            request = scoring_request(handle, settings, conversation, answer, plan)
            found.append((applying, request))
        return found

    rendered = yield in_executor(requests, handle.workers)
    evidence: dict[tuple[tuple[int, ...], ScoringRequest], AnswerEvidence] = {}
    for applying, request in dict.fromkeys(rendered):  # the same answer twice is read once
        logprobs = yield from _scored(request)
        read = partial(estimator.evidence, applying, request, logprobs)
        evidence[applying, request] = yield in_executor(read)
    answers = [evidence[each] for each in rendered]
    return cast(
        "FittedPreferences[AnyPreference]",
        (yield in_executor(partial(estimator.fit, examples, answers))),
    )


def _scored(request: ScoringRequest) -> Procedure[None, Tensor]:
    """The engine's answer; it stops computing if nobody waits for that any more."""
    scoring = request.submit()
    try:
        return cast("Tensor", (yield from_future(scoring)))
    finally:
        scoring.cancel()


def scoring_request(
    handle: ModelHandle,
    settings: CallSettings,
    conversation: Conversation,
    answer: AIMessage | str,
    plan: Plan,
) -> ScoringRequest:
    """Render an answer to the conversation, and the prompts of ``plan`` and of the base.

    Raises:
        RequestError: The messages or the answer can't be read, or it is empty.
        ChatTemplateError: There is no chat template, or it refuses them.
    """
    check_type("answer", answer, AIMessage, str, error=RequestError)
    message = answer if isinstance(answer, AIMessage) else AIMessage(answer)
    try:
        (turn,) = to_turns([message])
    except EmptyInputError as error:
        raise EmptyInputError(
            "An answer needs text or a tool call, but this one has neither: give it some text."
        ) from error
    opened = handle.opened
    codec = codec_of_call(opened, settings, conversation)
    plan, base = plan.with_base()
    written = encode_answer(codec.template, turn, opened.context_length)
    prompts = render(plan, handle, codec, settings, to_turns(conversation))
    check_prompts_fit(handle, plan, prompts, settings, len(written), remedy="the answer")
    return ScoringRequest(opened.engine, plan, base, prompts, written)


def estimator_for(
    settings: AnswerSettings,
    preferences: Sequence[AnyPreference] | PreferenceLike,
    deviation: float,
    kwargs: Mapping[str, Any],
) -> Estimator[AnyPreference]:
    """What fits these preferences, steered by as the settings and a call's arguments say.

    Raises:
        ConfigurationError: The deviation isn't a positive number.
        RequestError: There is no preference, or it isn't one.
    """
    if not (is_finite(deviation) and 0.0 < deviation <= MOST_DEVIATION):
        raise ConfigurationError(
            f"deviation must be a number above 0 and at most {MOST_DEVIATION:g}, not "
            f"{quoted(deviation)}: 1.0 is usual."
        )
    given = as_preferences(preferences)
    if not given:
        raise RequestError(
            "Only a preference can be fitted, and there is none: give the one that the "
            "answers are to be explained by."
        )
    fitted = cast("tuple[AnyPreference, ...]", given)  # of whatever kind they were
    return Estimator(fitted, settings.for_call(None, kwargs).method, deviation)


def check_examples(examples: object) -> None:
    """Refuse what aren't examples, with `RequestError`."""
    if not isinstance(examples, Examples):
        raise RequestError(
            f"examples must be Examples, not of type {type(examples).__name__}: make them by "
            "Examples(liked=[(question, answer), ...])."
        )
