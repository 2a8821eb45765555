"""A vLLM server's address, and the errors that come from there as ours.

Knows HTTP. Doesn't know requests or models.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from langchain_amulet.errors import (
    AmuletError,
    ConfigurationError,
    ContextLengthError,
    ModelNotFoundError,
    QueueFullError,
    RequestError,
    ServerError,
)
from langchain_amulet.validation.wording import message_of, quoted

CONNECT = 10.0
"""Seconds to wait for a connection. How long an answer takes is for the call's timeout."""

REFUSED = 400
UNAUTHORISED = frozenset({401, 403})
BUSY = frozenset({429, 503})


@dataclass(frozen=True)
class Address:
    """Where a server is.

    Attributes:
        base_url: Its API, such as "http://localhost:8000/v1"; "/v1" is added where there is no
            path.
        api_key: What it wants to be shown; None for nothing.

    Raises:
        ConfigurationError: It isn't an address of HTTP.
    """

    base_url: str
    api_key: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is no address."""
        try:
            parts = urlsplit(self.base_url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            is_address = False
        if not is_address:
            raise ConfigurationError(
                f"base_url must be a server's address, not {quoted(self.base_url)}: give one such "
                "as 'http://localhost:8000/v1'."
            )
        path = parts.path.rstrip("/") or "/v1"
        object.__setattr__(self, "base_url", f"{parts.scheme}://{parts.netloc}{path}")

    @property
    def headers(self) -> dict[str, str]:
        """What every request has."""
        return {} if self.api_key is None else {"Authorization": f"Bearer {self.api_key}"}

    def of(self, path: str) -> str:
        """The address of one of its functions."""
        return f"{self.base_url}/{path}"


def timeouts() -> httpx.Timeout:
    """Patience for a connection and for nothing else: a request may wait for its turn."""
    return httpx.Timeout(None, connect=CONNECT)


def unreachable(address: Address, error: httpx.HTTPError) -> ServerError:
    """What to raise where there was no answer, or half of one."""
    return ServerError(
        f"The server at {address.base_url} must answer, but there was {type(error).__name__}: "
        f"{message_of(error)}. Start it by langchain-amulet-vllm, or mend base_url."
    )


def refusal(address: Address, status: int, said: str) -> AmuletError:
    """What to raise for an answer that is an error.

    Args:
        address: Whose.
        status: Its HTTP status.
        said: What the server says of it.
    """
    where = f"The server at {address.base_url} answered with status {status}: {said[:600]}"
    if status == REFUSED:
        is_long = "context length" in said or "max_model_len" in said or "maximum model" in said
        return (ContextLengthError if is_long else RequestError)(where)
    if status in UNAUTHORISED:
        return ConfigurationError(f"{where} Give api_key, or another one.")
    if status == 404:
        return ModelNotFoundError(f"{where} Name a model that it serves, or mend base_url.")
    if status in BUSY:
        return QueueFullError(f"{where} Try again later.")
    return ServerError(f"{where} Its log says more.")
