"""Where the command line keeps users' preferences: in a file, or in a store of your own.

The file is SQLite's, and readable by its owner alone. This module knows how stores are opened, and
how a user's preferences are shown; nothing of models.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from langchain_amulet.errors import ConfigurationError, PreferenceStoreError
from langchain_amulet.validation import needing

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore

    from langchain_amulet.memory import PreferenceStore, StoredPreference

DEFAULT_STORE = str(Path(typer.get_app_dir("langchain-amulet")) / "preferences.db")

IMPORTABLE = re.compile(r"[^\W\d][\w.]*:[^\W\d][\w.]*")
"""``package.module:name``."""

Store = Annotated[
    str,
    typer.Option(
        help="The file of preferences, or a store of your own, named as module:name.",
        envvar="LANGCHAIN_AMULET_STORE",
    ),
]


@contextmanager
def opened(store: str) -> Iterator[PreferenceStore]:
    """The store that an option names, until the block ends.

    Args:
        store: A file, which is made if it isn't there; or the name, ``package.module:name``, of a
            preference store or a LangGraph store, or of a function or class that gives one when it
            is called without arguments, or a context manager of one.

    Raises:
        ConfigurationError: It names no store, or what fails to give one, or the library that reads
            files isn't installed.
        PreferenceStoreError: It can't be opened.
    """
    from langchain_amulet.memory import as_store

    with ExitStack() as stack:
        is_own = IMPORTABLE.fullmatch(store) and not Path(store).exists()
        yield as_store(_imported(store, stack) if is_own else _file(store, stack))


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
        store.setup()
        store.conn.execute("PRAGMA journal_mode = WAL")  # so that who reads locks nobody out
    except (OSError, sqlite3.Error) as error:
        raise PreferenceStoreError(
            f"Preferences must be kept in a file that SQLite can open and write, but {path} can't "
            f"be: {error}. Choose another by --store."
        ) from error
    return store


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
