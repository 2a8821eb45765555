"""Who waits gives up when the time is over, however busy the one who is waited for."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import Event
from typing import Any

import pytest

from langchain_amulet.waiting.deadline import Deadline, limited
from langchain_amulet.waiting.procedure import Procedure, arun, run, stream
from langchain_amulet.waiting.threads import Workers
from langchain_amulet.waiting.wait import Wait, from_future, in_executor, twins

LONG = 60.0


class Late(Exception):
    """What the tests' deadlines raise."""


def within(seconds: float) -> Deadline:
    return Deadline(time.monotonic() + seconds, Late)


def suspended(procedure: Procedure[Any, Any]) -> Any:
    return asyncio.run(arun(procedure))


both_runs = pytest.mark.parametrize("ran", [run, suspended])


def awaiting(wait: Wait[Any]) -> Procedure[None, Any]:
    return (yield wait)


async def sleep(seconds: float) -> None:
    await asyncio.sleep(seconds)


@pytest.fixture
def workers() -> Workers:
    return Workers(2)


@both_runs
def test_what_is_done_in_time_is_returned(ran: Callable[..., Any], workers: Workers) -> None:
    def three() -> Procedure[None, list[int]]:
        done: Future[int] = Future()
        done.set_result(1)
        first = yield from_future(done)
        second = yield in_executor(lambda: 2, workers)
        third = yield Wait(lambda: 3, lambda: asyncio.sleep(0, 3))
        return [first, second, third]

    assert ran(limited(three(), within(LONG))) == ran(three()) == [1, 2, 3]


@both_runs
def test_a_future_that_never_comes_is_cancelled_at_the_deadline(ran: Callable[..., Any]) -> None:
    never: Future[None] = Future()
    start = time.monotonic()
    with pytest.raises(Late):
        ran(limited(awaiting(from_future(never)), within(0.05)))
    assert time.monotonic() - start < LONG / 2
    assert never.cancelled()


@both_runs
def test_work_that_has_begun_goes_on_and_nobody_waits_for_it(
    ran: Callable[..., Any], workers: Workers
) -> None:
    gate, done = Event(), Event()

    def work() -> None:
        gate.wait(LONG)
        done.set()

    with pytest.raises(Late):
        ran(limited(awaiting(in_executor(work, workers)), within(1.0)))
    gate.set()
    assert done.wait(LONG)


@both_runs
def test_functions_that_hang_are_left_too(ran: Callable[..., Any]) -> None:
    gate = Event()
    with pytest.raises(Late):
        ran(limited(awaiting(twins(gate.wait, lambda _: sleep(LONG), LONG)), within(0.05)))
    gate.set()


@both_runs
def test_the_procedure_is_told_where_it_waits_and_tidies_up(ran: Callable[..., Any]) -> None:
    def forgiving() -> Procedure[None, str]:
        try:
            yield from_future(Future())
        except Late:
            return "went on without"
        return "nothing happened"

    assert ran(limited(forgiving(), within(0.02))) == "went on without"


@both_runs
def test_what_has_come_already_is_given_out_even_late(ran: Callable[..., Any]) -> None:
    done: Future[int] = Future()
    done.set_result(7)
    assert ran(limited(awaiting(from_future(done)), within(-1.0))) == 7


@both_runs
def test_a_timeout_of_the_work_itself_is_passed_on(
    ran: Callable[..., Any], workers: Workers
) -> None:
    def work() -> None:
        raise TimeoutError("the work's own")

    with pytest.raises(TimeoutError, match="own"):
        ran(limited(awaiting(in_executor(work, workers)), within(LONG)))


def test_a_reader_who_leaves_a_limited_stream_has_it_tidied_up() -> None:
    left: list[str] = []

    def tidy() -> Procedure[int, None]:
        try:
            yield 1
            yield 2
        finally:
            left.append("tidied")

    reader = stream(limited(tidy(), within(LONG)))
    assert next(reader) == 1
    reader.close()
    assert left == ["tidied"]


async def test_a_cancelled_task_cancels_what_it_waits_for() -> None:
    never: Future[None] = Future()
    task = asyncio.create_task(arun(limited(awaiting(from_future(never)), within(LONG))))
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert never.cancelled()
