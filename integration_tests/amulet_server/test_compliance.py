"""A suite of others for servers of OpenAI's chat completions, against a running server."""

import json
import subprocess
import sys

import pytest

from support.servers import RunningServer

UNREAD = {"chat-image-input"}
"""What a model of texts refuses."""

pytest.importorskip("llm_comply", reason="needs llm-comply")


def test_a_compliance_suite_finds_nothing_but_that_images_aren_t_read(
    server: RunningServer,
) -> None:
    command = [sys.executable, "-m", "llm_comply.cli", "--format", "openai-chat", "--json"]
    command += ["--base-url", f"{server.url}/v1", "--api-key", "none", "--model", "pocket"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    results = json.loads(done.stdout)["results"]
    failed = {result["id"] for result in results if result["status"] == "failed"}
    passed = [result for result in results if result["status"] == "passed"]
    assert failed == UNREAD, done.stdout
    assert len(passed) >= 7
    assert not any(result.get("warnings") for result in passed), done.stdout
