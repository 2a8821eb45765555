"""Real vLLM servers on the bundled model, and programs where vLLM is installed."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

import psutil
from transformers import AutoTokenizer

from langchain_amulet.engine import LoadOptions
from langchain_amulet.engine.loading.hub import POCKET_FOLDER
from langchain_amulet.engine.remote import RemoteEngine, load_vllm
from langchain_amulet.engine.remote.request_wire import fingerprint
from support.processes import free_port, run_code, server_process, short_folder

VENV = Path(os.environ.get("VLLM_VENV", Path(__file__).parents[1] / "build/vllm"))
"""Where vLLM and langchain-amulet-vllm are installed."""

TOKENIZER = fingerprint(AutoTokenizer.from_pretrained(POCKET_FOLDER).get_vocab())
"""That of the model that they serve."""

PATIENCE = 2.0
"""Seconds that the servers wait for a group's other prompts."""


@dataclass(frozen=True)
class VllmServer:
    """A server that answers.

    Attributes:
        url: Its API.
        folder: All that it writes.
        program: The process that started all its others.
    """

    url: str
    folder: Path
    program: psutil.Process


@contextmanager
def vllm_server(*options: str) -> Iterator[VllmServer]:
    """A server; it runs within the block."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/v1"
    program = [
        VENV / "bin/langchain-amulet-vllm", POCKET_FOLDER, "--host", "127.0.0.1", "--port",
        str(port), "--served-model-name", "pocket", "--dtype", "float32", "--enforce-eager",
        "--max-model-len", "1024", "--additional-config", f'{{"amulet_patience": {PATIENCE}}}',
        *options,
    ]  # fmt: skip
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1"}
    with short_folder("vllm") as folder:
        # Else what is killed leaves the sockets between its processes in everybody's folder.
        settings["VLLM_RPC_BASE_PATH"] = str(folder)
        with server_process(program, f"{url}/models", folder, **settings) as started:
            yield VllmServer(url, folder, started)


class Servers:
    """One server at a time, as two cores are enough for one; the last one is kept."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._held: tuple[VllmServer, list[str]] | None = None

    def server(self, options: list[str]) -> VllmServer:
        if self._held is None or self._held[1] != options:
            self.close()
            self._held = self._stack.enter_context(vllm_server(*options)), options
        return self._held[0]

    def url(self, options: list[str]) -> str:
        return self.server(options).url

    def close(self) -> None:
        self._held = None
        self._stack.close()


def remote_engine(url: str) -> RemoteEngine:
    return RemoteEngine(load_vllm(str(POCKET_FOLDER), LoadOptions(backend="vllm", base_url=url)))


def run_in_venv(code: str) -> CompletedProcess[str]:
    """Run a program where vLLM is."""
    return run_code(VENV, code)
