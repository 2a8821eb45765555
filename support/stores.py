"""LangGraph's stores, opened for a test and closed after it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from langgraph.store.base import BaseStore, TTLConfig
from langgraph.store.memory import InMemoryStore
from langgraph.store.postgres import AsyncPostgresStore, PostgresStore
from langgraph.store.sqlite import AsyncSqliteStore, SqliteStore

from langchain_amulet.memory import PreferenceMemory

IN_HASTE = "PRAGMA synchronous = OFF"
"""Nobody pulls the plug here, so the disk needn't keep up."""

Opening = AbstractAsyncContextManager[BaseStore]


@dataclass(frozen=True)
class Databases:
    """Where databases are."""

    file: Path
    uri: str


@asynccontextmanager
async def in_memory(databases: Databases, ttl: TTLConfig | None = None) -> AsyncIterator[BaseStore]:
    yield InMemoryStore()


@asynccontextmanager
async def sqlite(databases: Databases, ttl: TTLConfig | None = None) -> AsyncIterator[BaseStore]:
    with SqliteStore.from_conn_string(str(databases.file), ttl=ttl) as store:
        store.setup()
        store.conn.execute(IN_HASTE)
        yield store


@asynccontextmanager
async def async_sqlite(
    databases: Databases, ttl: TTLConfig | None = None
) -> AsyncIterator[BaseStore]:
    async with AsyncSqliteStore.from_conn_string(str(databases.file), ttl=ttl) as store:
        await store.setup()
        await store.conn.execute(IN_HASTE)
        yield store


@asynccontextmanager
async def postgres(databases: Databases, ttl: TTLConfig | None = None) -> AsyncIterator[BaseStore]:
    with PostgresStore.from_conn_string(databases.uri, ttl=ttl) as store:
        store.setup()
        yield store


@asynccontextmanager
async def async_postgres(
    databases: Databases, ttl: TTLConfig | None = None
) -> AsyncIterator[BaseStore]:
    async with AsyncPostgresStore.from_conn_string(databases.uri, ttl=ttl) as store:
        await store.setup()
        yield store


SQL: dict[str, Callable[..., Opening]] = {
    opening.__name__: opening for opening in (sqlite, async_sqlite, postgres, async_postgres)
}
"""Stores that outlive the program."""

ALL: dict[str, Callable[..., Opening]] = {"in_memory": in_memory, **SQL}


def set_up(databases: Databases) -> None:
    """Make the tables, which takes longer than most tests."""
    with SqliteStore.from_conn_string(str(databases.file)) as store:
        store.setup()
    with PostgresStore.from_conn_string(databases.uri) as store:
        store.setup()


def emptied(databases: Databases, folder: Path) -> Databases:
    """The same databases without anything in their tables, the file in another folder."""
    with psycopg.connect(databases.uri) as connection:
        connection.execute("TRUNCATE store")
    return Databases(Path(shutil.copy(databases.file, folder)), databases.uri)


@dataclass(frozen=True)
class Caller:
    """Calls a memory in one of the two ways, under the same names."""

    memory: PreferenceMemory
    is_async: bool

    async def __call__(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """A method's result; the synchronous ones are called from a thread, as programs do."""
        if self.is_async:
            return await getattr(self.memory, f"a{method}")(*args, **kwargs)
        return await asyncio.to_thread(getattr(self.memory, method), *args, **kwargs)
