"""OpenAI's own client for Node against a running server: its tests are `node/openai.test.mjs`.

Skipped where there is no Node, or where npm can't fetch the client.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from filelock import FileLock

from support.servers import RunningServer

HERE = Path(__file__).parent / "node"
BUILD = Path(__file__).parents[2] / "build" / "openai-node"


@pytest.fixture(scope="module")
def installed() -> Path:
    """The folder of the tests, with the client beside them."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("needs node and npm")
    BUILD.mkdir(parents=True, exist_ok=True)
    with FileLock(BUILD / "lock"):
        wanted = (HERE / "package.json").read_text()
        kept = BUILD / "package.json"
        if not (BUILD / "node_modules").is_dir() or kept.read_text() != wanted:
            kept.write_text(wanted)
            command = ["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"]
            done = subprocess.run(command, cwd=BUILD, capture_output=True, text=True, timeout=300)
            if done.returncode:
                shutil.rmtree(BUILD / "node_modules", ignore_errors=True)
                pytest.skip("npm can't fetch the client that package.json names")
        shutil.copy(HERE / "openai.test.mjs", BUILD)
    return BUILD


def test_openai_s_client_for_node_finds_what_it_expects(
    server: RunningServer, installed: Path
) -> None:
    done = subprocess.run(
        ["node", "--test", "openai.test.mjs"],
        cwd=installed,
        env={**os.environ, "AMULET_URL": server.url},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    assert "# skipped 0" in done.stdout
