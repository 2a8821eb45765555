"""A server's stream of events, as the tokens of one answer.

Knows vLLM's completion chunks and the wire of answers. Doesn't know connections.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any

from langchain_amulet.engine.remote.answer_wire import CACHED, GIVEN_UP, REFUSED, token_of
from langchain_amulet.engine.request import Finish, Request, Token
from langchain_amulet.errors import (
    AmuletError,
    ContextLengthError,
    GenerationError,
    RequestError,
    ServerError,
)

DATA = "data:"
DONE = "[DONE]"


async def events(lines: AsyncIterable[str]) -> AsyncGenerator[Mapping[str, Any], None]:
    """The JSON objects of a stream of server-sent events."""
    async for line in lines:
        if line.startswith(DATA) and (said := line.removeprefix(DATA).strip()) != DONE:
            yield json.loads(said)


@dataclass
class Answer:
    """One answer as it comes, row by row.

    Attributes:
        request: What was asked.
        cached: How many tokens of each prompt weren't computed; known as the answer ends.
    """

    request: Request
    cached: list[int] = field(init=False)
    _rows: list[deque[_RowToken]] = field(init=False)
    _count: int = 0

    def __post_init__(self) -> None:
        """Start without tokens."""
        self._rows = [deque() for _ in self.request.prompts]
        self.cached = [0] * len(self._rows)

    def feed(self, said: Mapping[str, Any]) -> Iterator[Token | Finish]:
        """Take in an event; gives the tokens that all rows have now, and how the answer ended.

        Raises:
            GenerationError: A token wasn't steered.
            RequestError: The server can never decode the request, or doesn't take it.
            ServerError: The server failed.
        """
        if "error" in said:
            raise _failed(said["error"])
        for choice in said.get("choices", ()):
            self._end(choice["index"], choice.get("stop_reason"))
            self._rows[choice["index"]].extend(_row_tokens(choice))
        while all(self._rows):
            yield from self._advance()

    def _end(self, row: int, reason: object) -> None:
        """Take in why a row ends, if it does: a text is the scheduler's."""
        if not isinstance(reason, str):
            return
        if not reason.startswith(CACHED):
            raise _ended(reason)
        self.cached[row] = int(reason.removeprefix(CACHED))

    def broken(self) -> AmuletError:
        """What to raise where the stream ended and the answer hadn't."""
        return GenerationError(
            f"An answer must end by a stop token or max_tokens, but the server ended it after "
            f"{self._count} of {self.request.max_tokens} tokens. Its log says why; ask again."
        )

    def _advance(self) -> Iterator[Token | Finish]:
        """The next token, of which all rows have come, and the end if it is the last one."""
        said = [row.popleft() for row in self._rows]
        token = token_of([each.id for each in said], [each.value for each in said], said[0].others)
        token = replace(token, top_logprobs=token.top_logprobs[: self._wanted])
        if token.id in self.request.stop_ids:
            yield Finish("stop", token)
            return
        self._count += 1
        yield token
        if self._count == self.request.max_tokens:
            yield Finish("length")

    @property
    def _wanted(self) -> int:
        return self.request.sampling.top_logprobs or 0


@dataclass(frozen=True)
class _RowToken:
    """What one row says of a token: its id, its value, and the values of others."""

    id: int
    value: float
    others: Mapping[int, float]


def _row_tokens(choice: Mapping[str, Any]) -> Iterator[_RowToken]:
    logprobs = choice.get("logprobs") or {}
    tops = logprobs.get("top_logprobs") or [{}] * len(choice["token_ids"])
    values = logprobs.get("token_logprobs") or ()
    for token, value, top in zip(choice["token_ids"], values, tops, strict=True):
        others = {_id(name): other for name, other in (top or {}).items()}
        yield _RowToken(token, value, others)


def _id(name: str) -> int:
    return int(name.removeprefix("token_id:"))


def _ended(reason: str) -> AmuletError:
    """What to raise for a request that the server's scheduler refused or gave up."""
    if not reason.startswith(REFUSED):
        return ServerError(reason.removeprefix(GIVEN_UP))
    is_long = "shorten the conversation" in reason
    return (ContextLengthError if is_long else RequestError)(reason.removeprefix(REFUSED))


def _failed(error: Any) -> AmuletError:
    """What to raise for an error that comes after the answer has begun."""
    details = error if isinstance(error, Mapping) else {"message": error}
    kind = RequestError if details.get("code") == HTTPStatus.BAD_REQUEST else ServerError
    return kind(f"The server can't decode the request: {str(details.get('message'))[:600]}")
