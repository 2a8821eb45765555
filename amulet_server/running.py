"""A server as a process: settings in, requests answered until it is told to stop.

Knows uvicorn and the terminal. Doesn't know what is answered.
"""

from __future__ import annotations

import uvicorn
from rich.console import Console
from rich.text import Text

from amulet_server.app import create_app
from amulet_server.config import ServerSettings
from amulet_server.service import opened
from amulet_server.transport.logs import log_as_json
from langchain_amulet.cli.models import quiet_loading


def run(settings: ServerSettings) -> None:
    """Serve until told to stop: by SIGTERM, after which answers under way may end, or by Ctrl+C.

    Raises:
        ConfigurationError: A setting can't work, or the model can't be loaded.
        PreferenceStoreError: The store can't be opened.
    """
    quiet_loading()
    with opened(settings) as service:
        log_as_json(settings.log_level)
        server = uvicorn.Server(
            uvicorn.Config(
                create_app(service),
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,  # it would log queries; there is a line for each request anyway
                proxy_headers=False,  # who connects is who is trusted, or isn't
                server_header=False,
                timeout_graceful_shutdown=settings.drain_seconds,
            )
        )
        service.readiness.on_failure = lambda: setattr(server, "should_exit", True)
        _announce(settings)
        server.run()
        if service.readiness.failure is not None:
            raise service.readiness.failure


def _announce(settings: ServerSettings) -> None:
    who = "anybody who can reach it" if settings.lets_anybody_in else "callers with a key or header"
    kept = "kept" if settings.store is not None else "not kept, as there is no --store"
    url = f"http://{settings.host}:{settings.port}"
    lines = [f"Serving {settings.model_name} at {url}/v1 to {who}; preferences are {kept}."]
    if settings.playground:
        lines.append(f"The playground is at {url}/")
    Console(stderr=True).print(Text("\n".join(lines)), soft_wrap=True)
