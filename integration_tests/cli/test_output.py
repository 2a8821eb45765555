"""What becomes of a command that can't write, or of a chat that nobody can type into."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-c", "from langchain_amulet.cli import app; app()"]
FULL = Path("/dev/full")

where_disks_can_be_full = pytest.mark.skipif(not FULL.exists(), reason="no device is always full")


def run(*arguments: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, whose streams are real."""
    given = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.run([*COMMAND, *arguments], **{**given, **streams}, text=True, timeout=240)


@contextmanager
def closed_pipe() -> Iterator[int]:
    """The end of a pipe that is written to, whose reader has left."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.fixture(scope="module")
def commands(tiny: str, tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    store = str(tmp_path_factory.mktemp("store") / "preferences.db")
    assert run("preferences", "set", "--user", "ada", "Be kind.", "--store", store).returncode == 0
    return [
        ["--version"],
        ["preferences", "--help"],
        ["preferences", "list", "--store", store],
        ["compare", "Why?", "-p", "Be kind.", "--model", tiny, "--max-tokens", "2"],
    ]


@where_disks_can_be_full
def test_a_full_disk_is_one_line_and_a_failure(commands: list[list[str]]) -> None:
    for command in commands:
        with FULL.open("w") as full:
            done = run(*command, stdout=full)
        assert done.returncode == 1
        assert done.stderr.count("\n") == 1
        assert "can't be written: No space left" in done.stderr


@where_disks_can_be_full
def test_where_even_that_line_cannot_be_written_there_is_the_failure_alone() -> None:
    with FULL.open("w") as full:
        assert run("--version", stdout=full, stderr=full).returncode == 1
        assert run("compare", "Why?", "-p", " ", stderr=full).returncode == 1


def test_who_stops_reading_hears_of_no_error(commands: list[list[str]]) -> None:
    for command in commands:
        with closed_pipe() as pipe:
            done = run(*command, stdout=pipe)
        assert (done.returncode, done.stderr) == (1, "")


def test_a_chat_without_anything_to_read_from_ends(tiny: str) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" "$@" <&-', *COMMAND, "chat", "--model", tiny],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert (done.returncode, done.stderr) == (0, "")
