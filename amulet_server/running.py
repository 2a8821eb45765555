"""A server as a process: settings in, requests answered until it is told to stop.

Knows uvicorn and the terminal. Doesn't know what is answered.
"""

from __future__ import annotations

import asyncio
import errno
import gc
import socket

import uvicorn
from rich.console import Console
from rich.text import Text

from amulet_server.app import create_app
from amulet_server.config import ServerSettings
from amulet_server.protocol.errors import ApiError
from amulet_server.service import Service, opened
from amulet_server.transport.http import HEAD_BYTES, INVALID, TOO_LONG, bounded_http
from amulet_server.transport.logs import logged_as_json
from langchain_amulet.cli.models import quiet_loading
from langchain_amulet.errors import ConfigurationError

FAREWELL = 5
"""Seconds in which callers whose answers are cut may read so, before they are hung up on."""


LACKING = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
"""What a machine without IPv6 says of an address of it, which a name such as localhost has, too."""


def run(settings: ServerSettings) -> None:
    """Serve until told to stop: by SIGTERM, after which answers under way may end, or by Ctrl+C.

    Raises:
        ConfigurationError: A setting can't work, such as an address that is taken, or there is no
            such model, or it can't be loaded.
        PreferenceStoreError: The store can't be opened.
    """
    quiet_loading()
    with logged_as_json(settings.log_level), opened(settings) as service:
        server = DrainingServer(service)
        service.readiness.on_failure = lambda: setattr(server, "should_exit", True)
        service.readiness.on_ready = keep
        service.check_model()
        listening = listen(settings.host, settings.port)
        _announce(settings, listening[0].getsockname()[1])
        server.run(listening)
        if service.readiness.failure is not None:
            raise service.readiness.failure


def keep() -> None:
    """Have what is there by now no longer looked through for garbage.

    Weights and libraries stay until the process ends. To go through all that they consist of takes
    a fifth of a second, in which nobody is answered.
    """
    gc.collect()
    gc.freeze()


class DrainingServer(uvicorn.Server):
    """Uvicorn, which ends answers that take longer than its drain by telling their callers.

    Uvicorn by itself cancels them, and a caller can't tell that from a broken connection.
    """

    def __init__(self, service: Service) -> None:
        """Serve a service by its settings."""
        self._service, self._drain = service, service.settings.drain_seconds
        super().__init__(
            uvicorn.Config(
                create_app(service),
                http=bounded_http(_refusals()),
                ws="none",  # who asks for one is told that there is no such route
                log_config=None,
                access_log=False,  # it would log queries; there is a line for each request anyway
                proxy_headers=False,  # who connects is who is trusted, or isn't
                server_header=False,
                timeout_graceful_shutdown=self._drain + FAREWELL,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Wait for answers under way, cut those that take too long, and close connections."""
        cutting = asyncio.get_running_loop().call_later(self._drain, self._service.cut.set)
        await super().shutdown(sockets)
        cutting.cancel()


def _refusals() -> dict[int, str]:
    """What callers are told before there is a request, by status."""
    errors = (
        ApiError(
            INVALID,
            "A request must be HTTP, but this one can't be read: call by http://, and not by "
            "https://, which is for a proxy in front.",
            code="invalid_http",
        ),
        ApiError(
            TOO_LONG,
            f"A request's address and headers may have at most {HEAD_BYTES} bytes together, but "
            "these have more: send what is long in the body.",
            code="head_too_long",
        ),
    )
    return {error.status: error.json for error in errors}


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen at all addresses of a host, so that who is told of them may call.

    Args:
        host: An address, or a name of this machine; empty for all of its addresses.
        port: The port; 0 for any that is free.

    Raises:
        ConfigurationError: An address is taken, or isn't this machine's.
    """
    found = list[socket.socket]()
    try:
        _bind(host, port, found)
    except (OSError, UnicodeError) as error:  # the latter of names that can't be one's
        for each in found:
            each.close()
        reason = getattr(error, "strerror", None) or "there is no such name"
        raise ConfigurationError(
            f"A server must be able to listen at its address, but {host}:{port} can't be had: "
            f"{reason}. Choose another host or port, or stop what listens there."
        ) from None
    return found


def _bind(host: str, port: int, found: list[socket.socket]) -> None:
    """Add a socket for each address of a host; none of IPv6 that this machine lacks beside others.

    Raises:
        OSError: An address can't be had.
    """
    lacking: OSError | None = None
    addresses = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    for family, *_, address in dict.fromkeys(addresses):  # a name may have the same one twice
        port = port or (found[0].getsockname()[1] if found else 0)  # the same for all
        try:
            found.append(socket.create_server((address[0], port, *address[2:]), family=family))
        except OSError as error:
            if family != socket.AF_INET6 or error.errno not in LACKING:
                raise
            lacking = error
    if lacking is not None and not found:
        raise lacking


def _announce(settings: ServerSettings, port: int) -> None:
    who = "anybody who can reach it" if settings.lets_anybody_in else "callers with a key or header"
    kept = "kept" if settings.store is not None else "not kept, as there is no --store"
    host = f"[{settings.host}]" if ":" in settings.host else settings.host or "0.0.0.0"
    url = f"http://{host}:{port}"
    lines = [f"Serving {settings.model_name} at {url}/v1 to {who}; preferences are {kept}."]
    if settings.playground:
        lines.append(f"The playground is at {url}/")
    Console(stderr=True).print(Text("\n".join(lines)), soft_wrap=True)
