"""A file of lines that only grows: what was written is there, whatever happens next.

This module knows files and JSON: nothing of what the lines say.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from langchain_amulet.errors import ConfigurationError


class Journal:
    """Lines of JSON in a file, each handed to the system whole before the next is begun.

    A process that is killed loses no line that `append` has returned from. What it leaves of a
    line it was writing is dropped when the journal is opened again. Only one process may append
    at a time, which is the caller's business; reading is for anyone, any time.
    """

    def __init__(self, path: Path) -> None:
        """Open the file to append to, and make it if there is none."""
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        _drop_torn_line(self._file)

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a line."""
        rest = line(row)
        while rest:
            rest = rest[os.write(self._file, rest) :]

    def close(self) -> None:
        """Let the file go."""
        os.close(self._file)

    def __enter__(self) -> Journal:
        """Close on leaving the block."""
        return self

    def __exit__(self, *error: object) -> None:
        """Let the file go."""
        self.close()


def line(row: Mapping[str, Any]) -> bytes:
    """One line of JSON, in UTF-8."""
    text = json.dumps(row, ensure_ascii=False, allow_nan=False)
    return text.encode(errors="surrogatepass") + b"\n"


def rows(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a journal, none if there is no file; a last line without its end is no line.

    Raises:
        ConfigurationError: A line isn't JSON, so something else wrote to the file.
    """
    if not path.exists():
        return
    with path.open("rb") as lines:
        for at, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield json.loads(line)
            except ValueError as error:
                raise ConfigurationError(
                    f"Every line of {str(path)!r} must be JSON, but line {at} isn't: {error}. "
                    "Take the line out, or begin in a new folder."
                ) from error


def _drop_torn_line(file: int) -> None:
    """Cut the file after its last line's end."""
    size = end = os.lseek(file, 0, os.SEEK_END)
    while end > 0:
        start = max(0, end - 65536)
        os.lseek(file, start, os.SEEK_SET)
        found = os.read(file, end - start).rfind(b"\n")
        if found >= 0:
            end = start + found + 1
            break
        end = start
    if end < size:
        os.ftruncate(file, end)
