"""Messages in Anthropic's blocks as LangChain's own: calls and results of tools in their places.

There a human's message brings the results of tools, and a call may stand in a block alone.

This module knows LangChain's messages only: nothing of turns or templates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call


def unfolded(message: BaseMessage) -> list[BaseMessage]:
    """The messages that a message is made of: itself, if there is nothing foreign in it."""
    if isinstance(message, HumanMessage):
        return _results_apart(message)
    return [_with_all_calls(message)] if isinstance(message, AIMessage) else [message]


def _results_apart(message: HumanMessage) -> list[BaseMessage]:
    results = [_result(block) for block in _blocks(message, "tool_result")]
    if not results:
        return [message]
    said = [block for block in message.content if not _is_a(block, "tool_result")]
    rest: list[BaseMessage] = [message.model_copy(update={"content": said})] if said else []
    return [*results, *rest]


def _result(block: Mapping[str, Any]) -> BaseMessage:
    return ToolMessage(
        content=block.get("content") or "",
        tool_call_id=block.get("tool_use_id", ""),
        status="error" if block.get("is_error") else "success",
    )


def _with_all_calls(message: AIMessage) -> AIMessage:
    known = {call["id"] for call in (*message.tool_calls, *message.invalid_tool_calls)}
    more = [
        tool_call(name=block.get("name", ""), args=dict(block["input"]), id=block.get("id"))
        for block in _blocks(message, "tool_use")
        if block.get("id") not in known and isinstance(block.get("input"), Mapping)
    ]
    if not more:
        return message
    return message.model_copy(update={"tool_calls": [*message.tool_calls, *more]})


def _blocks(message: BaseMessage, kind: str) -> list[dict[str, Any]]:
    return [block for block in message.content if isinstance(block, dict) and _is_a(block, kind)]


def _is_a(block: str | dict[str, Any], kind: str) -> bool:
    return isinstance(block, dict) and block.get("type") == kind
