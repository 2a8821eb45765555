"""A service as an ASGI application.

Routes may be added to what `create_app` returns, or it be mounted elsewhere. Where the settings
turn off the playground, ``/`` is free.

Knows routes and what lies around them. Doesn't know what they answer.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from amulet_server.config import LOOPBACK
from amulet_server.identity.authenticator import Authenticator
from amulet_server.playground.pages import add_playground
from amulet_server.protocol.errors import ApiError, as_api_error, invalid
from amulet_server.routes import chat, health, models, preferences, steering
from amulet_server.routes.dependencies import note
from amulet_server.service import Service
from amulet_server.transport.browsers import KnownHosts, OpenOrigins
from amulet_server.transport.logs import RequestLog
from amulet_server.transport.requests import names_at
from langchain_amulet.errors import AmuletError
from langchain_amulet.version import VERSION

ELSEWHERE = (
    "Nothing is answered at this path by this method: what there is of OpenAI's API is under /v1, "
    "such as POST /v1/chat/completions, and /openapi.json has every path with its methods."
)
"""What is said at other paths than those of the routes."""


class Application(FastAPI):
    """FastAPI, whose refusals of what it can't read are answers 400 here, as every route says."""

    def openapi(self) -> dict[str, Any]:
        """The description of all routes, without the answer 422 that FastAPI would give."""
        described = super().openapi()
        for operations in described["paths"].values():
            for operation in operations.values():
                operation["responses"].pop("422", None)
        for name in ("HTTPValidationError", "ValidationError"):
            described["components"]["schemas"].pop(name, None)
        return described


def create_app(service: Service) -> FastAPI:
    """The application that answers for a service.

    Its documentation is at ``/openapi.json``. While it starts, the model is loaded; it answers
    from the beginning, and whoever asks for more than ``/health`` waits.
    """
    app = Application(
        title="langchain-amulet",
        version=VERSION,
        lifespan=partial(_living, service),
        docs_url=None,  # these pages would load scripts from other hosts
        redoc_url=None,
    )
    app.state.service = service
    app.state.authenticator = Authenticator(service.settings)
    for room in (chat, models, preferences, steering, health):
        app.include_router(room.router)
    if service.settings.playground:
        add_playground(app)
    app.add_exception_handler(AmuletError, _on_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    _add_middleware(app, service)
    return app


def _add_middleware(app: FastAPI, service: Service) -> None:
    """What lies around the routes: what is added last is outermost."""
    settings = service.settings
    refuse = partial(_answer, error=_unknown_origin())
    app.add_middleware(OpenOrigins, origins=settings.cors_origins, refuse=refuse)
    if settings.lets_anybody_in and not settings.no_auth:
        names = [*LOOPBACK, "[::1]", *settings.allowed_hosts]
        refuse = partial(_answer, error=_unknown_host())
        app.add_middleware(KnownHosts, names=names, refuse=refuse)
    fault = as_api_error(RuntimeError()).body
    app.add_middleware(RequestLog, count=service.metrics.request, fault=fault)


@asynccontextmanager
async def _living(service: Service, app: FastAPI) -> AsyncIterator[None]:
    loading = asyncio.create_task(service.warm_up())
    yield
    loading.cancel()
    await asyncio.gather(loading, return_exceptions=True)


async def _on_error(request: Request, error: Exception) -> JSONResponse:
    told = as_api_error(error)
    if told.status >= 500:  # the package's errors quote nothing that a caller wrote
        note(request, reason=str(error))
    return _answer(request, told)


async def _on_invalid(request: Request, error: Exception) -> JSONResponse:
    refused: Any = error
    known = partial(names_at, request.scope["route"])
    return _answer(request, invalid(refused.errors(), refused.body, known))


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    """What Starlette refuses: paths and methods that there aren't, and bodies that are too long."""
    refused: Any = error
    status, headers = refused.status_code, refused.headers or {}
    code = {404: "not_found", 405: "method_not_allowed", 413: "too_long"}.get(status)
    message = ELSEWHERE if status in (404, 405) else str(refused.detail)
    return _answer(request, ApiError(status, message, code=code, headers=headers))


def _unknown_host() -> ApiError:
    """What to say of a call by a name of the server that may be anybody's."""
    return ApiError(
        400,
        f"Where anybody may call, a call's Host must be {', '.join(LOOPBACK)} or one of the "
        "server's allowed_hosts, but this one's is another: call it by one of those, or have "
        "allowed_hosts name this one.",
        code="unknown_host",
    )


def _unknown_origin() -> ApiError:
    """What to say to a page that may not call, before it does."""
    return ApiError(
        400,
        "A page that calls must be of one of the server's cors_origins, but this one's Origin is "
        "none: have cors_origins name it.",
        code="unknown_origin",
    )


def _answer(request: Request, error: ApiError) -> JSONResponse:
    # What is within a field may be called as a caller likes, and what is unknown is.
    field = re.split(r"[.\[]", error.detail.param or "")[0]
    is_ours = field and error.detail.code != "unknown_parameter"
    note(request, error=error.detail.code, param=field if is_ours else None)
    return JSONResponse(error.body, error.status, headers=error.headers)
