"""One call made ready: its settings and messages become an engine's request.

This module connects settings, prompts and engine: nothing of LangChain's config, callbacks or
ways of calling.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from langchain_core.messages import BaseMessage

from langchain_amulet.chat_formats.output_grammar import (
    output_is_told_apart,
    schema_note,
    tools_note,
)
from langchain_amulet.chat_formats.output_parser import OutputParser, PlainTextParser
from langchain_amulet.chat_formats.probe import ReplyFormat, Thinking
from langchain_amulet.chat_formats.prompt import PromptBuilder
from langchain_amulet.chat_models.chunks import ChunkWriter
from langchain_amulet.chat_models.drafts import PreparedCall
from langchain_amulet.chat_models.messages import to_turns
from langchain_amulet.chat_models.model_handle import ModelHandle, OpenModel
from langchain_amulet.chat_models.response import ResponseBuilder, ResponseInfo, count_prompts
from langchain_amulet.chat_models.settings import AnswerSettings, CallSettings
from langchain_amulet.chat_models.tools import ResponseFormat
from langchain_amulet.engine import Constraint, Pause, Request
from langchain_amulet.errors import ConfigurationError
from langchain_amulet.steering import Plan, strengths


def prepare(
    model_name: str,
    handle: ModelHandle,
    settings: CallSettings,
    messages: Sequence[BaseMessage],
    output_version: str | None = None,
) -> PreparedCall:
    """Render the prompts that the method asks for, and say how they are to be decoded.

    Args:
        model_name: The model's name as the caller gave it.
        handle: The model, and those beside it that the method names.
        settings: What the call asks for.
        messages: The conversation.
        output_version: See `ChunkWriter`.

    Raises:
        RequestError: The messages can't be answered, see `to_turns` and `PromptBuilder`.
        ChatTemplateError: There is no chat template, or it refuses the conversation.
        ConfigurationError: A model that the method names can't be used, see
            `ModelHandle.companion`.
    """
    opened = handle.opened
    plan = settings.method.plan(settings.pulls)
    prompts = render(plan, handle, settings, messages)
    template = opened.template(settings.chat_template)
    stop_ids = opened.stop_ids(template)
    start = template.generation_prompt(settings.chat_template_kwargs)
    reply = opened.reply_format(settings.chat_template)
    request = Request(
        prompts=prompts,
        plan=plan,
        sampling=settings.sampling,
        max_tokens=settings.max_tokens,
        stop_ids=stop_ids,
        timeout=settings.timeout,
        trace=settings.trace,
        pauses=tuple(_pauses(opened, settings, reply, start)),
    )
    report = _report(model_name, settings, plan, prompts)
    return PreparedCall(
        engine=opened.engine,
        messages=tuple(messages),
        preferences=tuple(each.text for each in settings.preferences if each.weight > 0.0),
        request=request,
        constrain=partial(_constraint, opened, settings, reply, stop_ids, reply.is_thinking(start)),
        read=partial(_answer, opened, settings, reply, start, report, output_version),
    )


def render(
    plan: Plan, handle: ModelHandle, settings: CallSettings, messages: Sequence[BaseMessage]
) -> tuple[tuple[int, ...], ...]:
    """Token ids of each of the plan's streams, by the chat template of the model that reads it.

    Raises:
        RequestError: The messages can't be answered, see `to_turns` and `PromptBuilder`.
        ChatTemplateError: There is no chat template, or it refuses the conversation.
        ConfigurationError: A model of the plan can't be used, see `ModelHandle.companion`.
    """
    main = handle.opened
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


def _stream_builder(opened: OpenModel, main: OpenModel, settings: CallSettings) -> PromptBuilder:
    """How a model of the plan is prompted.

    The call's chat template is meant for the model that answers. Others have their own, or that
    of the answering model where they never learned to chat.
    """
    if opened is not main:
        has_own = bool(opened.tokenizer.chat_template)
        template = None if has_own else main.template(settings.chat_template).source
        settings = settings.model_copy(update={"chat_template": template})
    return prompt_builder(opened, settings, settings.offered, settings.response_format)


def prompt_builder(
    opened: OpenModel,
    settings: AnswerSettings,
    tools: Sequence[Mapping[str, Any]] = (),
    response_format: ResponseFormat | None = None,
) -> PromptBuilder:
    """How these settings make prompts with this model's chat template."""
    reply = opened.reply_format(settings.chat_template)
    notes = []
    if tools and not reply.writes_tools:
        notes.append(tools_note([tool["function"] for tool in tools], reply.shape))
    if response_format is not None and response_format.told:
        notes.append(schema_note(response_format.schema))
    return PromptBuilder(
        template=opened.template(settings.chat_template),
        placement=settings.placement,
        preference_template=settings.preference_template,
        variables=settings.chat_template_kwargs,
        tools=(tools or None) if reply.writes_tools else None,
        note="\n\n".join(notes),
    )


def _report(
    model_name: str, settings: CallSettings, plan: Plan, prompts: Sequence[Sequence[int]]
) -> ResponseInfo:
    return ResponseInfo(
        model_name=model_name,
        method=settings.method.name,
        strength=strengths(plan),
        prompt_tokens=count_prompts(plan, prompts),
        logprobs=settings.logprobs,
        trace=settings.trace,
    )


def _answer(
    opened: OpenModel,
    settings: CallSettings,
    reply: ReplyFormat,
    start: str,
    report: ResponseInfo,
    output_version: str | None,
) -> ResponseBuilder:
    """Who makes chunks of one answer's tokens."""
    reader = _reader(opened, settings, reply, start)
    token_bytes = opened.bytes_with(reply.markers) if reader else opened.token_bytes
    writer = ChunkWriter(output_version)
    return ResponseBuilder(report, token_bytes, settings.stop, reader or PlainTextParser(), writer)


def _reader(
    opened: OpenModel, settings: CallSettings, reply: ReplyFormat, start: str
) -> OutputParser | None:
    """Who takes the answer apart; None if it is text and nothing else."""
    tools = settings.offered
    if not tools and reply.thinking is None:
        return None
    template = reply.response_template(with_calls=bool(tools))
    own = bool(tools) and reply.own is not None
    thought = reply.thinking.opening if reply.thinking and reply.is_thinking(start) else ""
    return OutputParser(opened.tokenizer, template, start if own else thought, tools)


def _pauses(
    opened: OpenModel, settings: CallSettings, reply: ReplyFormat, start: str
) -> Iterator[Pause]:
    """Where the answer isn't to be steered: in thoughts, in calls of tools."""
    if reply.thinking and not settings.steer_thinking:
        yield _thought(opened, reply.thinking, reply.is_thinking(start))
    if settings.may_call and not settings.steer_tool_calls:
        yield from _calls(opened, reply)


def _thought(opened: OpenModel, thinking: Thinking, from_start: bool) -> Pause:
    closing = opened.marker(thinking.closing)
    if closing is None:
        raise ConfigurationError(
            "Thoughts can be left unsteered only where their end is a token of its own, which "
            f"{thinking.closing!r} isn't for this model: use steer_thinking=True."
        )
    opening = opened.marker(thinking.opening)
    return Pause(frozenset() if opening is None else frozenset({opening}), closing, from_start)


def _calls(opened: OpenModel, reply: ReplyFormat) -> Iterator[Pause]:
    """Where calls stand: nowhere that could be told if their mark isn't a token of its own."""
    opening = opened.marker(reply.region.get("open", ""))
    if reply.shape.before.startswith("{"):
        yield Pause(opened.braces, first_only=True)
    elif opening is not None:
        yield Pause(frozenset({opening}), opened.marker(reply.region.get("close", "")))


def _constraint(
    opened: OpenModel,
    settings: CallSettings,
    reply: ReplyFormat,
    stop_ids: frozenset[int],
    is_thinking: bool,
) -> Constraint | None:
    """What holds the answer to its grammar; None where it is free."""
    output, grammars = settings.output, opened.grammars
    if output.is_free or not output_is_told_apart(output, reply, grammars):
        return None
    closing = grammars.token(reply.thinking.closing) if reply.thinking else None
    ends = () if closing is None else (closing,)
    rules = output.rules(reply, grammars, is_thinking)
    turn = output.turn(reply, grammars)
    return grammars.compile(rules, settings.max_tokens, stop_ids, ends, turn)
