"""One call made ready: its settings and messages become an engine's request.

This module connects settings, prompts and engine: nothing of LangChain's config, callbacks or
ways of calling.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from langchain_core.messages import BaseMessage

from langchain_amulet.answers import Answer, Report, count_prompts, strengths
from langchain_amulet.engine import Engine, Generation, Request
from langchain_amulet.handle import OpenModel
from langchain_amulet.messages import to_turns
from langchain_amulet.prompts import PromptBuilder
from langchain_amulet.settings import AnswerSettings
from langchain_amulet.steering import Plan


@dataclass(frozen=True)
class Call:
    """A call that only has to be decoded: what is slow or refused about it lies behind."""

    engine: Engine
    request: Request
    answer: Answer

    def submit(self) -> Generation:
        """Ask for the tokens; leaving the generation's ``with`` block frees its rows."""
        return self.engine.submit(self.request)


def prepare(
    model_name: str, opened: OpenModel, settings: AnswerSettings, messages: Sequence[BaseMessage]
) -> Call:
    """Render the prompts that the method asks for, and say how they are to be decoded.

    Raises:
        RequestError: The messages can't be answered, see `to_turns` and `PromptBuilder`.
        ChatTemplateError: There is no chat template, or it refuses the conversation.
    """
    plan = settings.method.plan([preference.pull for preference in settings.preference])
    prompts = _render(plan, opened, settings, messages)
    request = Request(
        prompts=prompts,
        plan=plan,
        sampling=settings.sampling,
        max_tokens=settings.max_tokens,
        stop_ids=opened.stop_ids(opened.template(settings.chat_template)),
        timeout=settings.timeout,
        trace=settings.trace,
    )
    report = Report(
        model_name=model_name,
        method=settings.method.name,
        strength=strengths(plan),
        prompt_tokens=count_prompts(plan, prompts),
        logprobs=settings.logprobs,
        trace=settings.trace,
    )
    return Call(opened.engine, request, Answer(report, opened.token_bytes, settings.stop))


def prompt_builder(opened: OpenModel, settings: AnswerSettings) -> PromptBuilder:
    """How these settings make prompts with this model's chat template."""
    return PromptBuilder(
        template=opened.template(settings.chat_template),
        placement=settings.placement,
        preference_template=settings.preference_template,
        variables=settings.chat_template_kwargs,
    )


def _render(
    plan: Plan, opened: OpenModel, settings: AnswerSettings, messages: Sequence[BaseMessage]
) -> tuple[tuple[int, ...], ...]:
    """Token ids of each of the plan's streams."""
    builder, turns = prompt_builder(opened, settings), to_turns(messages)
    texts = [preference.text for preference in settings.preference]
    return tuple(
        builder.build(turns, [texts[index] for index in stream.preferences])
        for stream in plan.streams
    )
