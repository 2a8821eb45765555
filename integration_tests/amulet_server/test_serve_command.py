"""`langchain-amulet serve` as a process of its own: it starts, drains and stops."""

import json
import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
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
    served = next(line for line in process.stderr if line.startswith("Serving "))
    url = served.partition(" at ")[2].partition("/v1 ")[0]
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
                model="pocket@creative", messages=CONVERSATION, stream=True
            )
            chunks = iter(stream)
            next(chunks)
            process.send_signal(signal.SIGTERM)
            last = [chunk.choices[0].finish_reason for chunk in chunks][-1]
        assert last == "stop"
        assert process.wait(SECONDS) in (0, -signal.SIGTERM)


def stop_once_answering(process: subprocess.Popen[str], url: str) -> None:
    """Tell a server to stop once it decodes several answers: as it is loaded it decodes one."""
    active = re.compile(r"^amulet_engine_active_requests [2-9]", re.MULTILINE)
    end = time.monotonic() + SECONDS
    while not active.search(httpx.get(f"{url}/metrics", timeout=60).text):
        assert time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)


@pytest.mark.parametrize("stream", [True, False])
def test_answers_that_take_longer_than_draining_may_end_with_an_error_that_says_so(
    tiny: str, stream: bool
) -> None:
    body = {"model": "tiny", "messages": CONVERSATION, "stream": stream, "max_tokens": 900, "n": 8}
    options = ("--model", tiny, "--port", "0")
    environment = {
        "LANGCHAIN_AMULET_SERVE_DRAIN_SECONDS": "0",
        "LANGCHAIN_AMULET_SERVE_NAME": "tiny",
    }
    with command(*options, **environment) as process:
        url, lines = ready(process)
        if not stream:  # nothing is heard of it before it ends
            waiting = (process, url)
            threading.Thread(target=stop_once_answering, args=waiting, daemon=True).start()
        with httpx.stream("POST", f"{url}/v1/chat/completions", json=body, timeout=60) as answer:
            come = answer.iter_lines()
            if stream:
                assert next(come)
                process.send_signal(signal.SIGTERM)
            *_, last = [line for line in come if line]
        error = json.loads(last.removeprefix("data: "))["error"]
        assert (error["type"], error["code"]) == ("server_error", "server_stopped")
        assert answer.status_code == (200 if stream else 503)
        assert process.wait(SECONDS) in (0, -signal.SIGTERM)
        assert not any("Traceback" in line for line in lines)


def test_an_address_that_is_taken_is_said_in_a_line_and_nothing_is_said_to_be_served() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = CliRunner().invoke(app, ["serve", "--port", port])
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert f"127.0.0.1:{port} can't be had" in line


def test_misspelled_variables_are_said_once_each_as_the_server_starts() -> None:
    environment = {"LANGCHAIN_AMULET_SERVE_PROT": "secret-1", "LANGCHAIN_AMULET_DEVCE": "secret-2"}
    missing = ("--port", "0", "--model", "no/such/folder")
    with command(*missing, HF_HUB_OFFLINE="1", **environment) as process:
        _, written = process.communicate(timeout=SECONDS)
    lines = [line for line in written.splitlines() if "in the environment" in line]
    events = [json.loads(line)["event"] for line in lines]
    assert len(events) == len(environment)
    for name, near in (("SERVE_PROT", "SERVE_PORT"), ("DEVCE", "DEVICE")):
        told = f"AMULET_{name} in the environment sets nothing"
        assert any(told in event and f"AMULET_{near}?" in event for event in events)
    assert "secret" not in written


def test_a_model_that_there_isn_t_ends_the_server() -> None:
    with command("--port", "0", "--model", "no/such/folder", HF_HUB_OFFLINE="1") as process:
        _, written = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "no/such/folder" in written.splitlines()[-1]
    assert "Traceback" not in written
    assert "Serving" not in written


def test_a_model_that_is_misspelled_is_told_before_anything_is_said_to_be_served(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    done = CliRunner().invoke(app, ["serve", "--port", "0", "--model", "pokcet"])
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert "'pokcet'" in line and "pocket" in line.replace("pokcet", "")


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
    root = logging.getLogger()
    before = [*root.handlers], root.level, warnings.showwarning
    done = CliRunner().invoke(app, ["serve", "--port", "0", *options])
    assert done.exit_code == 1
    (line,) = done.stderr.splitlines()
    assert told in line
    # Whoever runs it in a program of their own logs as before.
    assert ([*root.handlers], root.level, warnings.showwarning) == before
