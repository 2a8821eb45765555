"""A call's prompts: one per stream of its plan, by the chat template of the model that reads it.

This module connects settings and messages with chat templates: nothing of how prompts are decoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_amulet.chat_formats.chat_template import CONTINUE
from langchain_amulet.chat_formats.codec import ChatCodec
from langchain_amulet.chat_formats.prompt import PromptBuilder, schema_note, tools_note
from langchain_amulet.chat_models.messages import to_turns
from langchain_amulet.chat_models.model_handle import ModelHandle, OpenModel
from langchain_amulet.chat_models.settings import AnswerSettings, CallSettings
from langchain_amulet.chat_models.tools import ResponseFormat
from langchain_amulet.errors import RequestError
from langchain_amulet.steering import Plan


def render(
    plan: Plan, handle: ModelHandle, settings: CallSettings, messages: Sequence[BaseMessage]
) -> tuple[tuple[int, ...], ...]:
    """Token ids of each of the plan's streams, in its order.

    Raises:
        RequestError: The messages can't be answered, see `to_turns` and `PromptBuilder`; or an
            answer is to be continued that must have a structure from its beginning.
        ChatTemplateError: There is no chat template, or it refuses the conversation.
        ConfigurationError: A model of the plan can't be used, see `ModelHandle.companion`.
    """
    main = handle.opened
    if codec_for(main, settings).template.continues:
        _check_continued(settings)
    builders = {
        name: _stream_builder(main if name is None else handle.companion(name), main, settings)
        for name in dict.fromkeys(stream.model for stream in plan.streams)
    }
    turns = to_turns(messages)
    texts = [preference.text for preference in settings.preferences]
    return tuple(
        builders[stream.model].build(turns, [texts[index] for index in stream.preferences])
        for stream in plan.streams
    )


def codec_for(opened: OpenModel, settings: AnswerSettings) -> ChatCodec:
    """How these settings have a model talked to: what writes its prompts and reads its answers.

    Raises:
        ChatTemplateError: There is no chat template.
    """
    return opened.codec(settings.chat_template, settings.chat_template_kwargs, settings.chat_format)


def prompt_builder(
    opened: OpenModel,
    settings: AnswerSettings,
    tools: Sequence[Mapping[str, Any]] = (),
    response_format: ResponseFormat | None = None,
) -> PromptBuilder:
    """What makes prompts of conversations with this model's chat template, by these settings."""
    codec = codec_for(opened, settings)
    template = codec.template
    notes = []
    if tools and not template.writes_tools:
        notes.append(tools_note([tool["function"] for tool in tools], codec.format))
    if response_format is not None and response_format.told:
        notes.append(schema_note(response_format.schema))
    return PromptBuilder(
        template=template,
        placement=settings.placement,
        preference_template=settings.preference_template,
        tools=(tools or None) if template.writes_tools else None,
        note="\n\n".join(notes),
    )


def _check_continued(settings: CallSettings) -> None:
    output = settings.output
    if output.must_call or output.schema is not None:
        raise RequestError(
            "An answer that is continued can't be held to a structure, as its beginning is given, "
            f"but with {CONTINUE} the call asks for one: leave out response_format and a "
            "tool_choice other than 'auto', or the beginning."
        )


def _stream_builder(opened: OpenModel, main: OpenModel, settings: CallSettings) -> PromptBuilder:
    if opened is not main:
        # The call's chat template is meant for the model that answers. Others have their own, or
        # that of the answering model where they never learned to chat.
        has_own = bool(opened.tokenizer.chat_template)
        template = None if has_own else codec_for(main, settings).template.source
        settings = settings.model_copy(update={"chat_template": template})
    return prompt_builder(opened, settings, settings.offered, settings.response_format)
