"""Work on the engine's thread beside its requests, such as a search: steps, taken in turns.

Knows steps and who waits for what they come to. Doesn't know models, requests or locks.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from langchain_amulet.engine.backends.base import Steps
from langchain_amulet.engine.failures import as_failure
from langchain_amulet.waiting.deadline import Deadline

T = TypeVar("T")

JOBS = 4
"""How many jobs take turns at most."""


@dataclass(frozen=True, eq=False)
class Job(Generic[T]):
    """A piece of work and its outcome.

    Attributes:
        steps: What to do.
        owner: What must live until it is done, such as the engine.
        rows: How many sequences it holds in memory while it is under way.
        deadline: When it fails if it isn't done; None for never.
        waits_for_room: As in `Request`.
        outcome: What came of it. Cancelling it, at any time, ends the work before its next step.
    """

    steps: Steps[T]
    owner: object
    rows: int = 1
    deadline: Deadline | None = None
    waits_for_room: bool = False
    outcome: Future[T] = field(default_factory=Future)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to do: it is done, it failed, or nobody waits for it."""
        return self.outcome.done()

    def advance(self) -> None:
        """Do the next step. What that raises is for `refuse`."""
        try:
            next(self.steps)
        except StopIteration as end:
            if self._is_wanted():
                self.outcome.set_result(end.value)

    def end_if_late(self) -> None:
        """Fail if the time is over."""
        if self.deadline is not None and self.deadline.left <= 0.0 and not self.is_over:
            self.refuse(self.deadline.error())

    def refuse(self, error: BaseException) -> None:
        """Tell the caller that nothing comes of it."""
        if self._is_wanted():
            self.outcome.set_exception(error)

    def _is_wanted(self) -> bool:
        """Whether the outcome can be told: from now on it can't be cancelled."""
        return self.outcome.set_running_or_notify_cancel()


class JobTurns:
    """The jobs of one engine: few take turns, the others wait to begin, in order of arrival.

    Those that wait are added by other threads, so whatever looks at them is called by who holds the
    lock on them: all but `advance`.

    Attributes:
        waiting: Jobs that wait to begin.
    """

    def __init__(self, max_rows: int) -> None:
        """Begin with none.

        Args:
            max_rows: The most rows at a time, over all jobs that take turns; one that has more by
                itself takes turns with no other.
        """
        self._max_rows = max_rows
        self.waiting: deque[Job[Any]] = deque()
        self._begun: deque[Job[Any]] = deque()

    def __len__(self) -> int:
        """How many there are, of both."""
        return len(self.waiting) + len(self._begun)

    def let_go(self) -> None:
        """End those whose time is over, and forget all that have ended."""
        for jobs in (self.waiting, self._begun):
            for job in jobs:
                job.end_if_late()
            left = [job for job in jobs if not job.is_over]
            jobs.clear()
            jobs.extend(left)

    def begin(self) -> None:
        """Let waiting jobs begin in order of arrival: few, as each has memory of its own."""
        while self.waiting and len(self._begun) < JOBS:
            rows = sum(job.rows for job in self._begun) + self.waiting[0].rows
            if self._begun and rows > self._max_rows:
                return
            self._begun.append(self.waiting.popleft())

    def advance(self) -> None:
        """One step of one of those under way, which take turns with all others."""
        if not self._begun:
            return
        job = self._begun.popleft()
        try:
            job.advance()
        except Exception as error:
            job.refuse(as_failure(error))
        except BaseException as error:  # such as SystemExit: meant for who brought the job
            job.refuse(error)
        if not job.is_over:
            self._begun.append(job)

    def take_all(self) -> list[Job[Any]]:
        """All of them, which are forgotten here."""
        jobs = [*self._begun, *self.waiting]
        self._begun.clear()
        self.waiting.clear()
        return jobs
