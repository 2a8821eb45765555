"""A call that is ready to be answered, and answers to it as they are decoded.

This module knows the engine and what makes chunks of its tokens: nothing of settings or prompts,
nor of how a call came about.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, Protocol

from langchain_core.messages import BaseMessage
from langchain_core.outputs import ChatGenerationChunk

from langchain_amulet.chat_models.response import ResponseBuilder
from langchain_amulet.engine import Constraint, Engine, Request, TokenStream

Chunks = Generator[ChatGenerationChunk, None, None]
AsyncChunks = AsyncGenerator[ChatGenerationChunk, None]


class Answering(Protocol):
    """A call on its way to an answer, whatever way that is.

    The answer comes in chunks; the last one tells what it cost. Closing the generator ends the
    work and frees its rows.
    """

    def chunks(self) -> Chunks:
        """Find the answer."""
        ...

    def achunks(self) -> AsyncChunks:
        """Find the answer without blocking the event loop."""
        ...


@dataclass(frozen=True)
class Draft:
    """One answer that only has to be decoded: what is slow or refused about it lies behind."""

    engine: Engine
    request: Request
    answer: ResponseBuilder

    def chunks(self) -> Chunks:
        """Decode the answer."""
        with self.submit() as generation:
            yield from self.read(generation)

    async def achunks(self) -> AsyncChunks:
        """Decode the answer without blocking the event loop."""
        with self.submit() as generation:
            async for chunk in self.aread(generation):
                yield chunk

    def submit(self) -> TokenStream:
        """Ask for the tokens; leaving the generation's ``with`` block frees its rows."""
        return self.engine.submit(self.request)

    def read(self, generation: TokenStream) -> Chunks:
        """The answer as it is decoded."""
        for token in generation:
            yield from self.answer.feed(token)
            if self.answer.stopped:
                break
        generation.cancel()  # nobody needs what follows a stop string
        yield from self.answer.finish(generation.finish_reason)

    async def aread(self, generation: TokenStream) -> AsyncChunks:
        """The answer as it is decoded, without blocking the event loop."""
        async for token in generation:
            for chunk in self.answer.feed(token):
                yield chunk
            if self.answer.stopped:
                break
        generation.cancel()
        for chunk in self.answer.finish(generation.finish_reason):
            yield chunk


@dataclass(frozen=True)
class PreparedCall:
    """A call made ready, from which any number of answers can be drafted.

    Attributes:
        engine: Who decodes them.
        messages: The conversation.
        preferences: How it is to be answered, in words: those that count.
        request: What is asked of the engine, but for the constraint.
        constrain: Makes the constraint of one answer; None where it is free.
        read: Makes what turns one answer's tokens into chunks.
    """

    engine: Engine
    messages: tuple[BaseMessage, ...]
    preferences: tuple[str, ...]
    request: Request
    constrain: Callable[[], Constraint | None]
    read: Callable[[], ResponseBuilder]

    def draft(self, **changes: Any) -> Draft:
        """An answer to this call; ``changes`` are to fields of its request.

        Raises:
            SchemaError: The answer can't be held to a schema that it must have.
        """
        request = replace(self.request, constraint=self.constrain(), **changes)
        return Draft(self.engine, request, self.read())
