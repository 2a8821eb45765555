"""A service as an ASGI application.

Routes may be added to what `create_app` returns, or it be mounted elsewhere. Where the settings
turn off the playground, ``/`` is free.

Knows routes and what lies around them. Doesn't know what they answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from amulet_server.config import LOOPBACK
from amulet_server.identity.authenticator import Authenticator
from amulet_server.playground.pages import add_playground
from amulet_server.protocol.errors import ApiError, as_api_error, invalid
from amulet_server.routes import chat, health, models, preferences, steering
from amulet_server.routes.dependencies import note
from amulet_server.service import Service
from amulet_server.transport.logs import RequestLog
from langchain_amulet.errors import AmuletError
from langchain_amulet.version import VERSION


def create_app(service: Service) -> FastAPI:
    """The application that answers for a service.

    Its documentation is at ``/openapi.json``. While it starts, the model is loaded; it answers
    from the beginning, and whoever asks for more than ``/health`` waits.
    """
    app = FastAPI(
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
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.cors_origins),
            allow_methods=["*"],
            allow_headers=["*"],
        )
    if settings.lets_anybody_in and not settings.no_auth:
        # A web page that anybody's browser shows may call what listens on their machine, by a name
        # that it has point there. Such a name is none of these.
        hosts = [*LOOPBACK, "[::1]", *settings.allowed_hosts]
        app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
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
    return _answer(request, invalid(refused.errors(), refused.body))


async def _on_http_error(request: Request, error: Exception) -> JSONResponse:
    """What Starlette refuses: paths and methods that there aren't, and bodies that are too long."""
    refused: Any = error
    code = {404: "not_found", 405: "method_not_allowed", 413: "too_long"}.get(refused.status_code)
    headers = refused.headers or {}
    return _answer(
        request, ApiError(refused.status_code, str(refused.detail), code=code, headers=headers)
    )


def _answer(request: Request, error: ApiError) -> JSONResponse:
    note(request, error=error.detail.code, param=error.detail.param)
    return JSONResponse(error.body, error.status, headers=error.headers)
