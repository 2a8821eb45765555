"""LangChain's messages as turns, the role-and-content dicts that chat templates read.

Messages in Anthropic's blocks are taken apart first: there a human's message brings the results of
tools, and a call may stand in a block alone.

What isn't text is refused where a human hands it over, who can do without. In results of tools and
in past answers nobody chose it: there words say that it was there.

This module knows LangChain's messages only: no template, tokenizer or preference.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    is_data_content_block,
)
from langchain_core.messages.tool import ToolCall, tool_call
from langchain_core.prompt_values import ChatPromptValue, PromptValue

from langchain_amulet.chat_formats.turns import Turn, join_texts
from langchain_amulet.errors import (
    AmuletError,
    EmptyInputError,
    RequestError,
    UnsupportedContentError,
)
from langchain_amulet.validation import as_written, check_nesting, quoted

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

TEXT_BLOCKS = frozenset({"text", "text-plain", "input_text", "output_text"})
"""Types of content blocks that are read."""

SILENT_BLOCKS = frozenset(
    {
        "reasoning",
        "reasoning_content",
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


THOUGHT_BLOCKS = ("reasoning", "thinking", "reasoning_content")
"""Types of blocks that hold a thought, in a field of the same name."""

CALL_BLOCKS: Mapping[str, str] = MappingProxyType(
    {
        "tool_use": "input",
        "tool_call": "args",
        "function_call": "arguments",
        "invalid_tool_call": "args",
    }
)
"""Types of blocks that hold a call, and the field in which its arguments are."""

MEDIA_BLOCKS = frozenset(
    {"image", "image_url", "audio", "input_audio", "video", "file", "document", "input_image"}
)
"""Types of blocks that hold something other than text."""

MEDIA_FIELDS = frozenset(
    {
        "audio",
        "base64",
        "data",
        "file",
        "file_id",
        "image_url",
        "input_audio",
        "source",
        "source_type",
        "url",
        "video_url",
    }
)
"""Fields of such blocks, by one of which they are told from a dict that only has a ``type``."""


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
    content = [] if isinstance(message.content, str) else message.content
    kinds = [block.get("type") for block in content if isinstance(block, dict)]
    if wrong := [kind for kind in kinds if not isinstance(kind, str) and kind is not None]:
        raise RequestError(
            f"The type of a message's block must be a text, not {quoted(wrong[0])}: use 'text' for "
            "what is to be read."
        )
    untold = [block for block in _blocks(message, "image") if _is_untraceable(block)]
    if not untold:
        return message
    check_nesting(RequestError, "A message", untold)
    # By identity, as blocks may hold arrays, which can't be compared.
    theirs = set(map(id, untold))
    told = [_block_text(each, message) if id(each) in theirs else each for each in content]
    return message.model_copy(update={"content": told})


def _is_untraceable(picture: dict[str, Any]) -> bool:
    """Whether LangChain raises for a picture, as for data of which it isn't said what it is."""
    is_there = "base64" in picture or "data" in picture
    is_known = "mime_type" in picture and is_there
    is_elsewhere = not picture.keys().isdisjoint(("url", "file_id"))
    is_named = is_elsewhere or picture.get("source_type") == "id"
    return is_data_content_block(picture) and not (is_known or is_named)


def to_turns(messages: Sequence[BaseMessage]) -> list[Turn]:
    """The conversation as turns, one per message; see `unfolded` for what counts as one.

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
        _role(message, f"The role of message {index}")
    messages = [own for message in messages for own in unfolded(message)]
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
    turn: Turn = {"role": _role(message), "content": _text(message)}
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
    if turn["role"] != "system" and message.name:
        turn["name"] = message.name
    return turn


def _thought(message: AIMessage) -> str:
    """What was thought before an answer, as this model or another one keeps it."""
    for name in ("reasoning_content", "reasoning"):
        if own := "".join(_thoughts(message.additional_kwargs.get(name))):
            return own
    blocks = _blocks(message, *THOUGHT_BLOCKS)
    return "".join(text for each in blocks for text in _thoughts(each, each["type"]))


def _thoughts(held: Any, key: str = "text") -> Iterator[str]:
    """The texts of a thought, of which providers that keep it to themselves tell a summary."""
    if isinstance(held, str):
        yield held
    elif isinstance(held, Mapping):
        summaries = held.get("summary")
        for part in (held.get(key), *(summaries if isinstance(summaries, list) else ())):
            yield from _thoughts(part)


def _role(message: BaseMessage, what: str = "A message's role") -> str:
    name = message.role if isinstance(message, ChatMessage) else message.type
    name = name.removesuffix("MessageChunk").lower()
    if name not in ROLES:
        raise RequestError(
            f"{what} must be one of {', '.join(ROLES)}, not {quoted(name)}: "
            "use SystemMessage, HumanMessage, AIMessage or ToolMessage."
        )
    return ROLES[name]


def _text(message: BaseMessage) -> str:
    between = "\n" if isinstance(message, ToolMessage) else ""  # blocks of a tool are items
    content = [message.content] if isinstance(message.content, str) else message.content
    text = between.join(_block_text(block, message) for block in content)
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
    return (_text_at(audio, "transcript") or "[audio]") if isinstance(audio, Mapping) else ""


def _block_text(block: str | dict[str, Any], message: BaseMessage) -> str:
    if isinstance(block, str):
        return block
    kind, role = block.get("type"), _role(message)
    if (text := _text_held(block, in_result=role == "tool")) is not None:
        return text
    if role == "assistant":
        return _answered(block)
    if role == "tool":
        is_media = _is_media(block)
        return _described(block) if is_media else json.dumps(as_written(block), ensure_ascii=False)
    raise UnsupportedContentError(
        f"This model reads text only, but a message of type {quoted(message.type)} holds a block "
        f"of type {quoted(kind)}: leave the block out, or describe it in words."
    )


def _text_held(block: Mapping[str, Any], in_result: bool) -> str | None:
    """What a block of text says, a document of plain text included; None if it is something else.

    Some providers write texts without a type. In results these are data.
    """
    kind, source = block.get("type"), block.get("source")
    if kind in TEXT_BLOCKS and ("text" in block or "content" not in block):
        text = block.get("text")
        is_elsewhere = text is None and not MEDIA_FIELDS.isdisjoint(block)
        return None if is_elsewhere else "" if text is None else str(text)
    if block.get("source_type") == "text" or (kind is None and not in_result):
        text = block.get("text")
    elif isinstance(source, Mapping) and source.get("type") == "text":
        text = source.get("data")
    else:
        text = None
    return text if isinstance(text, str) else None


def _answered(block: Mapping[str, Any]) -> str:
    """A block of a past answer in words: other models' answers hold more than text."""
    kind = block.get("type")
    if kind == "refusal":
        return _text_at(block, "refusal")
    return "" if kind in SILENT_BLOCKS else _described(block)


def _described(block: Mapping[str, Any]) -> str:
    """Words for what isn't text: what it is, and its kind of data or its name."""
    name = _text_at(block, "name") or _text_at(block, "filename")
    words = (_text_at(block, "type") or "block", name, _mime_type(block))
    return f"[{' '.join(word for word in words if word)}]"


def _mime_type(block: Mapping[str, Any]) -> str | None:
    """What kind of data a block holds, if it says so."""
    places = [block, *(value for value in block.values() if isinstance(value, Mapping))]
    for place in places:
        named = _text_at(place, "mime_type") or _text_at(place, "media_type")
        urls = (place.get("url"), place.get("image_url"))
        data = next((url for url in urls if isinstance(url, str) and url[:5] == "data:"), "")
        if named or data:
            return named or data[5:].partition(";")[0]
    return None


def _is_media(block: Mapping[str, Any]) -> bool:
    """Whether a block of a result holds or points at data, and isn't data itself."""
    return block.get("type") in MEDIA_BLOCKS and not MEDIA_FIELDS.isdisjoint(block)


def unfolded(message: BaseMessage) -> list[BaseMessage]:
    """The messages that a message is made of: itself, if there is nothing foreign in it."""
    if isinstance(message, HumanMessage):
        return _results_apart(message)
    return [_with_all_calls(message)] if isinstance(message, AIMessage) else [message]


def _results_apart(message: HumanMessage) -> list[BaseMessage]:
    results = _blocks(message, "tool_result")
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
        tool_call_id=_text_at(block, "tool_use_id"),
        status="error" if block.get("is_error") is True else "success",
    )


def _with_all_calls(message: AIMessage) -> AIMessage:
    """The message with the calls that stand elsewhere than in its ``tool_calls``."""
    known = [call["id"] for call in (*message.tool_calls, *message.invalid_tool_calls)]
    found = filter(None, map(_call_in, _blocks(message, *CALL_BLOCKS)))
    # One without an id is known, where any call is.
    more = [call for call in found if call["id"] not in ("", *known) or not known]
    old = message.additional_kwargs.get("function_call")
    if not (known or more) and isinstance(old, Mapping) and isinstance(old.get("name"), str):
        # In OpenAI's first form it is the only one, which a `FunctionMessage` answers.
        given = old.get("arguments")
        args = {"arguments": given} if (read := _arguments(given)) is None else read
        more = [tool_call(name=old["name"], args=args, id=old["name"])]
    if not more:
        return message
    return message.model_copy(update={"tool_calls": [*message.tool_calls, *more]})


def _call_in(block: Mapping[str, Any]) -> ToolCall | None:
    """The call that a block holds; None for a piece of one, of which nobody knows the rest."""
    given = block.get(CALL_BLOCKS[block["type"]]) or block.get("partial_json")
    arguments = _arguments(given)
    if arguments is None and block["type"] == "invalid_tool_call":
        arguments = {"arguments": given}
    call_id = _text_at(block, "call_id") or _text_at(block, "id")
    name = _text_at(block, "name")
    return None if arguments is None else tool_call(name=name, args=arguments, id=call_id)


def _arguments(given: Any) -> dict[str, Any] | None:
    """A call's arguments, whether they are JSON or read already; None if they are neither."""
    try:
        arguments = json.loads(given) if given and isinstance(given, str) else given or {}
    except ValueError:
        return None
    return dict(arguments) if isinstance(arguments, Mapping) else None


def _text_at(block: Mapping[str, Any], key: str) -> str:
    """What a block says under a key; nothing where that is no text."""
    value = block.get(key)
    return value if isinstance(value, str) else ""


def _blocks(message: BaseMessage, *kinds: str) -> list[dict[str, Any]]:
    """A message's blocks of these types; a text by itself has none."""
    content = [] if isinstance(message.content, str) else message.content
    return [block for block in content if isinstance(block, dict) and block.get("type") in kinds]
