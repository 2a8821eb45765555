"""A LangGraph store, asked in both ways: each batch of operations is one `Wait`.

Every exception of the store's becomes a `PreferenceStoreError`. What differs from store to store
is known here and nowhere else; what the operations are for isn't.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import Any, TypeVar

from langgraph.store.base import BaseStore, GetOp, Item, ListNamespacesOp, Op, SearchOp
from langgraph.store.base.batch import AsyncBatchedBaseStore
from langgraph.store.memory import InMemoryStore

from langchain_amulet.errors import AmuletError, PreferenceStoreError
from langchain_amulet.memory.lookups import Timeout
from langchain_amulet.validation.wording import kind_of
from langchain_amulet.waiting.wait import Wait, in_executor

T = TypeVar("T")

logger = logging.getLogger(__name__)

BLOCKING = frozenset({"langgraph.store.postgres.base", "langgraph.store.sqlite.base"})
"""Where the `abatch` of stores is that know no way but to block: by a thread of the event loop's
own executor if by any, from which one that hangs would take it for all of the program."""

TRIES = 100
"""How often a search is begun that others' writes break off."""


def access_to(store: BaseStore, timeout: Timeout) -> StoreAccess:
    """The way to ask a store of its kind."""
    if isinstance(store, InMemoryStore):
        return InMemoryAccess(store, timeout)
    if isinstance(store, AsyncBatchedBaseStore):
        return LoopBoundAccess(store, timeout)
    if type(store).abatch.__module__ in BLOCKING:
        return BlockingAccess(store, timeout)
    return StoreAccess(store, timeout)


class StoreAccess:
    """A store that can be asked from any thread.

    Args:
        store: Any of LangGraph's.
        timeout: How long it may take over a lookup.

    Attributes:
        store: The store.
    """

    def __init__(self, store: BaseStore, timeout: Timeout) -> None:
        """Ask nothing yet."""
        self.store = store
        self._timeout = timeout

    def batch(self, operations: Sequence[Op], begun: float | None = None) -> Wait[list[Any]]:
        """Have the store do these operations; what comes of it is a result for each.

        Args:
            operations: What to do, in one exchange.
            begun: When the lookup was begun that this is part of, by `time.monotonic`; None for
                what may take as long as it takes.

        Returns:
            A wait that raises `PreferenceStoreError` if the store fails.
        """
        exchange = Wait(partial(self._batch, operations), partial(self._abatch, operations))
        return exchange if begun is None else self._timeout.limited(exchange, begun)

    def _batch(self, operations: Sequence[Op]) -> list[Any]:
        try:
            return self._results(operations, self.store.batch(operations))
        except AmuletError:
            raise
        except Exception as error:
            raise _failure(self.store, error) from None

    async def _abatch(self, operations: Sequence[Op]) -> list[Any]:
        try:
            return self._results(operations, await self.store.abatch(operations))
        except NotImplementedError:
            # One of somebody's own that knows no other way than to block.
            return await self._blocking(operations).suspend()
        except AmuletError:
            raise
        except Exception as error:
            raise _failure(self.store, error) from None

    def _blocking(self, operations: Sequence[Op]) -> Wait[list[Any]]:
        return in_executor(partial(self._batch, operations), self._timeout.workers)

    def _results(self, operations: Sequence[Op], results: Any) -> list[Any]:
        """Results of the kinds that were asked for, whatever a store gives."""
        is_list = isinstance(results, (list, tuple)) and len(results) == len(operations)
        if not (is_list and all(map(_is_result, operations, results))):
            raise PreferenceStoreError(
                f"{type(self.store).__name__} must give a result of its kind for each operation, "
                "but gave something else: mend the store."
            )
        return list(results)


class InMemoryAccess(StoreAccess):
    """A store that, alone among all, can't be searched while another thread writes to it."""

    def __init__(self, store: BaseStore, timeout: Timeout) -> None:
        """Ask nothing yet."""
        super().__init__(store, timeout)
        self._lock = Lock()  # who asks through this object needn't disturb anybody

    def _batch(self, operations: Sequence[Op]) -> list[Any]:
        with self._lock:
            for _ in range(TRIES):
                try:
                    return self._results(operations, self.store.batch(operations))
                except AmuletError:
                    raise
                except Exception as error:
                    # It searches before it writes: nothing was done where a search is broken off.
                    if "during iteration" not in str(error):
                        raise _failure(self.store, error) from None
            return super()._batch(operations)

    async def _abatch(self, operations: Sequence[Op]) -> list[Any]:
        return self._batch(operations)  # its other way waits for nothing either


class BlockingAccess(StoreAccess):
    """A store that blocks who asks it: beside an event loop that is a thread of its own."""

    def batch(self, operations: Sequence[Op], begun: float | None = None) -> Wait[list[Any]]:
        """See `StoreAccess.batch`."""
        exchange = self._blocking(operations)
        return exchange if begun is None else self._timeout.limited(exchange, begun)


class LoopBoundAccess(StoreAccess):
    """A store that answers in an event loop of its own, whoever asks."""

    def batch(self, operations: Sequence[Op], begun: float | None = None) -> Wait[list[Any]]:
        """See `StoreAccess.batch`."""
        exchange = super().batch(operations, begun)
        return Wait(partial(self._checked, exchange.block), exchange.suspend)

    def _checked(self, block: Callable[[], T]) -> T:
        check_thread(self.store)  # not in the thread that a timeout begins
        return block()


def check_thread(store: object) -> None:
    """Refuse to block this thread for a store whose event loop could then never answer.

    Args:
        store: Any store; those that answer in no event loop can be asked from everywhere.

    Raises:
        PreferenceStoreError: It would block for ever.
    """
    if not isinstance(store, AsyncBatchedBaseStore):
        return
    if _loop_runs_here():
        raise PreferenceStoreError(
            f"{type(store).__name__} can't be asked from inside an event loop without "
            "await: use aget, ainvoke and the other asynchronous ways, or a synchronous store."
        )
    if not store._loop.is_running():  # LangGraph has no public name for it
        raise PreferenceStoreError(
            f"{type(store).__name__} answers in the event loop that it was opened in, which isn't "
            "running: ask it while that runs, by aget and the other asynchronous ways, or use a "
            "synchronous store."
        )


def _is_result(operation: Op, result: Any) -> bool:
    """Whether an operation may have this result."""
    if isinstance(operation, GetOp):
        return result is None or isinstance(result, Item)
    if isinstance(operation, (SearchOp, ListNamespacesOp)):
        kind = Item if isinstance(operation, SearchOp) else tuple
        return isinstance(result, list) and all(isinstance(each, kind) for each in result)
    return True  # nothing is made of what a write gives


def _failure(store: BaseStore, error: Exception) -> PreferenceStoreError:
    # Its kind alone: what a database says of an error may quote what was to be written.
    logger.warning("%s failed: %s", type(store).__name__, type(error).__name__)
    return PreferenceStoreError(
        f"{type(store).__name__} failed: {kind_of(error)}, in words that aren't shown, as they may "
        "quote a preference. Mend the store; lookups can go on without it by "
        "on_store_error='ignore'."
    )


def _loop_runs_here() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
