"""LangChain's messages as turns, the role-and-content dicts that chat templates read.

This module knows LangChain's messages only: no template, tokenizer or preference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, ToolMessage

from langchain_amulet.errors import EmptyInputError, RequestError, UnsupportedContentError
from langchain_amulet.templates import Turn

ROLES: Mapping[str, str] = MappingProxyType(
    {
        "system": "system",
        "developer": "system",
        "human": "user",
        "user": "user",
        "ai": "assistant",
        "assistant": "assistant",
        "tool": "tool",
        "function": "tool",
    }
)
"""What chat templates call the roles. A closed list: some templates build control tokens of it."""

TEXT_BLOCKS = frozenset({"text", "text-plain"})
"""Types of content blocks that are read."""

SILENT_BLOCKS = frozenset(
    {
        "reasoning",
        "thinking",
        "redacted_thinking",
        "tool_use",
        "tool_call",
        "tool_call_chunk",
        "invalid_tool_call",
        "input_json_delta",
        "function_call",
    }
)
"""Types of blocks in an assistant's content that its ``tool_calls`` hold or that aren't resent."""


def to_turns(messages: Sequence[BaseMessage]) -> list[Turn]:
    """The conversation as turns, one per message.

    Raises:
        EmptyInputError: There is no message, or none with text or a tool call.
        UnsupportedContentError: A message holds something other than text.
        RequestError: A message has a role that chat templates don't know.
    """
    turns = [_to_turn(message) for message in messages]
    if not any(turn["content"].strip() or turn.get("tool_calls") for turn in turns):
        raise EmptyInputError(
            f"A call needs at least one message with text, but none of its {len(messages)} "
            "messages has any: add a question."
        )
    return turns


def _to_turn(message: BaseMessage) -> Turn:
    turn: Turn = {"role": _role(message), "content": _text(message)}
    if isinstance(message, AIMessage) and message.tool_calls:
        turn["tool_calls"] = [
            {
                "type": "function",
                "id": call["id"],
                "function": {"name": call["name"], "arguments": call["args"]},
            }
            for call in message.tool_calls
        ]
    if isinstance(message, ToolMessage):
        turn["tool_call_id"] = message.tool_call_id
    if turn["role"] == "tool" and message.name:
        turn["name"] = message.name
    return turn


def _role(message: BaseMessage) -> str:
    name = message.role if isinstance(message, ChatMessage) else message.type
    name = name.removesuffix("MessageChunk").lower()
    if name not in ROLES:
        raise RequestError(
            f"A message's role must be one of {', '.join(ROLES)}, not {name!r}: "
            "use SystemMessage, HumanMessage, AIMessage or ToolMessage."
        )
    return ROLES[name]


def _text(message: BaseMessage) -> str:
    if isinstance(message.content, str):
        return message.content
    return "".join(_block_text(block, message.type) for block in message.content)


def _block_text(block: str | dict[str, Any], sender: str) -> str:
    if isinstance(block, str):
        return block
    kind = block.get("type")
    if kind in TEXT_BLOCKS:
        return str(block.get("text", ""))
    if kind in SILENT_BLOCKS and sender.lower().startswith("ai"):
        return ""
    raise UnsupportedContentError(
        f"This model reads text only, but a message of type {sender!r} holds a block of type "
        f"{kind!r}: leave the block out, or describe it in words."
    )
