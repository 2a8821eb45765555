"""Real fleets: examples/ray_serve.py as a reader starts it, in the environment where Ray is."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from support.processes import free_port, server_process, short_folder

ROOT = Path(__file__).parents[1]
VENV = Path(os.environ.get("RAY_VENV", ROOT / "build/ray"))
"""Where Ray Serve and this package are installed."""

EXAMPLE = ROOT / "examples/ray_serve.py"


@dataclass(frozen=True)
class RayFleet:
    """A fleet that answers.

    Attributes:
        url: Where.
        folder: All that Ray writes, its logs among it.
        program: The process that started all others.
    """

    url: str
    folder: Path
    program: psutil.Process

    def replicas(self) -> list[psutil.Process]:
        """The processes that hold a model."""
        return [
            process
            for process in self.program.children(recursive=True)
            if "ServeReplica:default:ModelReplica" in " ".join(_words(process))
        ]


@contextmanager
def ray_fleet(
    config: str, *options: str, program: Sequence[str | Path] = (EXAMPLE,)
) -> Iterator[RayFleet]:
    """A fleet of this config, on a Ray of its own that ends with the block.

    Args:
        config: The server's settings as TOML, but for the port.
        *options: What a fleet is made of, such as ``replicas=2``.
        program: What Python is given to start it.
    """
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with short_folder("ray") as folder:
        (folder / "serve.toml").write_text(f"port = {port}\n{config}", encoding="utf-8")
        command = [VENV / "bin/python", *program, "config=serve.toml", *options]
        settings = {"RAY_ADDRESS": "local", "RAY_TMPDIR": str(folder)}
        settings |= {"RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
        with server_process(command, f"{url}/ready", folder, **settings) as started:
            yield RayFleet(url, folder, started)


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it has just ended
        return []
