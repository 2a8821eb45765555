"""Requests wait for rows, leave them early or late, and the others go on as if alone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from langchain_amulet.engine import Engine
from langchain_amulet.errors import CancelledError, DeadlineError, GenerationError, QueueFullError
from support.tiny_engine import ENDLESS, ids_of, poisoned, request_for, wait_until


def test_requests_beyond_the_rows_wait_and_beyond_the_queue_are_refused(engine: Engine) -> None:
    running = [engine.submit(request_for(seed, ENDLESS)) for seed in range(3)]
    wait_until(lambda: engine.stats().active_requests == 3)
    waiting = [engine.submit(request_for(seed)) for seed in range(3)]
    assert engine.stats().queued == 3
    with pytest.raises(QueueFullError, match="At most 3"):
        engine.submit(request_for())
    for answer in running:
        answer.cancel()
    assert [len(list(answer)) for answer in waiting] == [8, 8, 8]


def test_cancelling_mid_decode_frees_the_rows(engine: Engine) -> None:
    answer = engine.submit(request_for(max_tokens=ENDLESS))
    next(answer)
    assert engine.stats().rows == 2
    answer.cancel()
    wait_until(lambda: engine.stats().rows == 0)
    assert engine.stats().cancelled == 1
    with pytest.raises(CancelledError):
        next(answer)


def test_cancelling_a_waiting_request_takes_it_out_of_the_queue(engine: Engine) -> None:
    running = [engine.submit(request_for(seed, ENDLESS)) for seed in range(3)]
    wait_until(lambda: engine.stats().active_requests == 3)
    engine.submit(request_for()).cancel()
    wait_until(lambda: engine.stats().queued == 0)
    assert all(next(answer) for answer in running)


def test_dropping_a_stream_frees_its_rows(engine: Engine) -> None:
    for _ in engine.submit(request_for(max_tokens=ENDLESS)):
        break
    wait_until(lambda: engine.stats().rows == 0)


def test_a_context_manager_frees_the_rows(engine: Engine) -> None:
    with engine.submit(request_for(max_tokens=ENDLESS)) as answer:
        next(answer)
    wait_until(lambda: engine.stats().rows == 0)


def test_a_deadline_ends_one_request(engine: Engine) -> None:
    late = engine.submit(request_for(max_tokens=ENDLESS, timeout=0.05))
    other = engine.submit(request_for(1))
    with pytest.raises(DeadlineError, match=r"0\.05 s"):
        list(late)
    assert len(list(other)) == 8
    assert engine.stats().rows == 0


def test_a_deadline_passes_in_the_queue_too(engine: Engine) -> None:
    running = [engine.submit(request_for(seed, ENDLESS)) for seed in range(3)]
    wait_until(lambda: engine.stats().active_requests == 3)
    with pytest.raises(DeadlineError, match="0 of at most 8 tokens"):
        list(engine.submit(request_for(timeout=0.05)))
    assert engine.stats().queued == 0
    assert all(next(answer) for answer in running)


def test_others_keep_streaming_while_a_long_prompt_is_prefilled(engine: Engine) -> None:
    decoding = engine.submit(request_for(max_tokens=ENDLESS))
    next(decoding)
    before = engine.stats().decode_steps
    long = engine.submit(request_for(1, 1, length=800))
    next(long)
    # 800 shared tokens in chunks of 8: a decode step of the other one between any two
    assert engine.stats().decode_steps - before >= 100
    decoding.cancel()


def test_rows_that_leave_are_filled_and_the_rest_go_on_as_if_alone(engine: Engine) -> None:
    expected = ids_of(engine, request_for(2, 40))
    leaving = engine.submit(request_for(1, ENDLESS))
    staying = engine.submit(request_for(2, 40))
    first = [next(staying).id for _ in range(5)]
    leaving.cancel()
    assert first + [token.id for token in staying] == expected


# --- From an event loop ---


async def test_async_iteration_gives_the_same_tokens(engine: Engine) -> None:
    answers = [engine.submit(request_for(seed)) for seed in range(3)]

    async def collect(answer: Any) -> list[int]:
        return [token.id async for token in answer]

    found = await asyncio.gather(*map(collect, answers))
    assert found == [ids_of(engine, request_for(seed)) for seed in range(3)]
    assert answers[0].finish_reason == "length"


async def test_a_cancelled_task_frees_its_rows(engine: Engine) -> None:
    started = asyncio.Event()

    async def read() -> None:
        async for _ in engine.submit(request_for(max_tokens=ENDLESS)):
            started.set()

    task = asyncio.create_task(read())
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.to_thread(wait_until, lambda: engine.stats().rows == 0)
    assert engine.stats().cancelled == 1


async def test_an_async_context_manager_frees_the_rows(engine: Engine) -> None:
    async with engine.submit(request_for(max_tokens=ENDLESS)) as answer:
        await anext(answer)
    await asyncio.to_thread(wait_until, lambda: engine.stats().rows == 0)


async def test_async_iteration_raises_the_request_s_own_error(engine: Engine) -> None:
    with pytest.raises(GenerationError):
        async for _ in engine.submit(poisoned(request_for())):
            pass
