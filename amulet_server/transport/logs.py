"""A line of JSON for each request, with an id that the caller is told, too.

What a caller wrote is in no line: neither bodies nor queries, nor paths that lead nowhere, nor the
messages of unexpected errors, of which the place in the code is logged instead.

Knows requests from outside. Doesn't know what is asked.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

REQUEST_ID = "x-request-id"
ID = re.compile(r"[\w.:-]{1,128}")
"""What may be an id: a caller's own is kept, so that their logs and ours can be joined."""

LEFT = 499
"""The status of a request whose caller left, as web servers log it."""

EXPECTED = frozenset({"not_ready", "server_stopped"})
"""Codes of errors that are no faults: of a server that isn't up yet, and of one that is to stop."""

LOGGER = logging.getLogger("amulet_server")

Counted = Callable[[str, int, float], None]
"""Told of each request's route, status and seconds."""


class RequestLog:
    """Middleware that names, times, logs and counts requests, and answers for what fails in them.

    Args:
        app: What answers.
        count: Is told of each request.
        fault: The body of an answer to a request that failed unexpectedly.
    """

    def __init__(self, app: ASGIApp, count: Counted, fault: Mapping[str, Any]) -> None:
        """Nothing is logged yet."""
        self._app, self._count, self._fault = app, count, fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and log how it ended."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        sent = Headers(scope=scope).get(REQUEST_ID, "")
        name = sent if ID.fullmatch(sent) else uuid4().hex
        begun, status = time.monotonic(), 0
        noted: dict[str, Any] = {"request_id": name, "method": scope["method"]}
        scope.setdefault("state", {})["noted"] = noted

        async def send_named(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = name
            await send(message)

        try:
            await self._app(scope, receive, send_named)
        except ClientDisconnect:
            status = LEFT
        except Exception as error:  # a fault of ours: what it says may quote anything
            noted |= {"fault": type(error).__name__, "at": _places(error)}
            if not status:
                await JSONResponse(self._fault, 500)(scope, receive, send_named)
            status = 500
        finally:
            seconds = time.monotonic() - begun
            route = getattr(scope.get("route"), "path", "unmatched")
            self._count(route, status or LEFT, seconds)
            noted |= {"route": route, "status": status or LEFT, "seconds": round(seconds, 4)}
            is_fault = status >= 500 and noted.get("error") not in EXPECTED
            severity = logging.ERROR if is_fault else logging.INFO
            LOGGER.log(severity, "request", extra={"fields": noted})


def _places(error: BaseException) -> list[str]:
    """Where in the code an error was raised, outermost first."""
    frames = traceback.extract_tb(error.__traceback__)
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


class JsonLines(logging.Formatter):
    """Writes a log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        event = record.getMessage()
        if record.name == "py.warnings":  # which ends with the line of code that warns
            event = event.rpartition("\n  ")[0] or event
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": event,
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1]:
            error = record.exc_info[1]
            line |= {"fault": type(error).__name__, "at": _places(error)}
        return json.dumps(line, ensure_ascii=False)


@contextmanager
def logged_as_json(level: str) -> Iterator[None]:
    """Have all of the program's loggers write JSON lines to standard error, as long as this lasts.

    Args:
        level: The least severe that is written. Of other libraries nothing below "info" is: some
            log what they are given.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    least = max(logging.INFO, logging.getLevelNamesMapping()[level.upper()])
    root = logging.getLogger()
    before = [*root.handlers], root.level, LOGGER.level
    root.handlers[:] = [handler]
    root.setLevel(least)
    LOGGER.setLevel(level.upper())
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = before[0]
        root.setLevel(before[1])
        LOGGER.setLevel(before[2])
