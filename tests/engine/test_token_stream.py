"""A request's tokens, waited for in every way: the same tokens, the same ends."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Generator
from typing import Any

import pytest

from langchain_amulet.engine import Finish, Token, TokenStream
from langchain_amulet.engine.token_stream import Channel
from langchain_amulet.errors import CancelledError, GenerationError
from langchain_amulet.waiting.procedure import Procedure, arun, astream, run, stream
from langchain_amulet.waiting.wait import Wait

TOKENS = [Token(id=index, logprob=-1.0) for index in range(5)]
END = Finish("stop", Token(id=9, logprob=-0.5))


def opened() -> tuple[Channel, TokenStream]:
    channel = Channel(on_cancel=lambda: None)
    return channel, TokenStream(channel, owner=None)


def written(*events: Any) -> TokenStream:
    """A stream whose events have all come."""
    channel, tokens = opened()
    for event in events:
        channel.put(event)
    return tokens


def by_procedure(tokens: TokenStream) -> Procedure[Token, int]:
    """The tokens as items of a procedure, and how many there were."""
    count = 0
    while (token := (yield from tokens.next_token())) is not None:
        yield token
        count += 1
    return count


def at_the_end(tokens: TokenStream) -> Procedure[Token, int]:
    """The same, of who doesn't look before all is there."""
    yield from tokens.ended()
    return (yield from by_procedure(tokens))


async def listed(tokens: Any) -> list[Token]:
    return [token async for token in tokens]


READERS: dict[str, Callable[[TokenStream], list[Token]]] = {
    "for": list,
    "async for": lambda tokens: asyncio.run(listed(tokens)),
    "stream": lambda tokens: list(stream(by_procedure(tokens))),
    "astream": lambda tokens: asyncio.run(listed(astream(by_procedure(tokens)))),
    "stream at the end": lambda tokens: list(stream(at_the_end(tokens))),
    "astream at the end": lambda tokens: asyncio.run(listed(astream(at_the_end(tokens)))),
}
every_reader = pytest.mark.parametrize("read", READERS.values(), ids=READERS)


@every_reader
def test_every_way_of_reading_gives_the_tokens_and_how_they_ended(read: Any) -> None:
    tokens = written(*TOKENS, END)
    assert tokens.finish_reason is None
    assert read(tokens) == TOKENS
    assert (tokens.finish_reason, tokens.stop_token) == ("stop", END.token)
    assert read(tokens) == []


@every_reader
def test_every_way_of_reading_waits_for_what_another_thread_puts(read: Any) -> None:
    channel, tokens = opened()

    def write() -> None:
        for event in (*TOKENS, END):
            threading.Event().wait(0.002)
            channel.put(event)

    writer = threading.Thread(target=write)
    writer.start()
    assert read(tokens) == TOKENS
    writer.join()


@every_reader
def test_every_way_of_reading_raises_the_request_s_own_error_again_and_again(read: Any) -> None:
    tokens = written(*TOKENS[:2], GenerationError("the model is broken"))
    for _ in range(2):
        with pytest.raises(GenerationError, match="broken"):
            read(tokens)
    assert tokens.finish_reason is None


@every_reader
def test_a_cancelled_stream_forgets_its_tokens_and_says_so(read: Any) -> None:
    channel, tokens = opened()
    channel.put(TOKENS[0])
    tokens.cancel()
    channel.put(TOKENS[1])
    with pytest.raises(CancelledError):
        read(tokens)


def test_what_has_come_is_read_without_waiting() -> None:
    procedure = by_procedure(written(*TOKENS, END))
    assert not any(isinstance(step, Wait) for step in procedure)


def test_who_waits_for_the_end_is_woken_once() -> None:
    channel, tokens = opened()
    procedure = at_the_end(tokens)
    waiting = next(procedure)
    assert isinstance(waiting, Wait)
    for event in (*TOKENS, END):
        channel.put(event)
    assert not any(isinstance(step, Wait) for step in procedure)


@pytest.mark.parametrize("procedure", [TokenStream.next_token, TokenStream.ended])
def test_a_procedure_that_is_dropped_while_it_waits_frees_the_rows(procedure: Any) -> None:
    channel, tokens = opened()
    waiting = procedure(tokens)
    assert isinstance(next(waiting), Wait)
    waiting.close()
    assert channel.cancelled


def test_a_procedure_returns_after_the_last_token() -> None:
    assert run(by_procedure(written(*TOKENS, END))) == len(TOKENS)
    assert asyncio.run(arun(by_procedure(written(*TOKENS, END)))) == len(TOKENS)


def test_whatever_interrupts_a_thread_that_waits_cancels_the_request() -> None:
    channel, tokens = opened()
    procedure: Generator[Any, Any, Any] = tokens.next_token()
    next(procedure)
    with pytest.raises(KeyboardInterrupt):
        procedure.throw(KeyboardInterrupt())
    assert channel.cancelled


async def test_a_task_that_is_cancelled_while_it_waits_cancels_the_request() -> None:
    channel, tokens = opened()
    task = asyncio.ensure_future(anext(tokens))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert channel.cancelled
    channel.put(TOKENS[0])  # nobody is woken, and nothing breaks


def test_a_stream_that_is_dropped_cancels_the_request_and_one_that_ended_does_not() -> None:
    channel, tokens = opened()
    ended = written(END)
    finished = ended._channel
    assert list(ended) == []
    del tokens, ended
    gc.collect()
    assert channel.cancelled and not finished.cancelled


def test_a_reader_that_waits_is_told_when_another_thread_cancels() -> None:
    _, tokens = opened()
    canceller = threading.Timer(0.01, tokens.cancel)
    canceller.start()
    with pytest.raises(CancelledError):
        next(tokens)
    canceller.join()
