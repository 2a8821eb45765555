"""LangChain's messages as turns, the role-and-content dicts that chat templates read.

Messages in Anthropic's blocks are taken apart first: there a human's message brings the results of
tools, and a call may stand in a block alone.

This module knows LangChain's messages only: no template, tokenizer or preference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from types import MappingProxyType
from typing import Any

from langchain_core.messages import (
    AIMessage,
    BaseMessage,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    ToolMessage,
)
from langchain_core.messages.tool import tool_call

from langchain_amulet.chat_formats.turns import Turn, join_texts
from langchain_amulet.chat_models.content_blocks import (
    CALL_BLOCKS,
    THOUGHT_BLOCKS,
    arguments_in,
    block_text,
    blocks_of,
    call_in,
    parts_of,
    text_at,
    thoughts,
)
from langchain_amulet.errors import EmptyInputError, RequestError
from langchain_amulet.validation.json_data import as_written, check_nesting
from langchain_amulet.validation.wording import quoted

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


def to_turns(messages: Sequence[BaseMessage]) -> list[Turn]:
    """The conversation as turns, one per message, but for those that are taken apart.

    A human's and an answer's ``name`` is the turn's, and what was thought before an answer is its
    ``reasoning_content``: chat templates that have a place for these write them.

    Results of tools are in the order of the calls that they answer and have the tools' names, as
    most chat templates write neither ids nor what a call and its result have in common. Artifacts
    aren't for the model.

    Raises:
        EmptyInputError: There is no message, or none with text or a tool call.
        UnsupportedContentError: A human's or system message holds something other than text.
        RequestError: A message has a role that chat templates don't know, or holds lists and dicts
            in one another without end.
    """
    for index, message in enumerate(messages):
        role_of(message, f"The role of message {index}")
    messages = [own for message in messages for own in _unfolded(message)]
    for message in messages:
        held = [message.content, *getattr(message, "tool_calls", ())]
        check_nesting(RequestError, "A message", held)
    turns = [_to_turn(message) for message in messages]
    if not any(turn["content"].strip() or turn.get("tool_calls") for turn in turns):
        raise EmptyInputError(
            f"A call needs at least one message with text, but none of its {len(messages)} "
            "messages has any: add a question."
        )
    return _matched(messages, turns)


def role_of(message: BaseMessage, what: str = "A message's role") -> str:
    """What chat templates call a message's role.

    Raises:
        RequestError: They don't know it; the error calls it ``what``.
    """
    name = message.role if isinstance(message, ChatMessage) else message.type
    name = name.removesuffix("MessageChunk").lower()
    if name not in ROLES:
        raise RequestError(
            f"{what} must be one of {', '.join(ROLES)}, not {quoted(name)}: "
            "use SystemMessage, HumanMessage, AIMessage or ToolMessage."
        )
    return ROLES[name]


def _unfolded(message: BaseMessage) -> list[BaseMessage]:
    """The messages that a message is made of: itself, if there is nothing foreign in it."""
    if isinstance(message, HumanMessage):
        return _results_apart(message)
    return [_with_all_calls(message)] if isinstance(message, AIMessage) else [message]


def _results_apart(message: HumanMessage) -> list[BaseMessage]:
    results = blocks_of(message, "tool_result")
    if not results:
        return [message]
    theirs = set(map(id, results))
    said = [block for block in message.content if id(block) not in theirs]
    rest: list[BaseMessage] = [message.model_copy(update={"content": said})] if said else []
    return [*map(_result, results), *rest]


def _result(block: Mapping[str, Any]) -> BaseMessage:
    content = block.get("content")
    if not isinstance(content, (str, list)):
        content = "" if content is None else [content]
    return ToolMessage(
        content=content,
        tool_call_id=text_at(block, "tool_use_id"),
        status="error" if block.get("is_error") is True else "success",
    )


def _with_all_calls(message: AIMessage) -> AIMessage:
    """The message with the calls that stand elsewhere than in its ``tool_calls``."""
    known = [call["id"] for call in (*message.tool_calls, *message.invalid_tool_calls)]
    found = filter(None, map(call_in, blocks_of(message, *CALL_BLOCKS)))
    # One without an id is known, where any call is.
    more = [call for call in found if call["id"] not in ("", *known) or not known]
    old = message.additional_kwargs.get("function_call")
    if not (known or more) and isinstance(old, Mapping) and isinstance(old.get("name"), str):
        # In OpenAI's first form it is the only one, which a `FunctionMessage` answers.
        given = old.get("arguments")
        args = {"arguments": given} if (read := arguments_in(given)) is None else read
        more = [tool_call(name=old["name"], args=args, id=old["name"])]
    if not more:
        return message
    return message.model_copy(update={"tool_calls": [*message.tool_calls, *more]})


def _matched(messages: Sequence[BaseMessage], turns: Sequence[Turn]) -> list[Turn]:
    """The turns with results named and, among neighbours, in the order of their calls."""
    matched: list[Turn] = []
    called: dict[str, str] = {}  # names of tools by the ids of calls, which may come again
    pairs = zip(messages, turns, strict=True)
    for are_results, run in groupby(pairs, key=lambda pair: pair[1]["role"] == "tool"):
        if are_results:
            matched.extend(_answering([turn for _, turn in run], called))
            continue
        for message, turn in run:
            matched.append(turn)
            for call_id, name in _calls(message):
                # Anew, as the order of this dict is that in which results are put.
                called.pop(call_id, None)
                called[call_id] = name
    return matched


def _answering(results: Sequence[Turn], called: Mapping[str, str]) -> list[Turn]:
    places = {call_id: place for place, call_id in enumerate(called)}
    found = [(turn.get("tool_call_id", ""), turn) for turn in results]
    in_order = sorted(found, key=lambda pair: places.get(pair[0], len(places)))
    return [
        {"name": called[call_id], **turn} if called.get(call_id) else turn
        for call_id, turn in in_order
    ]


def _calls(message: BaseMessage) -> list[tuple[str, str]]:
    """Ids and names of the calls that a message makes, also of those that can't be read."""
    if not isinstance(message, AIMessage):
        return []
    calls = (*message.tool_calls, *message.invalid_tool_calls)
    return [(call["id"] or "", call["name"] or "") for call in calls]


def _to_turn(message: BaseMessage) -> Turn:
    role = role_of(message)
    turn: Turn = {"role": role, "content": _text(message, role)}
    if isinstance(message, AIMessage) and message.tool_calls:
        turn["tool_calls"] = [
            {
                "type": "function",
                "id": call["id"],
                "function": {"name": call["name"], "arguments": as_written(call["args"])},
            }
            for call in message.tool_calls
        ]
    if isinstance(message, AIMessage) and (thought := _thought(message)):
        turn["reasoning_content"] = thought
    if isinstance(message, ToolMessage):
        turn["tool_call_id"] = message.tool_call_id
    if isinstance(message, FunctionMessage):
        turn["tool_call_id"] = message.name  # all that it has in common with its call
    if role != "system" and message.name:
        turn["name"] = message.name
    return turn


def _text(message: BaseMessage, role: str) -> str:
    between = "\n" if isinstance(message, ToolMessage) else ""  # blocks of a tool are items
    text = between.join(block_text(block, role, message.type) for block in parts_of(message))
    if isinstance(message, ToolMessage) and message.status == "error":
        return text if text.lstrip().lower().startswith("error") else f"Error: {text}"
    if isinstance(message, AIMessage):
        broken = (
            f"{call['name'] or ''}{call['args'] or ''}" for call in message.invalid_tool_calls
        )
        return join_texts(text or _said_beside(message), *broken)
    return text


def _said_beside(message: AIMessage) -> str:
    """What an answer without content says, in OpenAI's form: that it refuses, or what it spoke."""
    refusal, audio = (message.additional_kwargs.get(key) for key in ("refusal", "audio"))
    if isinstance(refusal, str):
        return refusal
    return (text_at(audio, "transcript") or "[audio]") if isinstance(audio, Mapping) else ""


def _thought(message: AIMessage) -> str:
    """What was thought before an answer, as this model or another one keeps it."""
    for name in ("reasoning_content", "reasoning"):
        if own := "".join(thoughts(message.additional_kwargs.get(name))):
            return own
    blocks = blocks_of(message, *THOUGHT_BLOCKS)
    return "".join(text for each in blocks for text in thoughts(each, each["type"]))
