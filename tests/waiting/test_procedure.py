"""A procedure is the same whichever way it is run."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from langchain_amulet.waiting.procedure import Procedure, arun, astream, collected, run, stream
from langchain_amulet.waiting.wait import Wait, from_future, in_executor


def blocking(procedure: Procedure[Any, Any]) -> list[Any]:
    return list(stream(procedure))


def suspending(procedure: Procedure[Any, Any]) -> list[Any]:
    async def gather() -> list[Any]:
        return [item async for item in astream(procedure)]

    return asyncio.run(gather())


def suspended(procedure: Procedure[Any, Any]) -> Any:
    return asyncio.run(arun(procedure))


both_streams = pytest.mark.parametrize("streamed", [blocking, suspending])


both_runs = pytest.mark.parametrize("ran", [run, suspended])


def done(value: Any) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(value)
    return future


def failed(error: BaseException) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_exception(error)
    return future


def counting(limit: int) -> Procedure[int, str]:
    """Waits for each number, gives it out, and returns what it did."""
    for number in range(limit):
        yield (yield from_future(done(number)))
    return f"counted to {limit}"


@both_streams
def test_items_come_in_order_whatever_is_waited_for_between_them(
    streamed: Callable[..., Any],
) -> None:
    assert streamed(counting(3)) == [0, 1, 2]
    assert streamed(counting(0)) == []


@both_runs
def test_a_run_returns_what_the_procedure_returns(ran: Callable[..., Any]) -> None:
    assert ran(counting(3)) == "counted to 3"


@both_runs
def test_what_waiting_raises_is_raised_where_the_procedure_waits(ran: Callable[..., Any]) -> None:
    def forgiving() -> Procedure[None, str]:
        try:
            yield from_future(failed(ValueError("lost")))
        except ValueError as error:
            return f"forgave {error}"
        return "nothing happened"

    def strict() -> Procedure[None, None]:
        yield from_future(failed(ValueError("lost")))

    assert ran(forgiving()) == "forgave lost"
    with pytest.raises(ValueError, match="lost"):
        ran(strict())


@both_runs
def test_a_procedure_may_be_made_of_others(ran: Callable[..., Any]) -> None:
    def outer() -> Procedure[int, list[str]]:
        first = yield from counting(1)
        second = yield from counting(2)
        return [first, second]

    assert ran(outer()) == ["counted to 1", "counted to 2"]


@both_runs
def test_the_items_of_a_part_can_be_collected_by_the_whole(ran: Callable[..., Any]) -> None:
    def sum_of(part: Procedure[int, Any]) -> Procedure[None, int]:
        return sum((yield from collected(part)))

    def failing() -> Procedure[int, None]:
        yield 1
        try:
            yield from_future(failed(ValueError("lost")))
        except ValueError:
            yield 2

    assert ran(sum_of(counting(4))) == 6
    assert ran(sum_of(failing())) == 3


@both_runs
def test_long_work_is_done_in_either_way(ran: Callable[..., Any]) -> None:
    def working() -> Procedure[None, int]:
        return (yield in_executor(lambda: 6 * 7))

    assert ran(working()) == 42


def test_an_event_loop_goes_on_while_a_procedure_waits_in_it() -> None:
    told: list[str] = []

    async def slow() -> str:
        await asyncio.sleep(0.01)
        return "late"

    def waiting() -> Procedure[None, None]:
        told.append((yield Wait(block=lambda: "never", suspend=slow)))

    async def other() -> None:
        told.append("early")

    async def both() -> None:
        await asyncio.gather(arun(waiting()), other())

    asyncio.run(both())
    assert told == ["early", "late"]


def test_a_reader_who_leaves_has_the_procedure_tidy_up_at_once() -> None:
    left: list[str] = []

    def tidy() -> Iterator[int]:
        try:
            yield from range(5)
        finally:
            left.append("tidied")

    reader = stream(tidy())  # type: ignore[arg-type]
    assert next(reader) == 0
    reader.close()
    assert left == ["tidied"]


def test_a_cancelled_task_has_the_procedure_tidy_up_before_it_ends() -> None:
    left: list[str] = []

    def endless() -> Procedure[None, None]:
        try:
            yield from_future(Future())
        finally:
            left.append("tidied")

    async def cancel() -> None:
        task = asyncio.ensure_future(arun(endless()))
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert left == ["tidied"]

    asyncio.run(cancel())
