"""When a call ends that isn't whole: at its timeout, or as the batch that it is in is called off.

A timeout counts from the call's start, whatever the call waits for: the clock starts where
LangChain hands the call over, before anything is looked up, and the deadline goes with the call's
arguments from there. So does the batch, which LangChain has answered by many calls.

This module knows timeouts and batches: nothing of what a call waits for.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from langchain_amulet.errors import CancelledError, DeadlineError
from langchain_amulet.validation.checks import LONGEST_WAIT
from langchain_amulet.waiting.deadline import Deadline, limited
from langchain_amulet.waiting.procedure import Item, Procedure, T
from langchain_amulet.waiting.threads import Workers

DEADLINE = "_deadline"
"""The argument that holds a call's `Deadline`; no setting, and neither caches nor traces see it."""

BATCH = "_batch"
"""The argument that holds the `CallBatch` which a call is part of; seen by nobody else, either."""


@dataclass(frozen=True, eq=False)
class CallBatch:
    """Calls that were made as one: none is refused for want of room, and they can end together.

    Attributes:
        called_off: Done once nobody waits for any of them.
    """

    called_off: Future[None] = field(default_factory=Future)

    def call_off(self) -> None:
        """End those that are under way, and let none begin."""
        if not self.called_off.done():
            self.called_off.set_result(None)

    def error(self, seconds: float | None) -> Exception:
        """Why a call of it, with this timeout or none, has ended before it was whole."""
        if seconds is not None and not self.called_off.done():
            return _too_late(seconds)
        return CancelledError(
            "The batch was interrupted, so its calls have no answers. Make it again for them."
        )


def call_deadline(kwargs: Mapping[str, Any], default: float | None) -> Deadline | None:
    """The deadline of a call that begins now; None if nothing ends it, or a timeout is refused.

    Args:
        kwargs: The call's keyword arguments, unchecked: what is wrong with them is said later, by
            the settings.
        default: The model's own timeout.
    """
    started = kwargs.get(DEADLINE)
    if isinstance(started, Deadline):
        return started
    seconds, batch = _seconds(kwargs.get("timeout", default)), kwargs.get(BATCH)
    at = math.inf if seconds is None else time.monotonic() + seconds
    if isinstance(batch, CallBatch):
        return Deadline(at, partial(batch.error, seconds), batch.called_off)
    return None if seconds is None else Deadline(at, partial(_too_late, seconds))


def in_time(
    procedure: Procedure[Item, T], deadline: Deadline | None, workers: Workers | None = None
) -> Procedure[Item, T]:
    """The same procedure, which fails with the deadline's error once that is over, if it ever is.

    Args:
        procedure: What may take long.
        deadline: When that is over; None for never.
        workers: Threads for what blocks; None for as many as there are waits.

    Raises:
        DeadlineError: The time is over.
        CancelledError: The batch was called off.
    """
    if deadline is None:
        return (yield from procedure)
    if deadline.called_off is not None and deadline.called_off.done():
        raise deadline.error()
    try:
        return (yield from limited(procedure, deadline, workers))
    except DeadlineError:
        # The engine was told what was left, which nobody has asked for: say the whole timeout.
        if deadline.left > 0.0:
            raise
        raise deadline.error() from None


def _seconds(timeout: Any) -> float | None:
    """A timeout in seconds; None for none, or one that is refused."""
    try:
        seconds = float(timeout)
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if 0.0 < seconds <= LONGEST_WAIT else None


def _too_late(seconds: float) -> DeadlineError:
    return DeadlineError(
        f"The answer wasn't whole within its timeout of {seconds:g} s, which counts from the "
        "call's start: raise timeout, ask for fewer tokens, or have fewer calls at a time."
    )
