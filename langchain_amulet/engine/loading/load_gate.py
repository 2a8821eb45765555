"""Forks and loads keep out of each other's way.

Knows that a process forks and that something is loaded. Doesn't know models.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

LONGEST_WAIT = 300.0
"""For how many seconds a fork waits for loads: one that hangs must not hang everything."""


class LoadGate:
    """Keeps a process from forking while a thread of it loads a model.

    A child would inherit locks of that moment (of imports, of libraries, of ours) whose owner
    doesn't exist there, and wait for them for ever.
    """

    def __init__(self) -> None:
        """Nobody loads yet."""
        # Reentrant: who forks holds it, and whatever runs there besides may load.
        self._changed = threading.Condition(threading.RLock())
        self._loads = 0
        self._is_loading: ContextVar[bool] = ContextVar("is_loading", default=False)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Have forks wait meanwhile, but for those of the load itself, which are its own affair."""
        with self._changed:
            self._loads += 1
        before = self._is_loading.set(True)
        try:
            yield
        finally:
            self._is_loading.reset(before)
            with self._changed:
                self._loads -= 1
                self._changed.notify_all()

    def before_fork(self) -> None:
        """Wait until nobody loads, and let nobody begin."""
        self._changed.acquire()
        if not self._is_loading.get():
            self._changed.wait_for(lambda: self._loads == 0, LONGEST_WAIT)

    def after_fork(self) -> None:
        """Let loads begin again, in the parent."""
        self._changed.release()

    def after_fork_in_child(self) -> None:
        """Let loads begin again, of which none is under way but one that forked by itself."""
        self._loads = int(self._is_loading.get())
        self._changed.release()
