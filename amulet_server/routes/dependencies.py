"""What routes ask of every request: the service that answers it, and who is calling.

Knows where these are found. Doesn't know what is asked.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Request

from amulet_server.identity.authenticator import Authenticator
from amulet_server.identity.caller import Caller
from amulet_server.protocol.errors import ErrorBody
from amulet_server.service import Service

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": description}
    for status, description in {
        400: "The request can't be answered as it is.",
        401: "Nothing shows who is calling, or what does is wrong.",
        403: "The caller may not do this.",
        404: "There is no such thing.",
        413: "The body is too long.",
        429: "Too many requests are waiting.",
        500: "The answer failed.",
        503: "The server can't answer now.",
        504: "The answer took too long.",
    }.items()
}
"""Answers that any route may give."""


def service_of(request: Request) -> Service:
    """The service that answers."""
    service: Service = request.app.state.service
    return service


def caller_of(request: Request) -> Caller:
    """Who is calling; as an answer that is an error if they may not."""
    authenticator: Authenticator = request.app.state.authenticator
    address = request.client.host if request.client else None
    caller = authenticator.caller(request.headers, address)
    note(request, caller=caller.name)
    return caller


def note(request: Request, **fields: Any) -> None:
    """Add to the line that is logged of a request: numbers and names, nothing a caller wrote."""
    request.state.noted.update(fields)


ServiceDep = Annotated[Service, Depends(service_of)]
CallerDep = Annotated[Caller, Depends(caller_of)]
