"""Work on the engine's thread beside its requests, such as a search: steps, taken in turns.

Knows steps and who waits for what they come to. Doesn't know models, requests or the queue.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from langchain_amulet.engine.backends.base import Steps
from langchain_amulet.waiting.deadline import Deadline

T = TypeVar("T")


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
