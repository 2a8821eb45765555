"""A lookup waits as long as asked and never for ever, forgives what it may, and remembers."""

import asyncio
import time
import warnings
from collections.abc import Callable, Coroutine
from functools import partial
from threading import Event, Thread
from typing import Any

import pytest
from pydantic import ValidationError

from langchain_amulet.errors import (
    CorruptProfileError,
    PreferenceStoreError,
    PreferenceTimeoutError,
    PreferenceWarning,
)
from langchain_amulet.memory.lookups import (
    LATE,
    UNANSWERED,
    FailurePolicy,
    LookupCache,
    LookupSettings,
    Timeout,
)
from langchain_amulet.waiting.procedure import Procedure, run
from langchain_amulet.waiting.wait import Wait, in_executor

SOON = 0.05


def seven() -> int:
    return 7


async def aseven() -> int:
    return 7


def blocked(timeout: Timeout, work: Callable[[], Any], begun: float | None = None) -> Any:
    """What comes of work that is waited for in this thread."""
    return timeout.limited(Wait(work, aseven), begun).block()


async def suspended(timeout: Timeout, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """What comes of work that is waited for in an event loop."""
    return await timeout.limited(Wait(seven, work)).suspend()


def _eventually(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 30.0
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


@pytest.fixture
def gate() -> Event:
    """What slow work waits for."""
    return Event()


# --- Timeouts ---


@pytest.mark.parametrize("seconds", [None, 5.0])
async def test_what_is_done_in_time_is_returned_and_what_it_raises_is_raised(
    seconds: float | None,
) -> None:
    async def broken() -> None:
        raise ZeroDivisionError

    timeout = Timeout(seconds)
    assert blocked(timeout, seven) == await suspended(timeout, aseven) == 7
    with pytest.raises(ZeroDivisionError):
        blocked(timeout, lambda: 1 // 0)
    with pytest.raises(ZeroDivisionError):
        await suspended(timeout, broken)


def test_what_takes_too_long_is_an_error_in_time_and_goes_on(gate: Event) -> None:
    done = Event()

    def work() -> None:
        gate.wait()
        done.set()

    with pytest.raises(PreferenceTimeoutError, match=r"within 1\.0 s"):
        blocked(Timeout(1.0), work)  # long enough for it to be begun on a busy machine
    gate.set()
    assert done.wait(60.0)


async def test_so_it_is_in_an_event_loop() -> None:
    done = asyncio.Event()

    async def work() -> None:
        await asyncio.sleep(0.2)
        done.set()

    with pytest.raises(PreferenceTimeoutError, match=r"within 0\.05 s"):
        await suspended(Timeout(SOON), work)
    await asyncio.wait_for(done.wait(), 5.0)


def test_the_time_counts_from_when_the_lookup_was_begun(gate: Event) -> None:
    """However many exchanges with the store it takes."""
    start = time.monotonic()
    with pytest.raises(PreferenceTimeoutError):
        blocked(Timeout(60.0), gate.wait, begun=start - 59.95)
    assert time.monotonic() - start < 30.0
    gate.set()


async def test_a_caller_who_is_cancelled_leaves_the_work_whole() -> None:
    begun, done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await asyncio.sleep(SOON)
        done.set()

    caller = asyncio.create_task(suspended(Timeout(None), work))
    await begun.wait()
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await asyncio.wait_for(done.wait(), 5.0)


def test_no_more_than_so_many_are_late_at_a_time_and_it_recovers(gate: Event) -> None:
    timeout, begun = Timeout(0.01), list[int]()

    def work() -> None:
        begun.append(1)
        gate.wait(60.0)

    while len(begun) < UNANSWERED:  # on a busy machine some are late before they are begun
        with pytest.raises(PreferenceTimeoutError, match="within"):
            blocked(timeout, work)
    with pytest.raises(PreferenceTimeoutError, match=f"last {UNANSWERED}"):
        blocked(timeout, seven)
    gate.set()
    end = time.monotonic() + 5.0
    while time.monotonic() < end:
        try:
            assert blocked(timeout, seven) == 7
            return
        except PreferenceTimeoutError:
            time.sleep(0.01)
    pytest.fail("it never asked again")


async def test_that_callers_left_early_says_nothing_against_a_store() -> None:
    """Clients hang up; only what is late counts as unanswered."""
    gate, timeout = asyncio.Event(), Timeout(None)
    callers = [asyncio.create_task(suspended(timeout, gate.wait)) for _ in range(2 * UNANSWERED)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    assert await suspended(timeout, aseven) == 7
    late = time.monotonic() - LATE
    timeout._abandoned = dict.fromkeys(timeout._abandoned, late)
    with pytest.raises(PreferenceTimeoutError, match=f"last {UNANSWERED}"):
        await suspended(timeout, aseven)
    gate.set()
    await asyncio.sleep(SOON)
    assert await suspended(timeout, aseven) == 7


@pytest.mark.parametrize("seconds", [None, SOON])
async def test_what_blocks_keeps_so_many_threads_and_what_nobody_waits_for_is_never_begun(
    gate: Event, seconds: float | None
) -> None:
    """However many ask in one moment of an event loop, before any of them is late."""
    timeout, begun = Timeout(seconds), list[int]()

    def work(number: int) -> int:
        begun.append(number)
        gate.wait(60.0)
        return number

    def lookup(number: int) -> Any:
        return timeout.limited(in_executor(partial(work, number), timeout.workers)).suspend()

    callers = [asyncio.create_task(lookup(number)) for number in range(4 * UNANSWERED)]
    await asyncio.sleep(2 * SOON)
    for caller in callers:
        caller.cancel()
    await asyncio.gather(*callers, return_exceptions=True)
    await asyncio.sleep(SOON)  # for those who were left to be told
    gate.set()
    assert await asyncio.to_thread(_eventually, lambda: not timeout._abandoned)
    assert 0 < len(begun) <= UNANSWERED  # fewer where a busy machine has begun fewer in time
    assert await lookup(-1) == -1


def test_so_it_is_in_threads(gate: Event) -> None:
    timeout, begun = Timeout(SOON), list[int]()

    def work() -> None:
        begun.append(1)
        gate.wait(60.0)

    def ask() -> None:
        with pytest.raises(PreferenceTimeoutError):
            blocked(timeout, work)

    callers = [Thread(target=ask) for _ in range(2 * UNANSWERED)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    gate.set()
    assert _eventually(lambda: not timeout._abandoned)
    assert 0 < len(begun) <= UNANSWERED  # fewer where a busy machine has begun fewer in time


async def test_late_failures_are_nobodys_business(recwarn: pytest.WarningsRecorder) -> None:
    async def work() -> None:
        await asyncio.sleep(0.02)
        raise ZeroDivisionError

    with pytest.raises(PreferenceTimeoutError):
        await suspended(Timeout(0.001), work)
    await asyncio.sleep(0.1)
    assert not recwarn.list


@pytest.mark.parametrize("timeout", [0, -1.0, float("nan"), float("inf"), "soon", [1]])
def test_a_timeout_is_a_time(timeout: Any) -> None:
    with pytest.raises(ValidationError, match="timeout"):
        LookupSettings(timeout=timeout)


# --- Failures ---


def test_failures_are_errors() -> None:
    policy = FailurePolicy(LookupSettings())
    for fail, error in (
        (policy.on_store_error, PreferenceStoreError("It burns.")),
        (policy.on_corrupt, CorruptProfileError("It is no record.")),
    ):
        with pytest.raises(type(error), match=str(error)):
            fail(error)  # type: ignore[arg-type]
    assert policy.failures == 0


def test_or_warnings_that_are_counted() -> None:
    policy = FailurePolicy(LookupSettings(on_store_error="ignore", on_corrupt="ignore"))
    with pytest.warns(PreferenceWarning, match="without stored preferences: It burns"):
        policy.on_store_error(PreferenceStoreError("It burns."))
    with pytest.warns(PreferenceWarning, match="left out: It is no record"):
        policy.on_corrupt(CorruptProfileError("It is no record."))
    assert policy.failures == 2


def test_warnings_that_are_errors_are_counted_too() -> None:
    policy = FailurePolicy(LookupSettings(on_store_error="ignore"))
    with warnings.catch_warnings(), pytest.raises(PreferenceWarning):
        warnings.simplefilter("error")
        policy.on_store_error(PreferenceStoreError("It burns."))
    assert policy.failures == 1


# --- What is remembered ---


def finding(value: Any, meanwhile: Callable[[], object] = lambda: None) -> Procedure[None, Any]:
    """A lookup that finds a value, after something else happened."""
    yield Wait(meanwhile, aseven)
    return value


def test_what_was_found_is_remembered_even_if_it_is_nothing() -> None:
    cache = LookupCache[tuple[str, ...]](seconds=60.0, users=2)
    for found in ((), ("one",)):
        cache.drop("ada")
        assert run(cache.found("ada", finding(found))) == found
        assert run(cache.found("ada", finding(("other",)))) == found


def test_what_was_read_before_a_drop_is_not_remembered_after_it() -> None:
    cache = LookupCache[str](seconds=60.0, users=2)
    assert run(cache.found("ada", finding("old", lambda: cache.drop("ada")))) == "old"
    assert run(cache.found("ada", finding("new"))) == "new"


def test_only_so_many_users_are_remembered() -> None:
    cache = LookupCache[str](seconds=60.0, users=2)
    users = ["ada", "bob", "eve"]
    for user in users:
        run(cache.found(user, finding("first")))
    seen = [run(cache.found(user, finding("again"))) for user in reversed(users)]
    assert seen == ["first", "first", "again"]
