"""What browsers may call: by which names of the server, and from pages of which origins.

Starlette decides both; it refuses in plain text, in place of which callers are told what they can
read: an error of the API.

Knows Starlette's middleware. Doesn't know what an error looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
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
    """Middleware by which pages of some origins may call, in any way.

    Args:
        app: What answers.
        origins: The origins.
        refuse: Answers pages of others who ask whether they may call.
    """

    def __init__(
        self, app: ASGIApp, origins: Sequence[str], refuse: Callable[[Request], Response]
    ) -> None:
        """Nothing is refused yet."""
        super().__init__(
            app, origins, allow_methods=["*"], allow_headers=["*"], allow_private_network=True
        )
        self._refuse = refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a call on, or say whether a page may call."""
        app = self._refuse(Request(scope)) if self._is_refused(scope) else super().__call__
        await app(scope, receive, send)

    def _is_refused(self, scope: Scope) -> bool:
        """Whether it is a page of another origin that asks."""
        if scope["type"] != "http" or scope["method"] != "OPTIONS":
            return False
        headers = Headers(scope=scope)
        origin, asks = headers.get("origin"), "access-control-request-method" in headers
        return asks and origin is not None and not self.is_allowed_origin(origin)
