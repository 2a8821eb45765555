"""`langchain-amulet serve` as a process of its own: it starts, drains and stops."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from openai import OpenAI
from typer.testing import CliRunner

from langchain_amulet.cli import app
from support.servers import CONVERSATION

COMMAND = "from langchain_amulet.cli import app; app()"
SECONDS = 90


@contextmanager
def command(*options: str, **environment: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "serve", *options],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "LANGCHAIN_AMULET_DTYPE": "float32", **environment},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ready(process: subprocess.Popen[str]) -> tuple[str, list[str]]:
    """Where it listens, once the model is loaded, and the lines that it writes from then on."""
    assert process.stderr is not None
    url = next(
        json.loads(line)["event"].split(" on ")[1].split()[0]
        for line in process.stderr
        if "running on http" in line
    )
    lines: list[str] = []
    threading.Thread(target=lines.extend, args=(process.stderr,), daemon=True).start()
    end = time.monotonic() + SECONDS
    while httpx.get(f"{url}/ready").status_code != 200:
        assert time.monotonic() < end
        time.sleep(0.1)
    return url, lines


def test_a_server_that_is_told_to_stop_ends_its_answers_first(tmp_path: Path) -> None:
    config = tmp_path / "serve.toml"
    config.write_text("answers.temperature = 0.0\nstyles.brief.preference = 'Keep it short.'\n")
    options = ("--config", str(config), "--store", str(tmp_path / "p.db"), "--port", "0")
    with command(*options) as process:
        url, _ = ready(process)
        with OpenAI(base_url=f"{url}/v1", api_key="none", timeout=60) as client:
            assert "pocket@brief" in [model.id for model in client.models.list()]
            stream = client.chat.completions.create(
                model="pocket@detailed", messages=CONVERSATION, stream=True
            )
            chunks = iter(stream)
            next(chunks)
            process.send_signal(signal.SIGTERM)
            last = [chunk.choices[0].finish_reason for chunk in chunks][-1]
        assert last == "stop"
        assert process.wait(SECONDS) in (0, -signal.SIGTERM)


def test_answers_that_take_longer_than_draining_may_are_cut_off(tiny: str) -> None:
    body = {"model": "tiny", "messages": CONVERSATION, "stream": True, "max_tokens": 900}
    options = ("--model", tiny, "--port", "0")
    environment = {
        "LANGCHAIN_AMULET_SERVE_DRAIN_SECONDS": "1",
        "LANGCHAIN_AMULET_SERVE_NAME": "tiny",
    }
    with command(*options, **environment) as process:
        url, lines = ready(process)
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60) as answer:
            events = answer.iter_lines()
            next(events)
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(httpx.RemoteProtocolError):
                assert "[DONE]" not in list(events)[-2:]
        assert process.wait(SECONDS) in (0, -signal.SIGTERM)
        assert not any("Traceback" in line for line in lines)


def test_a_model_that_there_isn_t_ends_the_server() -> None:
    with command("--port", "0", "--model", "no/such/folder", HF_HUB_OFFLINE="1") as process:
        _, written = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "no/such/folder" in written.splitlines()[-1]
    assert "Traceback" not in written


@pytest.mark.parametrize(
    "options, told",
    [
        (("--host", "0.0.0.0"), "must know who calls"),
        (("--config", "nowhere.toml"), "can't be read"),
        (("--store", ":memory:"), "must be kept in a file"),
        (("--store", "postgresql://nobody@localhost:1/none"), "database that can be reached"),
        (("--dtype", "float3"), "float3"),
    ],
    ids=["address", "config", "store", "database", "dtype"],
)
def test_what_can_t_be_served_is_said_in_a_line(options: tuple[str, ...], told: str) -> None:
    done = CliRunner().invoke(app, ["serve", "--port", "0", *options])
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert told in line
