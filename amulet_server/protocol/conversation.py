"""A request's messages as LangChain's.

Knows both sides' forms. Doesn't know who is talking, or how answers are steered.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.tool import invalid_tool_call, tool_call

from amulet_server.protocol.message_input import (
    AssistantInput,
    CallInput,
    MessageInput,
    RefusalPart,
    SystemInput,
    TextPart,
    UserInput,
)


def to_messages(messages: Sequence[MessageInput]) -> list[BaseMessage]:
    """The conversation as LangChain's messages."""
    return [_to_message(message) for message in messages]


def _to_message(message: MessageInput) -> BaseMessage:
    text = _text(message.content)
    if isinstance(message, SystemInput):
        return SystemMessage(text, name=message.name)
    if isinstance(message, UserInput):
        return HumanMessage(text, name=message.name)
    if isinstance(message, AssistantInput):
        return _to_answer(message, text)
    return ToolMessage(text, tool_call_id=message.tool_call_id)


def _to_answer(message: AssistantInput, text: str) -> AIMessage:
    calls = [(call, _arguments(call)) for call in message.tool_calls or ()]
    thought = message.reasoning_content
    return AIMessage(
        text or message.refusal or "",
        name=message.name,
        tool_calls=[
            tool_call(name=call.function.name, args=arguments, id=call.id)
            for call, arguments in calls
            if arguments is not None
        ],
        # What can't be read is told to the model as it was written.
        invalid_tool_calls=[
            invalid_tool_call(
                name=call.function.name, args=call.function.arguments, id=call.id, error=None
            )
            for call, arguments in calls
            if arguments is None
        ],
        additional_kwargs={"reasoning_content": thought} if thought else {},
    )


def _arguments(call: CallInput) -> dict[str, Any] | None:
    """A call's arguments; None if they aren't an object of JSON."""
    try:
        arguments = json.loads(call.function.arguments or "{}")
    except (ValueError, RecursionError):
        return None
    return arguments if isinstance(arguments, dict) else None


def _text(content: str | Sequence[TextPart | RefusalPart] | None) -> str:
    if isinstance(content, str) or content is None:
        return content or ""
    return "".join(part.text if isinstance(part, TextPart) else part.refusal for part in content)
