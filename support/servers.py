"""A server as its callers find it: uvicorn in a thread, on a free port of this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from openai import OpenAI

from amulet_server import ServerSettings, Service, create_app, opened

STEADY: dict[str, Any] = {"answers": {"temperature": 0.0}, "load": {"dtype": "float32"}}
"""Settings with which the same request has the same answer, whatever runs beside it."""

QUESTION = "How do I sleep better?"
CONVERSATION: Any = [{"role": "user", "content": QUESTION}]


@dataclass(frozen=True)
class RunningServer:
    """A server that answers.

    Attributes:
        url: Where.
        service: What it answers with.
        clients: Closes the clients that were made.
    """

    url: str
    service: Service
    clients: ExitStack

    def http(self, **headers: str) -> httpx.Client:
        """A plain client that sends these headers, with dashes for underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        client = httpx.Client(base_url=self.url, headers=named, timeout=60)
        return self.clients.enter_context(client)

    def openai(self, key: str = "none", **headers: str) -> OpenAI:
        """OpenAI's client."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        client = OpenAI(
            base_url=f"{self.url}/v1",
            api_key=key,
            default_headers=named,
            max_retries=0,
            timeout=60,
        )
        return self.clients.enter_context(client)

    def ask(self, client: OpenAI, **options: Any) -> str:
        """What is answered to the question that all tests ask."""
        options = {"model": "pocket", "messages": CONVERSATION, **options}
        answer = client.chat.completions.create(**options)
        return answer.choices[0].message.content or ""


@contextmanager
def running(settings: ServerSettings) -> Iterator[RunningServer]:
    """A server with a model that is loaded, until the block ends."""
    with opened(settings) as service:
        config = uvicorn.Config(
            create_app(service),
            port=0,
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            timeout_graceful_shutdown=5,
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            _await(lambda: server.started)
            port = server.servers[0].sockets[0].getsockname()[1]
            _await(lambda: service.readiness.is_ready)
            with ExitStack() as clients:
                yield RunningServer(f"http://127.0.0.1:{port}", service, clients)
        finally:
            server.should_exit = True
            thread.join(30)


def _await(is_so: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > end:
            raise TimeoutError(f"not so within {seconds} seconds")
        time.sleep(0.02)
