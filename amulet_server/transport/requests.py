"""Requests whose bodies are bounded, and read as JSON that all of the program can carry.

Knows bytes and JSON. Doesn't know what they mean.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Coroutine
from functools import cached_property
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic_core import from_json
from starlette.exceptions import HTTPException

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class BoundedRequest(Request):
    """A request that reads no more than it may of its body.

    Its JSON may be nested 200 levels deep, and holds no halves of characters and no NaN.
    """

    @cached_property
    def _most(self) -> int:
        return int(self.app.state.service.settings.limits.body_bytes)

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body, piece by piece.

        Raises:
            HTTPException: It is longer than it may be: 413.
        """
        size = 0
        async for piece in super().stream():
            size += len(piece)
            if size > self._most:
                raise HTTPException(413, f"The body may have at most {self._most} bytes.")
            yield piece

    async def json(self) -> Any:
        """The body's JSON; what isn't any is what Python's parser raises for it."""
        body = await self.body()
        try:
            return from_json(body, allow_inf_nan=False)
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from None


class BoundedRoute(APIRoute):
    """A route whose requests are `BoundedRequest`, and whose answers no cache keeps."""

    def get_route_handler(self) -> Handler:
        """The route's handler, given the request as such."""
        handle = super().get_route_handler()

        async def handle_bounded(request: Request) -> Response:
            response = await handle(BoundedRequest(request.scope, request.receive))
            response.headers["Cache-Control"] = "no-store"  # it is one user's
            return response

        return handle_bounded
