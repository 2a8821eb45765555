"""HTTP as uvicorn speaks it, with a bound on what stands before a body, and refusals to be read.

Knows uvicorn's protocol. Doesn't know what an error looks like, nor applications.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_BYTES = 64 * 2**10
"""How long a request's head may be: its address and its headers. It lies in memory as a whole."""

INVALID, TOO_LONG = 400, 431
"""The statuses of answers to what is no HTTP, and to a head that is too long."""


def bounded_http(refusals: Mapping[int, str]) -> type[asyncio.Protocol]:
    """What uvicorn takes for its ``http``.

    Args:
        refusals: Bodies, of JSON, of the answers to what can't be read, by their statuses.
    """
    return cast(type[asyncio.Protocol], partial(BoundedHttp, refusals))


class BoundedHttp(HttpToolsProtocol):
    """A connection, which is closed where it says no HTTP or a head that is too long.

    Args:
        refusals: See `bounded_http`.
        **given: What uvicorn gives.
    """

    def __init__(self, refusals: Mapping[int, str], **given: Any) -> None:
        """Nothing has come yet."""
        super().__init__(**given)
        self._refusals = refusals
        self._is_head, self._head = True, 0
        self._is_all_head = True

    def data_received(self, data: bytes) -> None:
        """Read on. What shares a piece with another request, or with a body, isn't counted."""
        self._is_all_head = self._is_head
        super().data_received(data)
        self._head += len(data) if self._is_all_head else 0
        if self._head > HEAD_BYTES and not self.transport.is_closing():
            self._refuse(TOO_LONG)

    def on_headers_complete(self) -> None:
        """Pass the request on."""
        self._is_head = self._is_all_head = False
        self._head = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Look for the next one."""
        self._is_head = True
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(INVALID)

    def _refuse(self, status: int) -> None:
        body = self._refusals[status].encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/json"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        lines = [b"%b: %b\r\n" % header for header in headers]
        self.transport.write(b"".join([STATUS_LINE[status], *lines, b"\r\n", body]))
        self.transport.close()
