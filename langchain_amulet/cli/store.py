"""Where the command line keeps users' preferences: a file, a database, or a store of your own.

The file is SQLite's, and readable by its owner alone. This module knows how stores are opened, and
how a user's preferences are shown; nothing of models.
"""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from langchain_amulet.errors import ConfigurationError, PreferenceStoreError
from langchain_amulet.validation.packages import needing

if TYPE_CHECKING:
    import psycopg
    from langgraph.store.base import BaseStore
    from langgraph.store.postgres import PostgresStore
    from langgraph.store.sqlite import SqliteStore

    from langchain_amulet.memory import PreferenceStore, StoredPreference

DEFAULT_STORE = str(Path(typer.get_app_dir("langchain-amulet")) / "preferences.db")

IMPORTABLE = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")
"""``package.module:name``."""

POSTGRES = ("postgresql://", "postgres://")
"""What the URL of a PostgreSQL database begins with."""

CONNECTIONS = 8
"""How many connections to a database are open at most."""

CONNECT_SECONDS = 10
"""How long a database may take to answer at first."""

SETUP_LOCK = 0x414D554C4554
"""Who makes a database's tables holds this one of its advisory locks: "AMULET" in ASCII."""

SETUP_TRIES = 100
SETUP_PAUSE = 0.05
"""How often, and after how many seconds each, making tables is tried again."""

Store = Annotated[
    str,
    typer.Option(
        help="The file of preferences, a PostgreSQL URL, or a store of your own as module:name.",
        envvar="LANGCHAIN_AMULET_STORE",
    ),
]


@contextmanager
def opened(store: str) -> Iterator[PreferenceStore]:
    """The store that an option names, as one of preferences; see `opened_store`."""
    from langchain_amulet.memory import as_store

    with opened_store(store) as found:
        yield as_store(found)


@contextmanager
def opened_store(store: str) -> Iterator[object]:
    """The store that an option names, until the block ends: a LangGraph store or one of your own.

    Args:
        store: A file, which is made if it isn't there; or the URL of a PostgreSQL database; or
            the name, ``package.module:name``, of a preference store or a LangGraph store, or of a
            function or class that gives one when it is called without arguments, or a context
            manager of one.

    Raises:
        ConfigurationError: It names no store, or what fails to give one, or the library that reads
            it isn't installed.
        PreferenceStoreError: It can't be opened.
    """
    with ExitStack() as stack:
        if store.startswith(POSTGRES):
            yield _database(store, stack)
        elif IMPORTABLE.fullmatch(store) and not Path(store).exists():
            yield _imported(store, stack)
        else:
            yield _file(store, stack)


def listed(memory: PreferenceStore, limit: int) -> tuple[str, ...]:
    """The users of whom something is stored.

    Raises:
        ConfigurationError: The store can't tell.
    """
    users = getattr(memory, "list", None)
    if not callable(users):
        raise ConfigurationError(
            f"A store must be able to list its users, but {type(memory).__name__} has no "
            "list(limit): name one of them by --user."
        )
    found: tuple[str, ...] = users(limit)
    return found


def _imported(name: str, stack: ExitStack) -> object:
    from langgraph.store.base import BaseStore

    from langchain_amulet.memory import PreferenceStore
    from langchain_amulet.registry import import_named, made_by

    value: Any = import_named(name)
    # A class has a store's methods, too, but not for use.
    if isinstance(value, type) or not isinstance(value, (PreferenceStore, BaseStore)):
        value = made_by(name, value) if callable(value) else value
    if isinstance(value, AbstractContextManager):
        return made_by(name, lambda: stack.enter_context(value))
    return value


def _file(name: str, stack: ExitStack) -> BaseStore:
    with needing("sqlite", "A file of preferences"):
        from langgraph.store.sqlite import SqliteStore
    if name.startswith(":"):
        raise ConfigurationError(
            f"Preferences must be kept in a file, but {name!r} is SQLite's name for what is "
            "forgotten when the command ends: choose a file by --store."
        )
    path = Path(name)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)  # before SQLite makes it for everybody to read
        store = stack.enter_context(SqliteStore.from_conn_string(str(path)))
        _make_tables(store)
        store.conn.execute("PRAGMA journal_mode = WAL")  # so that who reads locks nobody out
    except (OSError, sqlite3.Error) as error:
        raise PreferenceStoreError(
            f"Preferences must be kept in a file that SQLite can open and write, but {path} can't "
            f"be: {error}. Choose another by --store."
        ) from error
    return store


def _make_tables(store: SqliteStore) -> None:
    """Make a file's tables, or find them made.

    Whoever makes them at the same time has done what fails here, so that less is left to do.
    """
    for _ in range(SETUP_TRIES):
        try:
            store.setup()
            return
        except sqlite3.Error as error:
            collided = isinstance(error, sqlite3.IntegrityError) or "duplicate column" in str(error)
            if not collided:
                raise
            time.sleep(SETUP_PAUSE)
    store.setup()


def _database(url: str, stack: ExitStack) -> BaseStore:
    with needing("postgres", "A database of preferences"):
        import psycopg
        from langgraph.store.postgres import PostgresStore
    try:
        with psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_SECONDS) as first:
            # After the first, as a pool would go on trying. With one a connection that broke is
            # replaced, and calls don't wait for one another.
            pool: Any = {"min_size": 1, "max_size": CONNECTIONS}
            store = stack.enter_context(PostgresStore.from_conn_string(url, pool_config=pool))
            _set_up_alone(store, first)
    except psycopg.Error as error:
        raise PreferenceStoreError(
            "Preferences must be kept in a database that can be reached and written, but that of "
            f"--store can't be ({type(error).__name__}): check the URL, and whether it runs."
        ) from None
    return store


def _set_up_alone(store: PostgresStore, connection: psycopg.Connection[Any]) -> None:
    """Make a database's tables, or find them made, while nobody else does.

    Two at once fail, or leave an index that is never used. Who has waited for long goes ahead all
    the same: the lock may have been left behind, as by a pool of connections in between.
    """
    end = time.monotonic() + CONNECT_SECONDS
    while not _asked(connection, "SELECT pg_try_advisory_lock(%s)") and time.monotonic() < end:
        # Waiting in the statement would be waited for by whoever makes an index.
        time.sleep(SETUP_PAUSE)
    try:
        store.setup()
    finally:
        _asked(connection, "SELECT pg_advisory_unlock(%s)")


def _asked(connection: psycopg.Connection[Any], about_lock: str) -> bool:
    return connection.execute(about_lock, [SETUP_LOCK]).fetchone() == (True,)


def shown(preference: StoredPreference) -> Text:
    """A stored preference as a line, with what else is known of it."""
    word = "over since" if preference.is_over(datetime.now(UTC)) else "until"
    details = [
        f"strength {preference.strength}" if preference.strength is not None else "",
        f"weight {preference.weight:g}" if preference.weight != 1.0 else "",
        f"when: {', '.join(preference.when)}" if preference.when else "",
        f"{word} {preference.expires_at:%Y-%m-%d %H:%M %Z}" if preference.expires_at else "",
    ]
    known = "; ".join(detail for detail in details if detail)
    return Text.assemble(preference.text, (f"  ({known})" if known else "", "dim"))
