"""The parts of an answer as LangChain's chunks: text, thoughts and calls, and what ends them.

Knows what LangChain makes of chunks. Doesn't know tokens, or how an answer is taken apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from uuid import uuid4

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_amulet.chat_formats.output_parser import OutputPart
from langchain_amulet.grammar.json_position import JsonPosition

Block = dict[str, Any]
"""A content block of LangChain's, with its number in the answer as ``index``."""


class ChunkWriter:
    """Writes the chunks of one answer, a part in each: of more, LangChain loses track.

    A call's first chunk has its name and id; those that follow have arguments and the same
    index. Stretches of text, thoughts and calls are numbered, and a call's index is its number.

    Attributes:
        calls: How many calls of tools were written that can be read.
    """

    def __init__(self, output_version: str | None = None) -> None:
        """Start an answer.

        Args:
            output_version: With "v1" a chunk's content is a numbered block. LangChain makes
                blocks of other chunks, too, but in numbering them takes no heed of the calls'
                indexes, and then joins a text with a call of the same number.
        """
        self.calls = 0
        self._has_blocks = output_version == "v1"
        self._version = {"output_version": "v1"} if self._has_blocks else {}
        self._kind = ""  # of the stretch that was written last
        self._index = -1
        self._arguments = ""  # of the call that was written last

    def write(
        self, part: OutputPart, metadata: Mapping[str, Any] | None = None
    ) -> ChatGenerationChunk:
        """The chunk for the part of the answer that comes next, with what is told of it."""
        block = self._block(part)
        kind, text = block["type"], str(block.get("text", ""))
        thought = {"reasoning_content": block["reasoning"]} if kind == "reasoning" else {}
        message = AIMessageChunk(
            content=[dict(block)] if self._has_blocks else text,
            additional_kwargs=thought,
            tool_call_chunks=[cast("ToolCallChunk", block)] if kind == "tool_call_chunk" else [],
            response_metadata={**(metadata or {}), **self._version},
        )
        return ChatGenerationChunk(message=message)

    def last(self, usage: UsageMetadata, metadata: Mapping[str, Any]) -> ChatGenerationChunk:
        """The chunk that ends the answer."""
        message = AIMessageChunk(
            content=[] if self._has_blocks else "",
            usage_metadata=usage,
            response_metadata={**metadata, **self._version},
            chunk_position="last",
        )
        return ChatGenerationChunk(message=message)

    def _block(self, part: OutputPart) -> Block:
        if part.kind in ("text", "thought"):
            self._index += part.kind != self._kind
            self._kind = part.kind
            kind = "text" if part.kind == "text" else "reasoning"
            return {"type": kind, kind: part.text, "index": self._index}
        if part.kind == "call":
            self._kind, self._arguments = part.kind, ""
            self._index += 1
            self.calls += 1
            return self._call(part.text or None, "", _call_id())
        is_broken = part.kind == "broken"
        self.calls -= is_broken
        arguments = _misfit(self._arguments) if is_broken else part.text
        self._arguments += arguments
        return self._call(None, arguments, None)

    def _call(self, name: str | None, arguments: str, call_id: str | None) -> Block:
        return {**tool_call_chunk(name=name, args=arguments, id=call_id, index=self._index)}


def _misfit(arguments: str) -> str:
    """What to add to the arguments of a broken call, so that they are no JSON for sure.

    LangChain completes JSON that is cut short, and an agent would then call the tool with half an
    argument. Brackets that don't fit it leaves alone.
    """
    place = JsonPosition().after(arguments.encode(errors="replace"))
    return "\\" * place.escaped + '"' * place.in_string + "{]"


def _call_id() -> str:
    """Names a call: nine letters and digits, as Mistral's templates want, hardly ever twice."""
    return uuid4().hex[:9]
