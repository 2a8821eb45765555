"""A call's timeout: counted from the call's start, whatever the call waits for.

The clock starts where LangChain hands a call over, before anything is looked up, and the deadline
goes with the call's arguments from there.

This module knows timeouts: nothing of what a call waits for.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from langchain_amulet.errors import DeadlineError
from langchain_amulet.validation import LONGEST_WAIT
from langchain_amulet.waiting import Deadline, Item, Procedure, T, limited

DEADLINE = "_deadline"
"""The argument that holds a call's `Deadline`; no setting, and neither caches nor traces see it."""


def call_deadline(kwargs: Mapping[str, Any], default: float | None) -> Deadline | None:
    """The deadline of a call that begins now; None if it has none, or a timeout that is refused.

    Args:
        kwargs: The call's keyword arguments, unchecked: what is wrong with them is said later, by
            the settings.
        default: The model's own timeout.
    """
    started = kwargs.get(DEADLINE)
    if isinstance(started, Deadline):
        return started
    try:
        seconds = float(kwargs.get("timeout", default))
    except (TypeError, ValueError, OverflowError):
        return None
    if not 0.0 < seconds <= LONGEST_WAIT:
        return None
    return Deadline(time.monotonic() + seconds, partial(_too_late, seconds))


def in_time(procedure: Procedure[Item, T], deadline: Deadline | None) -> Procedure[Item, T]:
    """The same procedure, which fails with `DeadlineError` once the time is over, if it ever is."""
    if deadline is None:
        return (yield from procedure)
    try:
        return (yield from limited(procedure, deadline))
    except DeadlineError:
        # The engine was told what was left, which nobody has asked for: say the whole timeout.
        if deadline.left > 0.0:
            raise
        raise deadline.error() from None


def _too_late(seconds: float) -> DeadlineError:
    return DeadlineError(
        f"The answer wasn't whole within its timeout of {seconds:g} s, which counts from the "
        "call's start: raise timeout, ask for fewer tokens, or have fewer calls at a time."
    )
