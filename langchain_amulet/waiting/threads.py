"""Work in other threads: in one of its own, in one that is waited for to the end, or in a few.

Knows threads, and what Linux shows of them. Doesn't know event loops, or what the work is.
"""

from __future__ import annotations

import contextvars
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from threading import Lock, Thread, current_thread
from typing import Any, TypeVar

T = TypeVar("T")

_TASKS = Path("/proc/self/task")
"""This process's threads, as Linux shows them; elsewhere there is nothing to look at."""

HELPERS_END = 1.0
"""For how many seconds at most a library's threads are waited for: some may be another's."""


def in_thread(work: Callable[[], T]) -> Future[T]:
    """Begin work in a thread of its own, which keeps no process from ending.

    Returns:
        What comes of it. It can't be cancelled, as the work has begun.
    """
    future: Future[T] = Future()
    future.set_running_or_notify_cancel()
    run_in_context = partial(contextvars.copy_context().run, _do, work, future)
    Thread(target=run_in_context, daemon=True).start()
    return future


def interruptible(work: Callable[[], T], give_up: Callable[[], object]) -> T:
    """Do work of which parts can't be interrupted, such as by leaving an executor of threads.

    Args:
        work: What to do, in a thread of its own.
        give_up: Called if this thread is interrupted meanwhile, by Ctrl-C for one; it doesn't wait
            for the work then.
    """
    future = in_thread(work)
    try:
        return future.result()
    finally:
        if not future.done():
            give_up()


def in_ended_thread(work: Callable[[], T]) -> T:
    """Do work in a thread of its own, and come back when nothing is left of that, see `joined`.

    Nor of the threads that libraries started for it and that end with it, such as OpenMP's: they
    tidy up, too. They are told from those that stay by being neither gone nor asleep.
    """
    future: Future[T] = Future()
    run_in_context = partial(contextvars.copy_context().run, _do, work, future)
    thread = Thread(target=run_in_context, daemon=True)
    before = set(_TASKS.glob("*"))
    thread.start()
    try:
        return future.result()
    finally:
        joined(thread)
        end = time.monotonic() + HELPERS_END
        while any(map(_is_busy, set(_TASKS.glob("*")) - before)) and time.monotonic() < end:
            time.sleep(0.001)


def joined(thread: Thread, timeout: float = 30.0) -> None:
    """Wait until a thread is over for the operating system, too, or for so many seconds.

    Python takes a thread for over when it is done with it, but libraries tidy up behind that: for a
    thread that has computed OpenMP takes a lock once more. A process that forks just then takes
    the lock along, closed, and the child hangs at its first computation.
    """
    end = time.monotonic() + timeout
    thread.join(timeout)
    task = _TASKS / str(thread.native_id)
    while task.exists() and time.monotonic() < end:
        time.sleep(0.001)


class Workers:
    """Threads for what takes long, at most so many at a time; what is more waits for its turn.

    A thread ends when there is nothing left to do, and none keeps the process from ending: work
    that never ends costs its thread and no more.

    Args:
        limit: The most threads at a time.
    """

    def __init__(self, limit: int) -> None:
        """Start no thread yet."""
        self._limit = limit
        self._lock = Lock()
        self._queue: OrderedDict[Future[Any], Callable[[], None]] = OrderedDict()
        self._threads: set[Thread] = set()

    def __reduce__(self) -> tuple[type[Workers], tuple[int]]:
        """Copy how many there may be, and not what they are at."""
        return Workers, (self._limit,)

    def submit(self, work: Callable[[], T]) -> Future[T]:
        """Have work done, in the context of who calls; cancelled in time, it is never begun."""
        future: Future[T] = Future()
        do = partial(contextvars.copy_context().run, _do, work, future)
        with self._lock:
            self._queue[future] = do
            # In a forked process those of the parent are dead.
            self._threads = {thread for thread in self._threads if thread.is_alive()}
            if len(self._threads) < self._limit:
                thread = Thread(target=self._run, name="amulet-worker", daemon=True)
                thread.start()
                self._threads.add(thread)
        future.add_done_callback(self._forget)
        return future

    def _forget(self, future: Future[Any]) -> None:
        """Let go of what was cancelled in the queue, even if no thread ever gets to it."""
        with self._lock:
            self._queue.pop(future, None)

    def _run(self) -> None:
        while self._do_next():
            pass

    def _do_next(self) -> bool:
        with self._lock:
            if not self._queue:
                self._threads.discard(current_thread())
                return False
            future, do = self._queue.popitem(last=False)
        if future.set_running_or_notify_cancel():
            do()
        return True


def _do(work: Callable[[], T], future: Future[T]) -> None:
    """Do work for a future that is running."""
    try:
        result = work()
    except StopIteration as error:
        # It can't be raised in a coroutine, which would take it for its own end.
        stopped = RuntimeError("The work raised StopIteration.")
        stopped.__cause__ = error
        future.set_exception(stopped)
    except BaseException as error:
        future.set_exception(error)
    else:
        future.set_result(result)


def _is_busy(task: Path) -> bool:
    """Whether a thread is running, or would if there were a processor for it."""
    try:
        return task.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "R"
    except OSError:  # it is over
        return False
