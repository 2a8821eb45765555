"""Real vLLM servers on the bundled model, in the environment that ``make test-vllm`` makes."""

from collections.abc import Iterator

import pytest

from langchain_amulet.engine import Engine, LoadOptions
from langchain_amulet.engine.backends import load_huggingface
from langchain_amulet.engine.loading.hub import POCKET_FOLDER
from langchain_amulet.engine.remote import RemoteEngine
from support.vllm_servers import VENV, Servers, remote_engine


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    if not (VENV / "bin/langchain-amulet-vllm").exists():
        pytest.fail(f"These tests need vLLM in {VENV}: run them by make test-vllm.")
    made = Servers()
    yield made
    made.close()


@pytest.fixture
def url(servers: Servers) -> str:
    """A server as it is started by default."""
    return servers.url([])


@pytest.fixture(scope="session")
def local() -> Iterator[Engine]:
    """Our own engine, on the same weights."""
    loaded = load_huggingface(str(POCKET_FOLDER), LoadOptions(dtype="float32"))
    with Engine(loaded, max_rows=96) as engine:
        yield engine


@pytest.fixture
def remote(url: str) -> Iterator[RemoteEngine]:
    engine = remote_engine(url)
    yield engine
    engine.close()
