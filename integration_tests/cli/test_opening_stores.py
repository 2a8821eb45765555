"""Stores that several programs open at once, as the replicas of a fleet do when it first starts."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import psycopg
import pytest

from langchain_amulet.cli import store
from langchain_amulet.cli.store import SETUP_LOCK, opened
from support.postgres import Postgres

PROGRAMS, STORES = 6, 5


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with Postgres() as running:
        yield running


def opened_by_all(name: str) -> list[list[str]]:
    """What each of several programs finds of the user in whose name it has written."""
    together = Barrier(PROGRAMS)

    def write(number: int) -> list[str]:
        together.wait()
        with opened(name) as memory:
            memory.set(f"user{number}", f"Style {number}.")
            return [each.text for each in memory.get(f"user{number}")]

    with ThreadPoolExecutor(PROGRAMS) as pool:
        return list(pool.map(write, range(PROGRAMS)))


WRITTEN = [[f"Style {number}."] for number in range(PROGRAMS)]


def test_a_new_file_may_be_opened_by_several_at_once(tmp_path: Path) -> None:
    for number in range(STORES):
        assert opened_by_all(str(tmp_path / f"{number}.db")) == WRITTEN


def test_a_new_database_may_be_opened_by_several_at_once_and_its_indexes_are_valid(
    server: Postgres,
) -> None:
    for number in range(STORES):
        with psycopg.connect(server.uri, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE new{number}")
        uri = server.uri.replace("/postgres?", f"/new{number}?")
        assert opened_by_all(uri) == WRITTEN
        with psycopg.connect(uri) as connection:
            broken = connection.execute("SELECT FROM pg_index WHERE NOT indisvalid")
            assert broken.fetchall() == []


def test_a_lock_that_was_left_behind_keeps_nobody_out(
    server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "CONNECT_SECONDS", 1)
    with psycopg.connect(server.uri, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", [SETUP_LOCK])
        with opened(server.uri) as memory:
            assert memory.get("ada") == ()
