"""Waiting: as long as asked, and never for ever."""

import asyncio
import time
from threading import Event

import pytest

from langchain_amulet.errors import ConfigurationError, PreferenceTimeoutError
from langchain_amulet.memory.timeouts import UNANSWERED, Timeout


@pytest.fixture
def gate() -> Event:
    """What slow work waits for."""
    return Event()


def test_what_is_done_in_time_is_returned_and_what_it_raises_is_raised() -> None:
    patience = Timeout(5.0)
    assert patience.result(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        patience.result(lambda: 1 // 0)


async def test_so_it_is_in_an_event_loop() -> None:
    async def seven() -> int:
        return 7

    async def broken() -> int:
        raise ZeroDivisionError

    assert await Timeout(5.0).aresult(seven) == 7
    with pytest.raises(ZeroDivisionError):
        await Timeout(None).aresult(broken)


def test_what_takes_too_long_is_an_error_in_time_and_goes_on(gate: Event) -> None:
    done = Event()

    def work() -> None:
        gate.wait()
        done.set()

    start = time.monotonic()
    with pytest.raises(PreferenceTimeoutError, match=r"within 0\.05 s"):
        Timeout(0.05).result(work)
    assert time.monotonic() - start < 2.0
    gate.set()
    assert done.wait(5.0)


async def test_so_it_does_in_an_event_loop() -> None:
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.2)
        done.set()

    with pytest.raises(PreferenceTimeoutError, match=r"within 0\.05 s"):
        await Timeout(0.05).aresult(work)
    await asyncio.wait_for(done.wait(), 5.0)


async def test_a_caller_who_is_cancelled_leaves_the_work_whole() -> None:
    begun, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.sleep(0.05)
        done.set()

    caller = asyncio.create_task(Timeout(None).aresult(work))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.wait_for(done.wait(), 5.0)


def test_no_more_than_so_many_are_waited_for_and_it_recovers(gate: Event) -> None:
    patience = Timeout(0.001)
    for _ in range(UNANSWERED):
        with pytest.raises(PreferenceTimeoutError, match="within"):
            patience.result(gate.wait)
    with pytest.raises(PreferenceTimeoutError, match=f"last {UNANSWERED}"):
        patience.result(lambda: 7)
    gate.set()
    end = time.monotonic() + 5.0
    while time.monotonic() < end:
        try:
            assert patience.result(lambda: 7) == 7
            return
        except PreferenceTimeoutError:
            time.sleep(0.01)
    pytest.fail("it never asked again")


async def test_late_failures_are_nobodys_business(recwarn: pytest.WarningsRecorder) -> None:
    async def work() -> None:
        await asyncio.sleep(0.02)
        raise ZeroDivisionError

    with pytest.raises(PreferenceTimeoutError):
        await Timeout(0.001).aresult(work)
    await asyncio.sleep(0.1)
    assert not recwarn.list


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan")])
def test_a_timeout_is_a_time(timeout: float) -> None:
    with pytest.raises(ConfigurationError, match="timeout"):
        Timeout(timeout)
