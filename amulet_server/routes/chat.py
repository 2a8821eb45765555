"""`/v1/chat/completions`: a conversation answered in its user's style.

Knows requests, callers and the model's calls. Doesn't know how answers are decoded.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import JSONResponse
from langchain_core.messages import AIMessageChunk, BaseMessage
from langchain_core.runnables import RunnableConfig
from openai.types.chat import ChatCompletion

from amulet_server.identity.caller import Caller, users_in
from amulet_server.protocol import completion
from amulet_server.protocol.call_arguments import call_arguments
from amulet_server.protocol.chat_request import ChatRequest
from amulet_server.protocol.conversation import to_messages
from amulet_server.protocol.errors import SERVER, ApiError, as_api_error
from amulet_server.protocol.steering_request import steering_arguments
from amulet_server.routes.dependencies import ERRORS, CallerDep, ServiceDep, note
from amulet_server.routes.merging import merged
from amulet_server.service import Service
from amulet_server.transport.events import DONE, EventStream, while_connected
from amulet_server.transport.requests import BoundedRequest, StrictRoute

router = APIRouter(prefix="/v1/chat", tags=["chat"], route_class=StrictRoute, responses=ERRORS)

Pieces = AsyncGenerator[list[tuple[int, AIMessageChunk]], None]
"""Chunks of all choices as they come, with the numbers of their choices."""


@dataclass(frozen=True)
class ChatCall:
    """A request as the model is asked.

    Attributes:
        messages: The conversation.
        arguments: What else a call is given.
        choices: How many answers.
        user_id: In whose name: whose preferences count, and who finds what is kept of prompts.
    """

    messages: list[BaseMessage]
    arguments: dict[str, Any]
    choices: int
    user_id: str | None = None

    def answers(self, service: Service) -> Pieces:
        """Decode all answers. Closing it frees their rows."""
        seed = self.arguments.get("seed")
        calls = [
            self.arguments if seed is None else {**self.arguments, "seed": seed + index}
            for index in range(self.choices)
        ]
        # In the config, as a user among the arguments needs a store.
        config = RunnableConfig(configurable={"user_id": self.user_id} if self.user_id else {})
        streams = [service.llm.astream(self.messages, config, **call) for call in calls]
        return merged(streams, partial(_cut, service))


async def _cut(service: Service) -> None:
    """Wait until answers have to end, and say so."""
    await service.cut.wait()
    raise ApiError(
        503,
        "The server was told to stop, and the answer took longer than it waits: ask again.",
        code="server_stopped",
        kind=SERVER,
    )


@dataclass
class Tally:
    """What is counted and logged of an answer as it comes.

    Attributes:
        service: Whose counts these are.
        request: Of which a line is logged.
        begun: When it came in, by the monotonic clock.
        last: Each choice's last chunk.
    """

    service: Service
    request: Request
    begun: float = field(default_factory=time.monotonic)
    last: dict[int, AIMessageChunk] = field(default_factory=dict)

    def first(self) -> None:
        """Count that the first piece is there."""
        seconds = time.monotonic() - self.begun
        self.service.metrics.first_token(seconds)
        note(self.request, first_token_seconds=round(seconds, 4))

    def end(self, index: int, chunk: AIMessageChunk) -> None:
        """Count that a choice is whole."""
        is_steered = chunk.response_metadata.get("strength") is not None
        before = completion.usage(list(self.last.values()))
        self.last[index] = chunk
        used = completion.usage(list(self.last.values()))
        tokens = {name: used[name] for name in ("prompt_tokens", "completion_tokens")}
        added = {name: count - before[name] for name, count in tokens.items()}
        self.service.metrics.answer(is_steered, **added)
        note(self.request, steered=is_steered, **tokens)


async def check_size(request: BoundedRequest, service: ServiceDep) -> None:
    """Refuse more of anything than a request may have, before each of it is looked at."""
    limits = service.settings.limits
    body = request.parsed if isinstance(request.parsed, dict) else {}
    for param, what, limit in (
        ("messages", "messages", "messages"),
        ("tools", "tools", "tools"),
        ("n", "answers", "choices"),
        ("stop", "stop strings", "stops"),
    ):
        given, most = body.get(param), getattr(limits, limit)
        count = len(given) if isinstance(given, list) else given
        if isinstance(count, int) and count > most:
            raise ApiError(
                400,
                f"A request may have {most} {what} at most, not {count}: ask for fewer, or have "
                f"the server's limits.{limit} allow more.",
                param=param,
                code="too_many",
            )


@router.post(
    "/completions",
    dependencies=[Depends(check_size)],
    response_model=ChatCompletion,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
async def create_completion(
    request: Request, body: ChatRequest, service: ServiceDep, caller: CallerDep
) -> Response:
    """Answer a conversation, in one piece or in events."""
    call = _prepared(request, body, service, caller)
    head = completion.Head(f"chatcmpl-{uuid4().hex}", int(time.time()), body.model)
    tally = Tally(service, request)
    note(request, stream=bool(body.stream), choices=call.choices)
    pieces = _counted(call.answers(service), tally)
    if not body.stream:
        answers = await while_connected(request, _whole(pieces, call.choices))
        return JSONResponse(completion.completion(head, answers))
    # With the first piece it is known that there is an answer: errors before that have a status.
    first = await while_connected(request, anext(pieces))
    with_usage = bool(body.stream_options and body.stream_options.include_usage)
    events = _events(head, first, pieces, call.choices, tally, with_usage)
    return EventStream(events, service.settings.reader_seconds)


def _prepared(request: Request, body: ChatRequest, service: Service, caller: Caller) -> ChatCall:
    speaker = _speaker(body, caller)
    arguments = call_arguments(body)
    steering = steering_arguments(body, service.registry)
    if _is_housekeeping(request, service):
        steering = {"preference": None}
    messages = to_messages(body.messages)
    return ChatCall(messages, arguments | steering, body.n or 1, speaker.user_id)


def _speaker(body: ChatRequest, caller: Caller) -> Caller:
    """In whose name a call is made.

    Raises:
        ApiError: Two fields name different users, or the caller may not speak for this one.
    """
    given = users_in(dict(body))
    if len(set(given.values())) > 1:
        raise ApiError(
            400,
            f"A call is made in one user's name, but {', '.join(given)} name different ones: "
            "give one of them.",
            param=next(iter(given)),
            code="invalid_value",
        )
    for param, user in given.items():
        return caller.speaking_for(user, param)
    return caller


def _is_housekeeping(request: Request, service: Service) -> bool:
    """Whether a front end asks for itself, as for a title, which is nobody's answer."""
    task = request.headers.get(service.settings.task_header, "").strip()
    return bool(task) and not task.startswith("{{")  # a front end that fills nothing in


async def _counted(pieces: Pieces, tally: Tally) -> Pieces:
    async with aclosing(pieces):
        is_first = True
        async for come in pieces:
            if is_first:
                tally.first()
                is_first = False
            for index, chunk in come:
                if chunk.chunk_position == "last":
                    tally.end(index, chunk)
            yield come


async def _whole(pieces: Pieces, choices: int) -> list[AIMessageChunk]:
    """Each choice's chunks, added up."""
    parts: list[list[AIMessageChunk]] = [[] for _ in range(choices)]
    async with aclosing(pieces):
        async for come in pieces:
            for index, chunk in come:
                parts[index].append(chunk)
    return [_sum(each) for each in parts]


def _sum(chunks: Sequence[AIMessageChunk]) -> AIMessageChunk:
    first, *others = chunks
    return first + others if others else first


async def _events(
    head: completion.Head,
    first: list[tuple[int, AIMessageChunk]],
    pieces: Pieces,
    choices: int,
    tally: Tally,
    with_usage: bool,
) -> AsyncGenerator[list[str], None]:
    """The events of a stream, its errors included: the status is sent by then."""
    unused = {"usage": None} if with_usage else {}
    writers = [completion.DeltaWriter() for _ in range(choices)]

    def written(come: Iterable[tuple[int, AIMessageChunk]]) -> list[str]:
        said = (completion.choice_delta(index, chunk, writers[index]) for index, chunk in come)
        return [completion.event(head, [choice], **unused) for choice in said if choice]

    openings = map(completion.choice_opening, range(choices))
    async with aclosing(pieces):
        try:
            yield [completion.event(head, [opening], **unused) for opening in openings]
            yield written(first)
            async for come in pieces:
                yield written(come)
            ending = [DONE]
            if with_usage:
                used = completion.usage(list(tally.last.values()))
                ending = [completion.event(head, (), usage=used), DONE]
            yield ending
        except Exception as error:  # of any kind: a stream can't fail in another way
            told = as_api_error(error)
            note(tally.request, error=told.detail.code, kind=type(error).__name__)
            yield [told.json]
