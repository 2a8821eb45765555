"""Where the command line keeps users' preferences: one file of SQLite's, readable by its owner.

This module knows the file, and how a user's preferences are shown; nothing of models.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from langchain_amulet.errors import ConfigurationError, PreferenceStoreError

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore

    from langchain_amulet import PreferenceMemory
    from langchain_amulet.memory import StoredPreference

DEFAULT_STORE = Path(typer.get_app_dir("langchain-amulet")) / "preferences.db"

Store = Annotated[
    Path, typer.Option(help="The file of preferences.", envvar="LANGCHAIN_AMULET_STORE")
]


@contextmanager
def opened(path: Path) -> Iterator[PreferenceMemory]:
    """The memory over a file, which is made if it isn't there.

    Raises:
        ConfigurationError: The library that reads it isn't installed.
        PreferenceStoreError: It can't be opened.
    """
    from langchain_amulet import PreferenceMemory

    with ExitStack() as stack:
        yield PreferenceMemory(_open(path, stack))


def _open(path: Path, stack: ExitStack) -> BaseStore:
    try:
        from langgraph.store.sqlite import SqliteStore
    except ImportError as error:
        raise ConfigurationError(
            "Preferences are kept by the library langgraph-checkpoint-sqlite, which isn't "
            "installed: pip install 'langchain-amulet[sqlite]'."
        ) from error
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
    word = "over since" if preference.is_over(datetime.now(timezone.utc)) else "until"
    details = [
        f"strength {preference.strength}" if preference.strength is not None else "",
        f"weight {preference.weight:g}" if preference.weight != 1.0 else "",
        f"when: {', '.join(preference.when)}" if preference.when else "",
        f"{word} {preference.expires_at:%Y-%m-%d %H:%M %Z}" if preference.expires_at else "",
    ]
    known = "; ".join(detail for detail in details if detail)
    return Text.assemble(preference.text, (f"  ({known})" if known else "", "dim"))
