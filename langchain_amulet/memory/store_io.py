"""Procedures run on a LangGraph store: in this thread, or in an event loop.

Every exception of the store's becomes a `PreferenceStoreError`. This module knows nothing of what
the procedures are for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from typing import Any

from langgraph.store.base import BaseStore, Op
from langgraph.store.base.batch import AsyncBatchedBaseStore
from langgraph.store.memory import InMemoryStore

from langchain_amulet.errors import AmuletError, PreferenceStoreError
from langchain_amulet.memory.records import Answer, Procedure
from langchain_amulet.memory.timeouts import in_thread
from langchain_amulet.validation import told

TRIES = 100
"""How often a search is begun that others' writes break off."""


class StoreIO:
    """A store, asked by procedures.

    Args:
        store: Any of LangGraph's.
    """

    def __init__(self, store: BaseStore) -> None:
        """Nothing is asked yet."""
        self.store = store
        # See `_undisturbed`. What is asked here needn't disturb itself.
        self._alone: AbstractContextManager[object] = (
            Lock() if isinstance(store, InMemoryStore) else nullcontext()
        )

    def run(self, procedure: Procedure[Answer]) -> Answer:
        """What a procedure returns.

        Raises:
            PreferenceStoreError: The store failed.
        """
        try:
            operations = next(procedure)
            while True:
                operations = procedure.send(self._batch(operations))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    async def arun(self, procedure: Procedure[Answer]) -> Answer:
        """What a procedure returns.

        Raises:
            PreferenceStoreError: The store failed.
        """
        try:
            operations = next(procedure)
            while True:
                operations = procedure.send(await self._abatch(operations))
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]

    def check_thread(self) -> None:
        """See `check_thread`."""
        check_thread(self.store)

    def _batch(self, operations: Sequence[Op]) -> list[Any]:
        with _failing(self.store), self._alone:
            if isinstance(self.store, InMemoryStore):
                return _undisturbed(self.store, operations)
            return self.store.batch(operations)

    async def _abatch(self, operations: Sequence[Op]) -> list[Any]:
        if isinstance(self.store, InMemoryStore):
            return self._batch(operations)  # its other way waits for nothing either
        with _failing(self.store):
            try:
                return await self.store.abatch(operations)
            except NotImplementedError:
                # SqliteStore knows no other way than to be waited for.
                return await asyncio.wrap_future(in_thread(lambda: self.store.batch(operations)))


def check_thread(store: BaseStore) -> None:
    """Refuse to wait in an event loop's thread for a store that answers in an event loop.

    Raises:
        PreferenceStoreError: That would wait for ever.
    """
    if isinstance(store, AsyncBatchedBaseStore) and _loop_runs_here():
        raise PreferenceStoreError(
            f"{type(store).__name__} can't be asked from inside an event loop without "
            "await: use aget, ainvoke and the other asynchronous ways, or a synchronous store."
        )


def _undisturbed(store: InMemoryStore, operations: Sequence[Op]) -> list[Any]:
    """Ask a store that, alone among all, can't be searched while another thread writes to it.

    It searches before it writes, so nothing has been done where a search is broken off.
    """
    for _ in range(TRIES):
        try:
            return store.batch(operations)
        except RuntimeError as error:
            if "during iteration" not in str(error):
                raise
    return store.batch(operations)


@contextmanager
def _failing(store: BaseStore) -> Iterator[None]:
    """Say whose exception it is."""
    try:
        yield
    except AmuletError:
        raise
    except Exception as error:
        raise PreferenceStoreError(
            f"{type(store).__name__} failed: {type(error).__name__}: {told(error)}. Mend the "
            "store; lookups can go on without it by on_store_error='ignore'."
        ) from error


def _loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
