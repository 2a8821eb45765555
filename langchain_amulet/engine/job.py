"""Work that needs the models alone for a while, on the engine's thread between two steps.

Knows a function and who waits for what it returns. Doesn't know models, requests or the queue.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Job(Generic[T]):
    """A piece of work and its outcome.

    Attributes:
        work: What to do.
        owner: What must live until it is done, such as the engine.
        outcome: What came of it; cancelled before the work began, it is never done.
    """

    work: Callable[[], T]
    owner: object
    outcome: Future[T] = field(default_factory=Future)

    def run(self) -> None:
        """Do the work; whatever it raises is the caller's alone."""
        if not self.outcome.set_running_or_notify_cancel():
            return
        try:
            result = self.work()
        except BaseException as error:
            self.outcome.set_exception(error)
        else:
            self.outcome.set_result(result)

    def refuse(self, error: Exception) -> None:
        """Tell the caller that the work won't be done."""
        if self.outcome.set_running_or_notify_cancel():
            self.outcome.set_exception(error)
