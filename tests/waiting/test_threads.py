"""Threads do so much at a time, end when there is nothing left to do, and leave nothing behind."""

import asyncio
import hashlib
import time
from pathlib import Path
from threading import Event, Thread, current_thread

import pytest

from langchain_amulet.waiting.procedure import Procedure, arun
from langchain_amulet.waiting.threads import Workers, in_ended_thread
from langchain_amulet.waiting.wait import in_executor

LONG = 60.0


@pytest.fixture
def workers() -> Workers:
    return Workers(2)


def test_no_more_work_than_allowed_is_done_at_a_time(workers: Workers) -> None:
    gate = Event()
    names = [workers.submit(lambda: (gate.wait(LONG), current_thread().name)[1]) for _ in range(6)]
    last = workers.submit(lambda: "done")
    time.sleep(0.05)
    assert not last.done()
    gate.set()
    assert last.result(LONG) == "done"
    assert {each.result(LONG) for each in names} == {"amulet-worker"}


def test_work_that_is_cancelled_in_the_queue_is_never_begun(workers: Workers) -> None:
    gate, begun = Event(), Event()
    busy = [workers.submit(lambda: gate.wait(LONG)) for _ in range(2)]
    waiting = workers.submit(begun.set)
    assert waiting.cancel()
    gate.set()
    assert all(each.result(LONG) for each in busy)
    assert workers.submit(lambda: 3).result(LONG) == 3
    assert not begun.is_set()


def test_workers_end_when_there_is_nothing_to_do_and_begin_again(workers: Workers) -> None:
    threads = []
    for _ in range(3):
        threads.append(workers.submit(current_thread).result(LONG))
        threads[-1].join(LONG)
    assert not any(thread.is_alive() for thread in threads)


def test_what_work_raises_is_raised_to_who_waits(workers: Workers) -> None:
    def stop() -> None:
        raise StopIteration

    def awaiting() -> Procedure[None, None]:
        yield in_executor(stop, workers)

    with pytest.raises(ZeroDivisionError):
        workers.submit(lambda: 1 // 0).result(LONG)
    with pytest.raises(RuntimeError, match="StopIteration"):
        asyncio.run(arun(awaiting()))


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="this system doesn't show threads")
def test_work_in_an_ended_thread_leaves_no_helper_of_its_own_running() -> None:
    go_on, computed = Event(), list[float]()

    def compute() -> None:
        hashlib.pbkdf2_hmac("sha256", b"a", b"b", 1_000_000)  # as a library does, without the GIL
        computed.append(time.thread_time())

    def work() -> Thread:
        Thread(target=go_on.wait, daemon=True).start()  # as one that stays
        helper = Thread(target=compute)
        helper.start()
        time.sleep(0.1)  # so that it has begun
        return helper

    begun = time.monotonic()
    helper = in_ended_thread(work)
    took = time.monotonic() - begun
    helper.join()
    go_on.set()
    assert took >= computed[0]
