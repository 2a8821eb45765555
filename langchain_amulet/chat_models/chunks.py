"""From the pieces of an answer to LangChain's chunks.

This module knows what LangChain makes of chunks when it joins them: nothing of how an answer is
taken apart, of tokens or prompts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from uuid import uuid4

from langchain_core.messages import AIMessageChunk
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import ToolCallChunk, tool_call_chunk
from langchain_core.outputs import ChatGenerationChunk

from langchain_amulet.chat_formats.tool_call_parser import OutputPart
from langchain_amulet.grammar.json_position import JsonPosition

Block = dict[str, Any]
"""A content block of LangChain's, with its number in the answer as ``index``."""


class ChunkWriter:
    """Writes the chunks of one answer, a piece in each: of more, LangChain loses track.

    A call's first chunk has its name and id; those that follow have arguments and the same
    index. Stretches of text, thoughts and calls are numbered, and a call's index is its number.
    """

    def __init__(self, output_version: str | None = None) -> None:
        """Start an answer.

        Args:
            output_version: With "v1" a chunk's content is a numbered block. LangChain makes
                blocks of other chunks, too, but in numbering them takes no heed of the calls'
                indexes, and then joins a text with a call of the same number.
        """
        self._has_blocks = output_version == "v1"
        self._kind = ""  # of the stretch that was written last
        self._index = -1
        self._arguments = ""  # of the call that was written last

    def write(self, piece: OutputPart) -> ChatGenerationChunk:
        """The chunk for the piece of the answer that comes next."""
        block = self._block(piece)
        kind, text = block["type"], str(block.get("text", ""))
        thought = {"reasoning_content": block["reasoning"]} if kind == "reasoning" else {}
        message = AIMessageChunk(
            content=[dict(block)] if self._has_blocks else text,
            additional_kwargs=thought,
            tool_call_chunks=[cast("ToolCallChunk", block)] if kind == "tool_call_chunk" else [],
            response_metadata=self._version,
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

    @property
    def _version(self) -> dict[str, str]:
        return {"output_version": "v1"} if self._has_blocks else {}

    def _block(self, piece: OutputPart) -> Block:
        if piece.kind in ("text", "thought"):
            self._index += piece.kind != self._kind
            self._kind = piece.kind
            kind = "text" if piece.kind == "text" else "reasoning"
            return {"type": kind, kind: piece.text, "index": self._index}
        if piece.kind == "call":
            self._kind, self._arguments = piece.kind, ""
            self._index += 1
            return self._call(piece.text or None, "", _call_id())
        arguments = piece.text if piece.kind == "arguments" else _misfit(self._arguments)
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
