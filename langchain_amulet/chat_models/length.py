"""Conversations that can't fit a model's context are refused before anything is made of them.

What is rendered is counted exactly, and told apart from what it holds beside the conversation.

This module knows messages, settings, prompts and a tokenizer: nothing of chat templates or how
prompts are made.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage

from langchain_amulet.chat_formats.long_texts import is_longer
from langchain_amulet.chat_models.model_handle import ModelHandle, OpenModel
from langchain_amulet.chat_models.settings import CallSettings
from langchain_amulet.errors import ContextLengthError
from langchain_amulet.steering import Plan, Stream
from langchain_amulet.validation.wording import quoted


def check_fits(model: OpenModel, messages: Sequence[BaseMessage]) -> None:
    """Refuse a conversation that is longer than the context, whatever a template makes of it.

    What is left passes, and is counted exactly once it is rendered.

    Raises:
        ContextLengthError: It can't fit.
    """
    limit = model.context_length
    # Together, as short texts by themselves would take long to look at and count for nothing.
    text = "".join(text for message in messages for text in _texts(message))
    if limit is not None and is_longer(model.tokenizer, text, limit):
        raise ContextLengthError(
            f"Prompt and answer must fit the model's context of {limit} tokens, but the "
            f"{len(text)} characters of the messages are more than that: shorten the conversation."
        )


def check_prompts_fit(
    handle: ModelHandle,
    plan: Plan,
    prompts: Sequence[Sequence[int]],
    settings: CallSettings,
    answer: int,
    remedy: str = "lower max_tokens",
) -> None:
    """Refuse a call whose prompts leave no room for its answer, and say what takes it.

    Whoever shortens a conversation doesn't see what is told along with it, such as a preference
    that is stored.

    Args:
        handle: The model that answers, and those beside it that the plan names.
        plan: Which streams there are.
        prompts: Token ids of each.
        settings: What is told along with the conversation. None of it is quoted.
        answer: The most tokens of an answer.
        remedy: How to have a shorter one.

    Raises:
        ContextLengthError: A prompt and the answer don't fit.
    """
    own = handle.opened
    # The longest one first: that is the one to tell of.
    lengths = sorted(((len(ids), at) for at, ids in enumerate(prompts)), reverse=True)
    for length, at in lengths:
        stream = plan.streams[at]
        reader = own if stream.model is None else handle.companion(stream.model)
        limit, wanted = reader.context_length, length + answer
        if limit is None or wanted <= limit:
            continue
        along = _told_along(reader, stream, settings)
        told = f", of which {' and '.join(along.values())}" if along else ""
        whose = "the model's" if stream.model is None else f"{stream.model!r}'s"
        raise ContextLengthError(
            f"Prompt and answer must fit {whose} context of {limit} tokens, but {length} + "
            f"{quoted(answer)} is {quoted(wanted)}{told}. Shorten "
            f"{', '.join(['the conversation', *along])} or {remedy}."
        )


def _told_along(model: OpenModel, stream: Stream, settings: CallSettings) -> dict[str, str]:
    """What a prompt holds beside the conversation, each with how many tokens are its."""
    told = settings.response_format
    schemas = [told.schema] if told is not None and told.told else []
    along = {
        "the preference": [settings.preferences[index].text for index in stream.preferences],
        # Chat templates write these in ways of their own.
        "the tools": [_written(tool["function"]) for tool in settings.offered],
        "the schema": [_written(schema) for schema in schemas],
    }
    are = {
        "the preference": "{} are the preference's",
        "the tools": "about {} are the tools'",
        "the schema": "about {} are the schema's",
    }
    return {
        what: are[what].format(sum(len(_encoded(model, text)) for text in texts))
        for what, texts in along.items()
        if texts
    }


def _written(value: Mapping[str, Any]) -> str:
    return json.dumps(value, ensure_ascii=False)


def _encoded(model: OpenModel, text: str) -> Sequence[int]:
    ids: Sequence[int] = model.tokenizer.encode(text, add_special_tokens=False)
    return ids


def _texts(message: BaseMessage) -> Iterator[str]:
    """What of a message every template writes: of answers, some leave out the thoughts."""
    if isinstance(message, AIMessage):
        return
    blocks = [message.content] if isinstance(message.content, str) else message.content
    for block in blocks:
        text = block.get("text") if isinstance(block, dict) else block
        if isinstance(text, str):
            yield text
