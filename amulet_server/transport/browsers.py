"""What browsers may call: by which names of the server, and from pages of which origins.

Starlette decides both; it refuses in plain text, in place of which callers are told what they can
read: an error of the API.

Knows Starlette's middleware. Doesn't know what an error looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

KNOWN = "known_host"
"""What is put into the scope of a call that Starlette would pass on."""


class KnownHosts:
    """Middleware that passes on calls by some names alone.

    A web page that anybody's browser shows may call what listens on their machine, by a name that
    it has point there. Such a name is none of these.

    Args:
        app: What answers.
        names: The names, as `TrustedHostMiddleware` takes them.
        refuse: Answers calls by other names.
    """

    def __init__(
        self, app: ASGIApp, names: Sequence[str], refuse: Callable[[Request], Response]
    ) -> None:
        """Nothing is refused yet."""
        self._app, self._refuse = app, refuse
        self._asked = TrustedHostMiddleware(_know, names, www_redirect=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, or refuse it."""
        tried = {**scope}
        await self._asked(tried, receive, _unsent)
        app = self._app if KNOWN in tried else self._refuse(Request(scope))
        await app(scope, receive, send)


async def _know(scope: Scope, receive: Receive, send: Send) -> None:
    scope[KNOWN] = True


async def _unsent(message: Message) -> None:
    pass


class OpenOrigins(CORSMiddleware):
    """Middleware by which pages of some origins may call.

    Args:
        app: What answers.
        origins: The origins.
        refusal: The body of the answer to pages of others who ask whether they may.
    """

    def __init__(self, app: ASGIApp, origins: Sequence[str], refusal: Mapping[str, Any]) -> None:
        """Let them call in any way."""
        super().__init__(app, origins, allow_methods=["*"], allow_headers=["*"])
        self._refusal = refusal

    def preflight_response(self, request_headers: Headers) -> Response:
        """Whether a page may call."""
        response = super().preflight_response(request_headers)
        if response.status_code < 400:
            return response
        own = ("content-length", "content-type")
        kept = {name: value for name, value in response.headers.items() if name not in own}
        return JSONResponse(self._refusal, response.status_code, kept)
