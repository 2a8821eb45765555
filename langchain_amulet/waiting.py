"""What has to wait, written once and run from a thread or from an event loop.

A `Procedure` is a generator. Where it has to wait it yields a `Wait`, which knows both ways of
waiting for one thing, and is sent what came of it; what it yields besides are the items that it
gives out. So a procedure says what is done, in which order and what is tidied up, and one of four
functions says how: `run` and `stream` block the thread, `arun` and `astream` an event loop's task.

::

    def answer() -> Procedure[str, int]:
        token_ids = yield from_future(engine.submit(...))
        yield "Hello"
        return len(token_ids)

    for piece in stream(answer()): ...
    async for piece in astream(answer()): ...

Whatever waiting raises is raised inside the procedure, where it yielded. A reader who leaves a
stream, or whose task is cancelled, closes the procedure, so that its ``finally`` and ``with``
blocks run at once.

A `Deadline` ends waits: one of them by `Deadline.limited`, all of a procedure's by `limited`. Who
waits gives up by itself then, however busy the one who is waited for. `Workers` are threads for
what takes long, at most so many at a time.

Knows threads and event loops. Doesn't know what is waited for.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock, Thread, current_thread
from typing import Any, Generic, ParamSpec, TypeVar

from langchain_core.runnables.config import run_in_executor

Arguments = ParamSpec("Arguments")
T = TypeVar("T")
Item = TypeVar("Item")

_TASKS = Path("/proc/self/task")
"""This process's threads, as Linux shows them; elsewhere there is nothing to look at."""

HELPERS_END = 1.0
"""For how many seconds at most a library's threads are waited for: some may be another's."""


@dataclass(frozen=True)
class Wait(Generic[T]):
    """One thing to wait for, and both ways of doing it.

    Attributes:
        block: Waits in this thread.
        suspend: Waits in an event loop without blocking it.
        begin: Has it done elsewhere, for who may not wait to its end: a future, which is cancelled
            to say that nobody waits any more. None if there is no such way.
    """

    block: Callable[[], T]
    suspend: Callable[[], Awaitable[T]]
    begin: Callable[[], Future[T]] | None = None


Procedure = Generator[Item | Wait[Any], Any, T]
"""``Procedure[Item, T]``: yields items and waits, returns a ``T``."""


def from_future(future: Future[T]) -> Wait[T]:
    """Wait for what another thread will have done. A cancelled task cancels the future."""
    return Wait(future.result, lambda: asyncio.wrap_future(future), lambda: future)


def in_executor(work: Callable[[], T], workers: Workers | None = None) -> Wait[T]:
    """Do what takes long: here in a thread's own time, beside an event loop in another thread.

    Args:
        work: What to do.
        workers: Who does it in another thread; None for the event loop's own executor, which it
            shares with all of the program.
    """
    if workers is None:
        return Wait(work, lambda: run_in_executor(None, work))
    begin = partial(workers.submit, work)
    return Wait(work, lambda: asyncio.wrap_future(begin()), begin)


def twins(
    block: Callable[Arguments, T],
    suspend: Callable[Arguments, Awaitable[T]],
    *args: Arguments.args,
    **kwargs: Arguments.kwargs,
) -> Wait[T]:
    """Call a method that there is in both ways: ``twins(store.get, store.aget, "ada")``."""
    return Wait(partial(block, *args, **kwargs), partial(suspend, *args, **kwargs))


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


def _is_busy(task: Path) -> bool:
    """Whether a thread is running, or would if there were a processor for it."""
    try:
        return task.joinpath("stat").read_text().rpartition(")")[2].split()[0] == "R"
    except OSError:  # it is over
        return False


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


@dataclass(frozen=True)
class Deadline:
    """The moment at which who waits gives up.

    Attributes:
        at: By `time.monotonic`; infinite for never.
        error: What is raised then.
        called_off: Once it is done, that moment is over for all who wait in threads; None where it
            is a matter of time alone.
    """

    at: float
    error: Callable[[], Exception]
    called_off: Future[None] | None = None

    @property
    def left(self) -> float:
        """Seconds until then, at least 0."""
        if self.called_off is not None and self.called_off.done():
            return 0.0
        return max(self.at - time.monotonic(), 0.0)

    def check(self) -> None:
        """Raise the error if the time is over."""
        if self.left <= 0.0:
            raise self.error()

    def limited(
        self,
        awaited: Wait[T],
        give_up: Callable[[AnyFuture], object] | None = None,
        workers: Workers | None = None,
    ) -> Wait[T]:
        """Wait until then and no longer, not even for a thread that is busy.

        What can't be begun elsewhere is done in another thread, or as a task of the loop.

        Args:
            awaited: What to wait for.
            give_up: Told what isn't done when nobody waits for it any more, because the time is
                over or the waiter was interrupted; None to cancel it.
            workers: Whose threads these are; None for a thread of its own for each wait.
        """
        give_up = _cancel if give_up is None else give_up
        block = awaited.block
        if self.at < math.inf or self.called_off is not None:
            elsewhere = in_thread if workers is None else workers.submit
            begin = awaited.begin or partial(elsewhere, awaited.block)
            block = partial(self._block, begin, give_up)
        return Wait(block, partial(self._suspend, awaited, give_up))

    def _block(self, begin: Callable[[], Future[T]], give_up: Callable[[AnyFuture], object]) -> T:
        future = begin()
        ends: list[Future[Any]] = [future] if self.called_off is None else [future, self.called_off]
        try:
            wait(ends, self.left if self.at < math.inf else None, FIRST_COMPLETED)
        finally:
            is_done = future.done()  # before it may be cancelled
            if not is_done:
                give_up(future)
        if not is_done:
            raise self.error()
        return future.result()

    async def _suspend(self, awaited: Wait[T], give_up: Callable[[AnyFuture], object]) -> T:
        begun = None if awaited.begin is None else awaited.begin()
        future: asyncio.Future[T] = (
            asyncio.ensure_future(awaited.suspend())
            if begun is None
            else asyncio.wrap_future(begun)
        )
        try:
            await asyncio.wait([future], timeout=self.left if self.at < math.inf else None)
        finally:
            is_done = future.done()  # before it may be cancelled
            if not is_done:
                give_up(future if begun is None else begun)
                if begun is not None:
                    future.cancel()  # who is told is what does it, not what waits for that here
        if not is_done:
            raise self.error()
        return future.result()


AnyFuture = Future[Any] | asyncio.Future[Any]
"""What is waited for, of a thread or of an event loop."""


def _cancel(future: AnyFuture) -> None:
    """Say that nobody waits; what has begun may go on to its end, and nobody is told of it."""
    future.cancel()
    if isinstance(future, asyncio.Future):
        future.add_done_callback(lambda done: done.cancelled() or done.exception())


def limited(
    procedure: Procedure[Item, T], deadline: Deadline, workers: Workers | None = None
) -> Procedure[Item, T]:
    """The same procedure, in which each wait ends at a deadline; see `Deadline.limited`."""
    steps = _Steps(procedure)
    with closing(procedure):
        for step in steps:
            if isinstance(step, Wait):
                try:
                    steps.answer((yield deadline.limited(step, workers=workers)))
                except BaseException as error:
                    steps.fail(error)
            else:
                yield step
    return steps.returned


def run(procedure: Procedure[Any, T]) -> T:
    """What a procedure returns; items are let go."""
    steps = _Steps(procedure)
    for _ in _blocking(steps):
        pass
    return steps.returned


async def arun(procedure: Procedure[Any, T]) -> T:
    """What a procedure returns, without blocking the event loop; items are let go."""
    steps = _Steps(procedure)
    async for _ in _suspending(steps):
        pass
    return steps.returned


def stream(procedure: Procedure[Item, Any]) -> Generator[Item, None, None]:
    """The items of a procedure, as they come."""
    return _blocking(_Steps(procedure))


def astream(procedure: Procedure[Item, Any]) -> AsyncGenerator[Item, None]:
    """The items of a procedure, as they come, without blocking the event loop."""
    return _suspending(_Steps(procedure))


def collected(procedure: Procedure[Item, Any]) -> Procedure[Any, list[Item]]:
    """The same as part of another procedure: its items are returned instead of given out."""
    steps, items = _Steps(procedure), list[Item]()
    with closing(procedure):
        for step in steps:
            if isinstance(step, Wait):
                try:
                    steps.answer((yield step))
                except BaseException as error:
                    steps.fail(error)
            else:
                items.append(step)
    return items


def _blocking(steps: _Steps[Item, Any]) -> Generator[Item, None, None]:
    with closing(steps.procedure):
        for step in steps:
            if isinstance(step, Wait):
                try:
                    steps.answer(step.block())
                except BaseException as error:
                    steps.fail(error)
            else:
                yield step


async def _suspending(steps: _Steps[Item, Any]) -> AsyncGenerator[Item, None]:
    with closing(steps.procedure):
        for step in steps:
            if isinstance(step, Wait):
                try:
                    steps.answer(await step.suspend())
                except BaseException as error:  # a task's cancellation, too
                    steps.fail(error)
            else:
                yield step


class _Steps(Generic[Item, T]):
    """What a procedure yields, one after the other; who waited says what came of it.

    Attributes:
        procedure: The procedure.
        returned: What it returned, once it has.
    """

    returned: T

    def __init__(self, procedure: Procedure[Item, T]) -> None:
        """Nothing is done yet: the first step is for who asks for it."""
        self.procedure = procedure
        self._resume = partial(procedure.send, None)
        self._advance: Callable[[], Item | Wait[Any]] = self._resume

    def answer(self, value: Any) -> None:
        """Go on with this in place of the last yield."""
        self._advance = partial(self.procedure.send, value)

    def fail(self, error: BaseException) -> None:
        """Go on by raising this where the procedure yielded last."""
        self._advance = partial(self.procedure.throw, error)

    def __iter__(self) -> Iterator[Item | Wait[Any]]:
        """Run from one yield to the next."""
        while True:
            advance, self._advance = self._advance, self._resume
            try:
                step = advance()
            except StopIteration as end:
                self.returned = end.value
                return
            yield step
