"""The playground's files, sent with headers by which a browser takes nothing from elsewhere.

Knows files and headers. Doesn't know services.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from fastapi import FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC = Path(__file__).parent / "static"

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""What the page may load and do: its own files, and calls to its own server."""

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": POLICY,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        # Asked for again each time, and sent again only when another version is installed.
        "Cache-Control": "no-cache",
    }
)


class PageFiles(StaticFiles):
    """A folder's files, each with `HEADERS`."""

    def file_response(
        self,
        full_path: str | os.PathLike[str],
        stat_result: os.stat_result,
        scope: Scope,
        status_code: int = 200,
    ) -> Response:
        """The file, or that it hasn't changed."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(HEADERS)
        return response


def add_playground(app: FastAPI) -> None:
    """Have an application show the playground at ``/``, with its files under ``/playground/``."""

    async def playground() -> Response:
        return FileResponse(STATIC / "index.html", headers=HEADERS)

    app.add_api_route("/", playground, methods=["GET", "HEAD"], include_in_schema=False)
    app.mount("/playground", PageFiles(directory=STATIC), name="playground")
