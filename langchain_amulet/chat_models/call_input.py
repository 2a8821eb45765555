"""What a call is given, as LangChain's models take it, and what can't be read of anything else.

LangChain has its own conversion and traces what comes of it. Where either would fail by an error of
its own, the caller is told here what to do about it.

This module knows LangChain's conversion and its tracing: nothing of turns, templates or
preferences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from langchain_core.messages import BaseMessage, is_data_content_block
from langchain_core.prompt_values import ChatPromptValue, PromptValue

from langchain_amulet.chat_models.content_blocks import block_text, blocks_of, parts_of
from langchain_amulet.chat_models.messages import ROLES, role_of
from langchain_amulet.errors import AmuletError, RequestError
from langchain_amulet.validation.json_data import check_nesting
from langchain_amulet.validation.wording import quoted


def as_prompt(convert: Callable[[Any], PromptValue], given: Any) -> PromptValue:
    """What a call is given, as LangChain's models take it: a text, messages, or a prompt.

    Args:
        convert: LangChain's own conversion.
        given: What it is to convert.

    Raises:
        RequestError: It is none of these.
    """
    try:
        prompt = convert(given)
        messages = prompt.to_messages()
    except AmuletError:
        raise
    except Exception:  # of whatever kind LangChain raises for what it doesn't know
        raise RequestError(
            f"A call needs a text, a list of messages or a prompt, but {_fault(convert, given)}."
        ) from None
    traceable = [_traceable(message) for message in messages]
    is_same = all(one is other for one, other in zip(messages, traceable, strict=True))
    return prompt if is_same else ChatPromptValue(messages=traceable)


def _fault(convert: Callable[[Any], PromptValue], given: Any) -> str:
    """What of this can't be read, and what to do about it; nothing of what is said there."""
    if isinstance(given, (BaseMessage, Mapping)):
        return f"this {type(given).__name__} is at most one message: put it in a list"
    for index, each in enumerate(given if isinstance(given, (list, tuple)) else ()):
        if not _can_convert(convert, each):
            return f"message {index} {_message_fault(convert, each)}"
    return f"{quoted(given)} can't be read as one: give one of those"


def _can_convert(convert: Callable[[Any], PromptValue], message: Any) -> bool:
    try:
        convert([message])
    except Exception:  # of whatever kind LangChain raises for what it doesn't know
        return False
    return True


def _message_fault(convert: Callable[[Any], PromptValue], message: Any) -> str:
    if isinstance(message, Mapping):
        role, content = message.get("role", message.get("type")), message.get("content")
        if role is None or "content" not in message:
            return f"has no {'role' if role is None else 'content'!r}: add it"
        if role == "tool" and "tool_call_id" not in message:
            return "of the role 'tool' has no 'tool_call_id': add the id of the call it answers"
        if message.get("tool_calls") and _can_convert(convert, {**message, "tool_calls": []}):
            return (
                f"of the role {role!r} has tool calls that can't be read: give each an 'id' and a "
                "'function' with a 'name' and 'arguments', a JSON object as text such as '{}'"
            )
    elif isinstance(message, (tuple, list)) and len(message) == 2:
        role, content = message
    else:
        return (
            f"is of type {type(message).__name__}: use a message, a text, a dict with 'role' and "
            "'content', or a pair of both"
        )
    if role not in ROLES:
        said = quoted(role) if isinstance(role, str) else f"this {type(role).__name__}"
        return f"has the role {said}: use one of {', '.join(ROLES)}"
    return (
        f"of the role {role!r} has what can't be read, with content of type "
        f"{type(content).__name__}: give a text, or a list of blocks"
    )


def _traceable(message: BaseMessage) -> BaseMessage:
    """A message that LangChain can trace, which it does before it asks a model for anything.

    Raises:
        RequestError: A block has no type that could be one.
        UnsupportedContentError: It could trace none of a picture that a human hands over.
    """
    content = parts_of(message)
    kinds = [block.get("type") for block in content if isinstance(block, dict)]
    if wrong := [kind for kind in kinds if not isinstance(kind, str) and kind is not None]:
        raise RequestError(
            f"The type of a message's block must be a text, not {quoted(wrong[0])}: use 'text' for "
            "what is to be read."
        )
    untold = [block for block in blocks_of(message, "image") if _is_untraceable(block)]
    if not untold:
        return message
    check_nesting(RequestError, "A message", untold)
    # By identity, as blocks may hold arrays, which can't be compared.
    theirs = set(map(id, untold))
    role = role_of(message)
    told = [
        block_text(each, role, message.type) if id(each) in theirs else each for each in content
    ]
    return message.model_copy(update={"content": told})


def _is_untraceable(picture: dict[str, Any]) -> bool:
    """Whether LangChain raises for a picture, as for data of which it isn't said what it is."""
    is_there = "base64" in picture or "data" in picture
    is_known = "mime_type" in picture and is_there
    is_elsewhere = not picture.keys().isdisjoint(("url", "file_id"))
    is_named = is_elsewhere or picture.get("source_type") == "id"
    return is_data_content_block(picture) and not (is_known or is_named)
