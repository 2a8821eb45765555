"""Real vLLM servers on the bundled model, and programs where vLLM is installed."""

import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from langchain_amulet.engine import LoadOptions
from langchain_amulet.engine.loading.hub import POCKET_FOLDER
from langchain_amulet.engine.remote import RemoteEngine, load_vllm

VENV = Path(os.environ.get("VLLM_VENV", Path(__file__).parents[1] / "build/vllm"))
"""Where vLLM and langchain-amulet-vllm are installed."""

PATIENCE = 2.0
"""Seconds that the servers wait for a group's other prompts."""

STARTED = 600.0
"""Seconds in which a server must answer, on a busy machine."""


@contextmanager
def vllm_server(folder: Path, *options: str) -> Iterator[str]:
    """A server's base URL; it runs within the block."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    program = [
        VENV / "bin/langchain-amulet-vllm", POCKET_FOLDER, "--host", "127.0.0.1", "--port",
        str(port), "--served-model-name", "pocket", "--dtype", "float32", "--enforce-eager",
        "--max-model-len", "1024", "--additional-config", f'{{"amulet_patience": {PATIENCE}}}',
        *options,
    ]  # fmt: skip
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1"}
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    log = folder / f"server-{port}.log"
    with log.open("w") as written:
        process = subprocess.Popen(
            program, env=inherited | settings, stdout=written, stderr=written, cwd=folder
        )
        try:
            url = f"http://127.0.0.1:{port}/v1"
            _wait_for(url, process, log)
            yield url
        finally:
            process.terminate()
            process.wait(timeout=60)


def _wait_for(url: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    begun = time.monotonic()
    while time.monotonic() - begun < STARTED and process.poll() is None:
        try:
            if httpx.get(f"{url}/models").is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    pytest.fail(f"The server didn't start:\n{log.read_text()[-4000:]}")


class Servers:
    """One server at a time, as two cores are enough for one; the last one is kept."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._stack, self._held = folder, ExitStack(), ("", [""])

    def url(self, options: list[str]) -> str:
        if self._held[1] != options:
            self._stack.close()
            self._held = self._stack.enter_context(vllm_server(self._folder, *options)), options
        return self._held[0]

    def close(self) -> None:
        self._stack.close()


def remote_engine(url: str) -> RemoteEngine:
    return RemoteEngine(load_vllm(str(POCKET_FOLDER), LoadOptions(backend="vllm", base_url=url)))


def run_in_venv(code: str) -> "subprocess.CompletedProcess[str]":
    """Run a program where vLLM is."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [VENV / "bin/python", "-c", code],
        env=inherited,
        cwd=VENV,  # else what is imported would be what lies here
        capture_output=True,
        text=True,
        timeout=300,
    )
