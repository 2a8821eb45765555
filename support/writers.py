"""Programs that write to a user's preferences, and tell their parent of each write that is done."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from langgraph.store.sqlite import SqliteStore

from langchain_amulet.memory import PreferenceMemory

Write = Callable[[PreferenceMemory, int], str]
"""Writes the n-th time; returns what it wrote."""

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([__name__])  # so that a child starts in no time


def memory_over(store: SqliteStore) -> PreferenceMemory:
    """The memory that writers and their parent have."""
    return PreferenceMemory(store, max_preferences=1000, max_history=1000)


class Writer:
    """A process that writes until it has written so often, or is killed."""

    def __init__(self, file: Path, write: Write, times: int) -> None:
        """Start it."""
        self._heard, told = CONTEXT.Pipe(duplex=False)
        self._process: Any = CONTEXT.Process(target=_run, args=(file, write, times, told))
        self._process.start()
        told.close()  # the child's alone, so that its end is heard
        self.acknowledged: list[str] = []

    def hear(self) -> bool:
        """Wait for a write to be done; False if there are no more."""
        try:
            self.acknowledged.append(self._heard.recv())
        except EOFError:
            return False
        return True

    def kill(self) -> None:
        """``kill -9``."""
        self._process.kill()

    def join(self) -> list[str]:
        """What it wrote, once it has ended."""
        while self.hear():
            pass
        self._process.join()
        self._heard.close()
        return self.acknowledged


def set_ada(memory: PreferenceMemory, number: int) -> str:
    """Have Ada want something else each time."""
    text = f"Set {multiprocessing.current_process().name} {number}."
    memory.set("ada", text)
    return text


def add_to_ada(memory: PreferenceMemory, number: int) -> str:
    """Have Ada want something more each time."""
    text = f"Add {multiprocessing.current_process().name} {number}."
    memory.add("ada", text)
    return text


def _run(file: Path, write: Write, times: int, told: Connection) -> None:
    with SqliteStore.from_conn_string(str(file)) as store:
        memory = memory_over(store)
        for number in range(times):
            told.send(write(memory, number))
