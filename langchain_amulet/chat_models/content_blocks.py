"""What the blocks of a message's content say, in the forms that LangChain and providers have.

A block is a text, a thought, a call, the result of one, or something that isn't text. That is
refused where a human hands it over, who can do without. In results of tools and in past answers
nobody chose it: there words say that it was there.

This module knows one message's blocks: nothing of conversations, turns or templates.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.messages.tool import ToolCall, tool_call

from langchain_amulet.errors import UnsupportedContentError
from langchain_amulet.validation.json_data import as_written
from langchain_amulet.validation.wording import quoted

TEXT_BLOCKS = frozenset({"text", "text-plain", "input_text", "output_text"})
"""Types of content blocks that are read."""

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

SILENT_BLOCKS = frozenset(
    {
        *THOUGHT_BLOCKS,
        *CALL_BLOCKS,
        "redacted_thinking",
        "tool_call_chunk",
        "input_json_delta",
    }
)
"""Types of blocks in an assistant's content that its ``tool_calls`` hold or that aren't resent."""

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


def parts_of(message: BaseMessage) -> list[str | dict[str, Any]]:
    """A message's content, block by block; a text by itself is one."""
    return [message.content] if isinstance(message.content, str) else message.content


def blocks_of(message: BaseMessage, *kinds: str) -> list[dict[str, Any]]:
    """A message's blocks of these types; a text by itself has none."""
    return [
        block
        for block in parts_of(message)
        if isinstance(block, dict) and block.get("type") in kinds
    ]


def text_at(block: Mapping[str, Any], key: str) -> str:
    """What a block says under a key; nothing where that is no text."""
    value = block.get(key)
    return value if isinstance(value, str) else ""


def block_text(block: str | dict[str, Any], role: str, message_type: str) -> str:
    """What a block says, or words for what it is.

    Args:
        block: The block, or a text in its place.
        role: The role of its message, as chat templates call it.
        message_type: What LangChain calls its message.

    Raises:
        UnsupportedContentError: It isn't text, and its message neither an answer nor a result.
    """
    if isinstance(block, str):
        return block
    if (text := _text_held(block, in_result=role == "tool")) is not None:
        return text
    if role == "assistant":
        return _answered(block)
    if role == "tool":
        is_media = _is_media(block)
        return _described(block) if is_media else json.dumps(as_written(block), ensure_ascii=False)
    raise UnsupportedContentError(
        f"This model reads text only, but a message of type {quoted(message_type)} holds a block "
        f"of type {quoted(block.get('type'))}: leave the block out, or describe it in words."
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
        return text_at(block, "refusal")
    return "" if kind in SILENT_BLOCKS else _described(block)


def _described(block: Mapping[str, Any]) -> str:
    """Words for what isn't text: what it is, and its kind of data or its name."""
    name = text_at(block, "name") or text_at(block, "filename")
    words = (text_at(block, "type") or "block", name, _mime_type(block))
    return f"[{' '.join(word for word in words if word)}]"


def _mime_type(block: Mapping[str, Any]) -> str | None:
    """What kind of data a block holds, if it says so."""
    places = [block, *(value for value in block.values() if isinstance(value, Mapping))]
    for place in places:
        named = text_at(place, "mime_type") or text_at(place, "media_type")
        urls = (place.get("url"), place.get("image_url"))
        data = next((url for url in urls if isinstance(url, str) and url[:5] == "data:"), "")
        if named or data:
            return named or data[5:].partition(";")[0]
    return None


def _is_media(block: Mapping[str, Any]) -> bool:
    """Whether a block of a result holds or points at data, and isn't data itself."""
    return block.get("type") in MEDIA_BLOCKS and not MEDIA_FIELDS.isdisjoint(block)


def thoughts(held: Any, key: str = "text") -> Iterator[str]:
    """The texts of a thought, of which providers that keep it to themselves tell a summary."""
    if isinstance(held, str):
        yield held
    elif isinstance(held, Mapping):
        summaries = held.get("summary")
        for part in (held.get(key), *(summaries if isinstance(summaries, list) else ())):
            yield from thoughts(part)


def call_in(block: Mapping[str, Any]) -> ToolCall | None:
    """The call that a block holds; None for a piece of one, of which nobody knows the rest."""
    given = block.get(CALL_BLOCKS[block["type"]])
    given = block.get("partial_json") if _is_nothing(given) else given
    arguments = arguments_in(given)
    if arguments is None and block["type"] == "invalid_tool_call":
        arguments = {"arguments": given}
    call_id = text_at(block, "call_id") or text_at(block, "id")
    name = text_at(block, "name")
    return None if arguments is None else tool_call(name=name, args=arguments, id=call_id)


def arguments_in(given: Any) -> dict[str, Any] | None:
    """A call's arguments, whether they are JSON or read already; None if they are neither."""
    try:
        arguments = json.loads(given) if isinstance(given, str) and given else given
    except ValueError:
        return None
    if _is_nothing(arguments):
        return {}
    return dict(arguments) if isinstance(arguments, Mapping) else None


def _is_nothing(value: Any) -> bool:
    # By its type first, as arrays can't say whether they are true.
    return value is None or (isinstance(value, (str, list, tuple, Mapping)) and not value)
