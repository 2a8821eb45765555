"""A call's prompts: one per stream of its plan, by the chat template of the model that reads it.

This module connects settings and messages with chat templates: nothing of how prompts are decoded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_amulet.chat_formats.chat_template import CONTINUE
from langchain_amulet.chat_formats.codec import ChatCodec
from langchain_amulet.chat_formats.prompt import PromptBuilder, call_note, schema_note, tools_note
from langchain_amulet.chat_formats.turns import Turn
from langchain_amulet.chat_models.answer_schema import ResponseFormat
from langchain_amulet.chat_models.length import check_fits
from langchain_amulet.chat_models.model_handle import ModelHandle, OpenModel
from langchain_amulet.chat_models.settings import AnswerSettings, CallSettings
from langchain_amulet.errors import ChatTemplateError, RequestError
from langchain_amulet.grammar.schema_shapes import check_shapes
from langchain_amulet.steering import Plan
from langchain_amulet.validation.wording import quoted


def render(
    plan: Plan,
    handle: ModelHandle,
    codec: ChatCodec,
    settings: CallSettings,
    turns: Sequence[Turn],
) -> tuple[tuple[int, ...], ...]:
    """Token ids of each of the plan's streams, in its order.

    Args:
        plan: Which streams there are.
        handle: The model that answers, and those beside it that the plan names.
        codec: How the model that answers is talked to.
        settings: What the call asks for.
        turns: The conversation.

    Raises:
        ContextLengthError: A prompt is far longer than its model's context.
        RequestError: The conversation can't be answered, see `PromptBuilder`.
        ChatTemplateError: The chat template refuses the conversation.
        SchemaError: It refuses a tool whose arguments' schema is none.
        ConfigurationError: A model of the plan can't be used, see `ModelHandle.companion`.
    """
    builders = {
        name: _stream_builder(handle, codec, settings, name)
        for name in dict.fromkeys(stream.model for stream in plan.streams)
    }
    texts = [preference.text for preference in settings.preferences]
    try:
        return tuple(
            builders[stream.model].build(turns, [texts[index] for index in stream.preferences])
            for stream in plan.streams
        )
    except (ChatTemplateError, RequestError):
        # A template may trip over a schema that is none, which says better what is wrong.
        for function in (tool["function"] for tool in settings.offered):
            check_shapes(function["parameters"], quoted(function["name"]))
        raise


def codec_of_call(
    model: OpenModel, settings: CallSettings, messages: Sequence[BaseMessage]
) -> ChatCodec:
    """How a call's model is talked to, once it is sure that the call can be one.

    Raises:
        ContextLengthError: The messages are far longer than the model's context.
        ChatTemplateError: There is no chat template, or it leaves out what users say.
        RequestError: An answer is to be continued that must have a structure from its beginning.
        ConfigurationError: Nobody could read the calls that are left to the model.
    """
    check_fits(model, messages)
    codec = codec_for(model, settings)
    if settings.offered and not settings.output.must_call:
        codec.check_read()
    if not codec.template.reads_users:
        raise ChatTemplateError(
            "A chat template must write what the user says, but this one leaves it out: pass "
            "chat_template=..., the text of a Jinja template and not where it is."
        )
    if codec.template.continues:
        _check_continued(settings)
    return codec


def codec_for(opened: OpenModel, settings: AnswerSettings) -> ChatCodec:
    """How these settings have a model talked to: what writes its prompts and reads its answers.

    Raises:
        ChatTemplateError: There is no chat template.
    """
    return opened.codec(settings.chat_template, settings.chat_template_kwargs, settings.chat_format)


def prompt_builder(
    codec: ChatCodec,
    settings: AnswerSettings,
    tools: Sequence[Mapping[str, Any]] = (),
    response_format: ResponseFormat | None = None,
    limit: int | None = None,
) -> PromptBuilder:
    """What makes prompts of conversations with a model's chat template, by these settings.

    Args:
        codec: How the model is talked to.
        settings: What its answers depend on.
        tools: JSON schemas of tools.
        response_format: What answers are held to.
        limit: The most tokens that a prompt may have: what is far longer is refused.
    """
    template = codec.template
    notes = []
    if tools and not template.writes_tools:
        notes.append(tools_note([tool["function"] for tool in tools], codec.format))
    elif tools and codec.origin in ("unread", "guessed"):
        notes.append(call_note(codec.format))
    if response_format is not None and response_format.told:
        notes.append(schema_note(response_format.schema))
    return PromptBuilder(
        template=template,
        placement=settings.placement,
        preference_template=settings.preference_template,
        tools=(tools or None) if template.writes_tools else None,
        note="\n\n".join(notes),
        limit=limit,
    )


def _check_continued(settings: CallSettings) -> None:
    output = settings.output
    if output.must_call or output.schema is not None:
        raise RequestError(
            "An answer that is continued can't be held to a structure, as its beginning is given, "
            f"but with {CONTINUE} the call asks for one: leave out response_format and a "
            "tool_choice other than 'auto', or the beginning."
        )


def _stream_builder(
    handle: ModelHandle, codec: ChatCodec, settings: CallSettings, name: str | None
) -> PromptBuilder:
    """What makes prompts of a stream that this model reads; None for the one that answers."""
    reader = handle.opened
    if name is not None:
        reader = handle.companion(name)
        # The call's chat template is meant for the model that answers. Others have their own, or
        # that of the answering model where they never learned to chat.
        template = None if reader.tokenizer.chat_template else codec.template.source
        codec = codec_for(reader, settings.model_copy(update={"chat_template": template}))
    return prompt_builder(
        codec, settings, settings.offered, settings.response_format, reader.context_length
    )
