"""Servers as processes of their own: started, waited for, and ended with all that they started."""

import os
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

STARTED = 600.0
"""Seconds in which a server must answer, on a busy machine."""

ENDED = 60.0
"""Seconds in which it must end once it is told to."""


def free_port() -> int:
    """A port of this machine at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**settings: str) -> Mapping[str, str]:
    """This process's with these settings, in which other packages lie than this checkout's."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return inherited | settings


@contextmanager
def short_folder(prefix: str) -> Iterator[Path]:
    """A temporary folder of a server's own.

    Not a test's: the paths of Unix sockets in those would be longer than they may be.
    """
    with tempfile.TemporaryDirectory(prefix=f"{prefix}-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def server_process(
    program: Sequence[str | Path], ready: str, folder: Path, **settings: str
) -> Iterator[psutil.Process]:
    """A server that answers; it and its children end with the block.

    Args:
        program: What to run, with its arguments.
        ready: The address that answers once the server does.
        folder: Where it runs, and its output is written.
        **settings: What is set in its environment.
    """
    log = folder / "output.log"
    with log.open("w") as written:
        process = subprocess.Popen(
            program, env=environment(**settings), stdout=written, stderr=written, cwd=folder
        )
        started = psutil.Process(process.pid)
        try:
            _wait_for(ready, process, log)
            yield started
        finally:
            _end(process, started)


def run_code(venv: Path, code: str, **settings: str) -> "subprocess.CompletedProcess[str]":
    """Run a program in a virtual environment until it ends."""
    return subprocess.run(
        [venv / "bin/python", "-c", code],
        env=environment(**settings),
        cwd=venv,  # else what is imported would be what lies here
        capture_output=True,
        text=True,
        timeout=300,
    )


def _wait_for(ready: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < STARTED and process.poll() is None:
        try:
            if httpx.get(ready, timeout=10).is_success:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.5)
    pytest.fail(f"The server didn't start:\n{log.read_text()[-4000:]}")


def _end(process: "subprocess.Popen[bytes]", started: psutil.Process) -> None:
    """End a server and all that it started, which ends with it, if it isn't broken."""
    family = started.children(recursive=True) if started.is_running() else []
    process.terminate()
    try:
        process.wait(timeout=ENDED)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    _, alive = psutil.wait_procs(family, timeout=10)
    for each in alive:
        each.kill()
