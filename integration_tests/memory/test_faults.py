"""What becomes of stored preferences when stores are slow, locked, killed, or written to by two."""

import asyncio
import random
import sqlite3
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from threading import Event, Thread, active_count
from typing import Any

import psycopg
import pytest
from langgraph.store.postgres import AsyncPostgresStore, PostgresStore
from langgraph.store.sqlite import AsyncSqliteStore, SqliteStore
from psycopg_pool import ConnectionPool

from langchain_amulet import ChatAmulet, Preference, PreferenceMemory
from langchain_amulet.errors import (
    PreferenceStoreError,
    PreferenceTimeoutError,
    PreferenceWarning,
)
from langchain_amulet.memory.lookups import UNANSWERED
from support.postgres import Postgres
from support.writers import Writer, add_to_ada, memory_over, set_ada

SHORT, KIND = "Keep it short.", "Be kind."
ROUNDS = 100
SOON = 0.2
"""A deadline, in seconds."""
SLACK = 3.0
"""What a busy machine may add to it."""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database that holds what Ada likes."""
    path = tmp_path / "store.db"
    with SqliteStore.from_conn_string(str(path)) as store:
        memory_over(store).set("ada", SHORT)
    return path


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as running:
        with PostgresStore.from_conn_string(running.uri) as store:
            store.setup()
        yield running


# --- Writers that are killed, and several at a time ---


def test_what_a_killed_writer_had_acknowledged_is_never_lost(file: Path) -> None:
    """100 rounds of kill -9, wherever the writer happens to be."""
    random.seed(0)
    for _ in range(ROUNDS):
        write = random.choice([set_ada, add_to_ada])
        writer = Writer(file, write, times=1000)
        for _ in range(random.randint(1, 3)):
            assert writer.hear()
        time.sleep(random.random() / 100)
        writer.kill()
        acknowledged = writer.join()
        with SqliteStore.from_conn_string(str(file)) as store:
            memory = memory_over(store)
            current = {preference.text for preference in memory.get("ada")}
            done = [change.added for change in memory.history("ada", limit=1000)]
            known = {entry.text for added in done for entry in added.values()}
            assert set(acknowledged) <= known
            if write is add_to_ada:
                assert set(acknowledged) <= current
            else:  # the one in which it was killed may have replaced the last one
                assert acknowledged[-1:] == sorted(current) or current.isdisjoint(acknowledged)
            memory.erase("ada")
    with closing(sqlite3.connect(file)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_two_programs_that_add_to_a_user_at_once_lose_nothing(file: Path) -> None:
    writers = [Writer(file, add_to_ada, times=20) for _ in range(2)]
    added = [text for writer in writers for text in writer.join()]
    assert len(added) == 40
    with SqliteStore.from_conn_string(str(file)) as store:
        memory = memory_over(store)
        assert {each.text for each in memory.get("ada")} == {SHORT, *added}
        assert len(memory.history("ada", limit=100)) == 41


def test_of_two_programs_that_set_a_users_preference_one_was_last(file: Path) -> None:
    writers = [Writer(file, set_ada, times=20) for _ in range(2)]
    written = [writer.join() for writer in writers]
    with SqliteStore.from_conn_string(str(file)) as store:
        memory = memory_over(store)
        (lasting,) = memory.get("ada")
        assert lasting.text in {texts[-1] for texts in written}
        history = [change.added for change in memory.history("ada", limit=100)]
        known = [entry.text for added in history for entry in added.values()]
        assert sorted(known) == sorted([SHORT, *written[0], *written[1]])


# --- A file that another program has locked ---


def test_a_locked_file_is_an_error_and_what_was_not_acknowledged_did_not_happen(
    file: Path,
) -> None:
    connection = sqlite3.connect(file, timeout=0.05, isolation_level=None, check_same_thread=False)
    with closing(connection), _locked(file):
        memory = PreferenceMemory(SqliteStore(connection))
        with pytest.raises(PreferenceStoreError, match=r"OperationalError \(SQLITE_BUSY\)"):
            memory.get("ada")
        with pytest.raises(PreferenceStoreError, match=r"OperationalError \(SQLITE_BUSY\)"):
            memory.set("ada", KIND)
    with SqliteStore.from_conn_string(str(file)) as store:
        assert memory_over(store).get("ada") == (Preference(SHORT),)


def test_with_a_write_ahead_log_a_reader_locks_nobody_out(file: Path) -> None:
    """Without one, a reader who takes longer than the store waits leaves the store unusable."""
    connection = sqlite3.connect(file, timeout=0.05, isolation_level=None, check_same_thread=False)
    reader = sqlite3.connect(file, isolation_level=None)
    with closing(connection), closing(reader):
        connection.execute("PRAGMA journal_mode = WAL")
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM store").fetchone()
        memory = PreferenceMemory(SqliteStore(connection))
        memory.set("ada", KIND)
        assert memory.get("ada") == (Preference(KIND),)


def test_a_lookup_in_a_locked_file_ends_in_time_and_the_next_one_works(file: Path) -> None:
    with SqliteStore.from_conn_string(str(file)) as store:
        memory = PreferenceMemory(store, timeout=SOON)
        with _locked(file):
            _assert_late(lambda: memory.get("ada"))
        assert _eventually(lambda: memory.get("ada")) == (Preference(SHORT),)


async def _answers_again(memory: PreferenceMemory) -> None:
    """What was late left the store in the middle of nothing."""
    end = time.monotonic() + 30.0
    while time.monotonic() < end:
        try:
            assert await memory.aget("ada") == (Preference(SHORT),)
            return
        except PreferenceTimeoutError:
            await asyncio.sleep(0.05)
    pytest.fail("it never answered again")


async def test_so_it_does_in_an_event_loop(file: Path) -> None:
    async with AsyncSqliteStore.from_conn_string(str(file)) as store:
        await store.setup()
        memory = PreferenceMemory(store, timeout=SOON)
        with _locked(file):
            start = time.monotonic()
            with pytest.raises(PreferenceTimeoutError):
                await memory.aget("ada")
            assert time.monotonic() - start < SOON + SLACK
        await _answers_again(memory)


async def test_a_write_whose_caller_is_cancelled_leaves_the_store_usable(file: Path) -> None:
    async with AsyncSqliteStore.from_conn_string(str(file)) as store:
        memory = PreferenceMemory(store)
        for delay in range(40):
            writing = asyncio.create_task(memory.aadd("ada", f"Wish {delay % 9}."))
            await asyncio.sleep(delay / 10_000)
            writing.cancel()
        assert Preference(SHORT) in await memory.aget("ada")
        await memory.aset("ada", KIND)
        assert Preference(KIND) in await memory.aget("ada")


# --- A store that is slow ---


class SlowStore(SqliteStore):
    """SQLite on a bad day."""

    gate: Event

    def batch(self, ops: Any) -> list[Any]:
        self.gate.wait()
        return super().batch(ops)


@pytest.fixture
def slow(file: Path) -> Iterator[SlowStore]:
    with SlowStore.from_conn_string(str(file)) as store:
        assert isinstance(store, SlowStore)
        store.gate = Event()
        yield store
        store.gate.set()
        time.sleep(0.1)  # for the lookups that were left behind


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
def test_a_slow_store_is_waited_for_as_long_as_was_said(slow: SlowStore, is_async: bool) -> None:
    strict, lenient = (
        PreferenceMemory(slow, timeout=SOON, on_store_error=choice)  # type: ignore[arg-type]
        for choice in ("raise", "ignore")
    )

    def ask(memory: PreferenceMemory) -> tuple[Preference, ...]:
        return asyncio.run(memory.aget("ada")) if is_async else memory.get("ada")

    _assert_late(lambda: ask(strict))
    start = time.monotonic()
    with pytest.warns(PreferenceWarning, match=r"within 0\.2 s"):
        assert ask(lenient) == ()
    assert SOON <= time.monotonic() - start < SOON + SLACK
    assert lenient.failures == 1
    slow.gate.set()
    assert ask(strict) == ask(lenient) == (Preference(SHORT),)


@pytest.mark.parametrize("timeout", [None, SOON])
async def test_a_slow_store_keeps_so_many_threads_of_an_event_loops_callers_and_no_more(
    slow: SlowStore, timeout: float | None
) -> None:
    """However many ask in one moment; those who come later are refused at once."""
    memory, before = PreferenceMemory(slow, timeout=timeout), active_count()
    for _ in range(3):
        lookups = [asyncio.wait_for(memory.aget("ada"), 2 * SOON) for _ in range(2 * UNANSWERED)]
        found = await asyncio.gather(*lookups, return_exceptions=True)
        assert {type(each) for each in found} <= {TimeoutError, PreferenceTimeoutError}
        assert active_count() - before <= UNANSWERED
    slow.gate.set()
    await _answers_again(memory)


def test_a_conversation_goes_on_without_a_preference(slow: SlowStore, llm: ChatAmulet) -> None:
    memory = PreferenceMemory(slow, timeout=SOON, on_store_error="ignore")
    knowing = llm.model_copy(update={"memory": memory})
    config: Any = {"configurable": {"user_id": "ada"}}
    with pytest.warns(PreferenceWarning):
        assert knowing.invoke("Hello!", config).content == llm.invoke("Hello!").content
    slow.gate.set()
    styled = llm.invoke("Hello!", preference=SHORT).content
    assert knowing.invoke("Hello!", config).content == styled != llm.invoke("Hello!").content


# --- A server that is killed ---


def test_a_killed_server_loses_nothing_that_was_acknowledged(server: Postgres) -> None:
    """Lookups meanwhile end in time, with the right preference or none; then all is as before."""
    pool: Any = {"min_size": 1, "max_size": 4, "check": ConnectionPool.check_connection}
    with PostgresStore.from_conn_string(server.uri, pool_config=pool) as store:
        memory = PreferenceMemory(store, timeout=1.0, max_history=1000)
        acknowledged: list[str] = []
        memory.set("bob", KIND)
        stop = Event()

        def write() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                try:
                    memory.set("ada", f"Wish {number}.")
                    acknowledged.append(f"Wish {number}.")
                except PreferenceStoreError:
                    time.sleep(0.01)

        writer = Thread(target=write)
        writer.start()
        _wait_for(lambda: len(acknowledged) > 10)
        server.kill()
        _wait_for(lambda: _is_away(memory, "bob"))
        for _ in range(3):
            start = time.monotonic()
            with pytest.raises(PreferenceStoreError):
                memory.get("bob")
            assert time.monotonic() - start < 1.0 + SLACK
        server.start()
        before = len(acknowledged)
        _wait_for(lambda: len(acknowledged) > before + 10)
        stop.set()
        writer.join()
        assert _eventually(lambda: memory.get("bob")) == (Preference(KIND),)
        history = [change.added for change in memory.history("ada", limit=1000)]
        known = {entry.text for added in history for entry in added.values()}
        assert set(acknowledged) <= known
        assert [preference.text for preference in memory.get("ada")] == acknowledged[-1:]


async def test_a_database_that_hangs_keeps_nothing_from_the_rest_of_an_event_loops_program(
    server: Postgres,
) -> None:
    """LangGraph's store waits in the loop's own threads, of which there are few."""
    with PostgresStore.from_conn_string(server.uri) as store, ThreadPoolExecutor(1) as executor:
        asyncio.get_running_loop().set_default_executor(executor)
        memory = PreferenceMemory(store, timeout=SOON)
        await memory.aset("ada", SHORT)
        with psycopg.connect(server.uri) as other:
            other.execute("LOCK TABLE store IN ACCESS EXCLUSIVE MODE")
            with pytest.raises(PreferenceTimeoutError):
                await memory.aget("ada")
            assert await asyncio.wait_for(asyncio.to_thread(lambda: 7), 30.0) == 7
        assert await asyncio.to_thread(_eventually, lambda: memory.get("ada")) == (
            Preference(SHORT),
        )


async def test_an_event_loop_outlives_the_server_too(server: Postgres) -> None:
    pool: Any = {"min_size": 1, "max_size": 4}
    async with AsyncPostgresStore.from_conn_string(server.uri, pool_config=pool) as store:
        memory = PreferenceMemory(store, timeout=1.0, on_store_error="ignore")
        await memory.aset("eve", SHORT)
        server.kill()
        end = time.monotonic() + 30.0
        with pytest.warns(PreferenceWarning):
            while found := await memory.aget("eve"):  # its children live a little longer
                assert found == (Preference(SHORT),) and time.monotonic() < end
        await asyncio.to_thread(server.start)
        end = time.monotonic() + 30.0
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PreferenceWarning)  # until it is connected again
            while await memory.aget("eve") != (Preference(SHORT),):
                assert time.monotonic() < end


def _assert_late(lookup: Any) -> None:
    start = time.monotonic()
    with pytest.raises(PreferenceTimeoutError):
        lookup()
    assert SOON <= time.monotonic() - start < SOON + SLACK


def _is_away(memory: PreferenceMemory, user_id: str) -> bool:
    """Whether a killed server no longer answers: its children live a little longer."""
    try:
        memory.get(user_id)
    except PreferenceStoreError:
        return True
    return False


def _eventually(lookup: Any) -> Any:
    """What a lookup finds when the store has come to itself."""
    end = time.monotonic() + 30.0
    while True:
        try:
            return lookup()
        except PreferenceStoreError:
            assert time.monotonic() < end
            time.sleep(0.05)


def _wait_for(condition: Any) -> None:
    end = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def _locked(file: Path) -> Any:
    """Another program's transaction, which lets nobody read."""
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    return closing(connection)
