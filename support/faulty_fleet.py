"""The gateway of examples/ray_serve.py before a replica that fails as a call's path says.

A program for the environment where Ray is.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from ray import serve
from ray.serve.context import _get_serve_request_context

from amulet_server import read_settings
from examples.ray_serve import Gateway

EVENTS = [(b"content-type", b"text/event-stream")]


class FaultyReplica:
    """Answers as `ModelReplica` does, without a model."""

    def __init__(self) -> None:
        self._begun = self._left = 0

    async def answer(self, scope: dict[str, Any], body: bytes) -> AsyncIterator[Any]:
        """Do what the path says."""
        headers = EVENTS if scope["path"].startswith("/stream") else []
        match scope["path"]:
            case "/raise":
                raise ValueError(body.decode())
            case "/die":
                os._exit(1)
            case "/wait":
                await self._given_up()
            case "/session":
                headers = [(b"x-session", _get_serve_request_context().session_id.encode())]
            case "/headers":
                headers = [(b"x-odd", body), (b"x-two", b"1"), (b"x-two", b"2")]
        yield {"type": "http.response.start", "status": 200, "headers": headers}
        count = self._begun if scope["path"] == "/begun" else self._left
        yield f"data: {count}\n\n".encode()
        match scope["path"]:
            case "/stream/raise":
                raise ValueError(body.decode())
            case "/stream/die":
                await asyncio.sleep(3.0)  # by when what it said was sent
                os._exit(1)
            case "/stream/wait":
                await self._given_up()

    async def _given_up(self) -> None:
        """Wait for ever, and count who begins and who doesn't wait."""
        self._begun += 1
        try:
            await asyncio.Event().wait()
        finally:
            self._left += 1


def main(config: str) -> None:
    """Run it until interrupted."""
    settings = read_settings(Path(config.removeprefix("config=")))
    serve.start(http_options={"host": settings.host, "port": settings.port})
    replicas = serve.deployment(FaultyReplica).bind()
    gateway = serve.deployment(Gateway).options(max_ongoing_requests=100)
    serve.run(gateway.bind(replicas, settings, b"secret"), blocking=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
