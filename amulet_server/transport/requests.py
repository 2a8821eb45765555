"""Requests whose bodies are bounded, and read as JSON that all of the program can carry.

Knows bytes and JSON. Doesn't know what they mean.
"""

from __future__ import annotations

import json
import re
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Coroutine,
    Iterable,
    Iterator,
    Sequence,
)
from functools import cached_property
from typing import Any, get_args

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic_core import from_json
from starlette.exceptions import HTTPException

from amulet_server.config import RequestLimits

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class BoundedRequest(Request):
    """A request that reads no more than it may of its body.

    Its JSON may be nested 200 levels deep, and holds no halves of characters, no NaN, and no more
    values than it may: what each is to be is looked at while nobody else is answered.

    Attributes:
        parsed: What it holds, once it is read.
    """

    parsed: Any = None

    @cached_property
    def _limits(self) -> RequestLimits:
        limits: RequestLimits = self.app.state.service.settings.limits
        return limits

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """The body, piece by piece.

        Raises:
            HTTPException: It is longer than it may be: 413.
        """
        size = 0
        async for piece in super().stream():
            size += len(piece)
            if size > (most := self._limits.body_bytes):
                raise HTTPException(
                    413,
                    f"A request's body may have at most {most} bytes, but this one is "
                    "longer: send less, or have the server's limits.body_bytes allow more.",
                )
            yield piece

    async def json(self) -> Any:
        """The body's JSON; what isn't any is what Python's parser raises for it.

        Raises:
            HTTPException: It holds more than it may: 413.
        """
        body = await self.body()
        try:
            self.parsed = from_json(body, allow_inf_nan=False)
        except ValueError as error:
            raise json.JSONDecodeError(str(error), "", 0) from None
        if holds_more(self.parsed, most := self._limits.values):
            raise HTTPException(
                413,
                f"A request's lists and objects may hold at most {most} values together, but this "
                "one's hold more: send less, or have the server's limits.values allow more.",
            )
        return self.parsed


def holds_more(value: Any, most: int) -> bool:
    """Whether lists and objects hold more values together than so many."""
    level, count = [[value]], -1
    while level and count <= most:
        count += sum(map(len, level))
        held = [each for values in level for each in values if isinstance(each, (list, dict))]
        level = [[*each.values()] if isinstance(each, dict) else each for each in held]
    return count > most


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


class StrictRoute(BoundedRoute):
    """A `BoundedRoute` in whose address, as in its body, nothing unknown may stand."""

    def get_route_handler(self) -> Handler:
        """The route's handler, which refuses other names in a query than those of its own."""
        handle = super().get_route_handler()
        known = query_of(self)

        async def handle_known(request: Request) -> Response:
            for name in request.query_params:
                if name not in known:
                    complaint = {"type": "extra_forbidden", "loc": ("query", name)}
                    raise RequestValidationError([complaint])
            return await handle(request)

        return handle_known


def query_of(route: APIRoute) -> Collection[str]:
    """The names that may stand in the address of a route's requests."""
    return {each.alias for each in route.dependant.query_params}


def names_at(route: APIRoute, place: Sequence[int | str]) -> Collection[str]:
    """The names that may stand at a place of a route's requests.

    Args:
        route: The route.
        place: As pydantic's complaints say it, from "query" or "body" to what holds the names.
    """
    root, *inner = place
    if root == "query":
        return query_of(route)
    return fields_at((each.field_info.annotation for each in route.dependant.body_params), inner)


def fields_at(kinds: Iterable[Any], place: Sequence[int | str]) -> Collection[str]:
    """The fields of objects of these kinds, or of what lies at a place within them."""
    models = [model for kind in kinds for model in _models(kind)]
    for part in place:
        within = [kind for model in models for name, kind in _fields(model) if name == part]
        if within:
            models = [model for kind in within for model in _models(kind)]
        else:  # the number of an item, or the name of a union's case
            words = re.findall(r"\w+", str(part))  # a case with validators is called by these, too
            models = [model for model in models if model.__name__ in words] or models
    return {name for model in models for name, _ in _fields(model)}


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, Any]]:
    return ((each.alias or name, each.annotation) for name, each in model.model_fields.items())


def _models(kind: Any) -> Iterator[type[BaseModel]]:
    """The kinds of objects that a type lets through."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for each in get_args(kind):
        yield from _models(each)
