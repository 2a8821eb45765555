"""A request's messages as LangChain's, and its tools as a chat model takes them.

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

from amulet_server.protocol.chat_request import (
    AllowedChoice,
    AssistantInput,
    CallInput,
    ChatRequest,
    MessageInput,
    NamedTool,
    RefusalPart,
    SystemInput,
    TextPart,
    UserInput,
)
from langchain_amulet.errors import ToolError


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


def tool_arguments(request: ChatRequest) -> dict[str, Any]:
    """What a request says of tools, as arguments of a call.

    Raises:
        ToolError: Tools are allowed that aren't there, or there are none to choose from.
    """
    tools = [tool.model_dump(exclude_none=True) for tool in request.tools or ()]
    choice = request.tool_choice
    chosen: Any = None
    if isinstance(choice, AllowedChoice):
        tools = _allowed(tools, choice)
        chosen = choice.allowed_tools.mode
    elif isinstance(choice, NamedTool):
        chosen = choice.model_dump()
    elif choice is not None:
        chosen = choice
    if not tools:
        if chosen not in (None, "none", "auto") or request.parallel_tool_calls is not None:
            raise ToolError(
                "tool_choice and parallel_tool_calls are about tools, but there are none: add "
                "tools, or leave them out."
            )
        return {}
    arguments: dict[str, Any] = {"tools": tools, "tool_choice": chosen}
    if request.parallel_tool_calls is not None:
        arguments["parallel_tool_calls"] = request.parallel_tool_calls
    return arguments


def _allowed(tools: Sequence[dict[str, Any]], choice: AllowedChoice) -> list[dict[str, Any]]:
    names = {tool.function.name for tool in choice.allowed_tools.tools}
    allowed = [tool for tool in tools if tool["function"]["name"] in names]
    if len(allowed) < len(names):
        raise ToolError(
            "tool_choice must allow tools of the request, but allows some that aren't among them: "
            "add them to tools, or leave them out."
        )
    return allowed
