"""A fleet: replicas of the server behind Ray Serve, each user's calls on the same one.

::

    python examples/ray_serve.py config=serve.toml replicas=2         # where the config says
    serve run examples.ray_serve:fleet config=serve.toml replicas=2   # on a cluster that there is

A `Gateway` finds out who is calling, as each server does, and sends all that a user asks to the
same `ModelReplica` while there is one, where their conversations are in the KV cache. What is kept
of users must be in one store for all: a PostgreSQL database. docs/ray-serve.md says the rest.

Needs ``pip install 'langchain-amulet[serve,postgres]' 'ray[serve]'``.
"""

import asyncio
import hashlib
import hmac
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import ExitStack, suppress
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import from_json
from ray import serve
from ray.exceptions import RayError, RayTaskError
from ray.serve import Application
from ray.serve.config import RequestRouterConfig
from ray.serve.exceptions import BackPressureError, RayServeException
from ray.serve.handle import DeploymentHandle, DeploymentResponseGenerator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from amulet_server import ServerSettings, create_app, opened, read_settings
from amulet_server.identity.authenticator import Authenticator
from amulet_server.identity.caller import users_in
from amulet_server.protocol.errors import SERVER, ApiError, as_api_error
from langchain_amulet.errors import QueueFullError

ROUTER = "ray.serve.experimental.consistent_hash_router.ConsistentHashRouter"
"""Sends what has the same session id to the same replica, while that has room."""

PASSED_ON = ("method", "path", "raw_path", "query_string", "headers", "client", "server", "scheme")
"""What a replica is told of a request, besides its body."""

Headers = list[tuple[bytes, bytes]]

UNBOUNDED = 1_000_000
"""More calls than there are at a time."""

PATIENCE = {
    "RAY_SERVE_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "2",
    "RAY_SERVE_MAX_QUEUE_LENGTH_RESPONSE_DEADLINE_S": "2",
}
"""Has Ray wait until a busy replica says whether it has room; by default a user is sent elsewhere
after a tenth of a second."""


class Fleet(BaseModel):
    """What a fleet is made of.

    Attributes:
        config: The server's config file; None for settings of the environment alone.
        replicas: How many models are loaded.
        gateways: How many processes take requests in and send answers on.
        cpus: Processor cores for each replica; Ray has PyTorch use as many threads.
        gpus: GPUs for each replica.
        waiting: How many calls may wait at a gateway for a replica with room.
        pause: Seconds between the pieces of a stream; what comes meanwhile is sent as one, since
            each costs Ray's processes as much as any other.
    """

    config: Path | None = None
    replicas: int = 2
    gateways: int = 1
    cpus: float = 1
    gpus: float = 0
    waiting: int = 1000
    pause: float = 0.05


class ModelReplica:
    """A model and the server's routes in a process of its own, without a socket."""

    async def __init__(self, settings: ServerSettings, pause: float) -> None:
        """Open model and store; the replica takes calls once the model has answered."""
        self._opened = ExitStack()
        service = self._opened.enter_context(opened(settings))
        await service.warm_up()
        if service.readiness.failure is not None:
            raise service.readiness.failure
        self._app, self._pause = create_app(service), pause
        self._name = serve.get_replica_context().replica_id.unique_id.encode()

    async def answer(self, scope: Scope, body: bytes) -> AsyncIterator[Message | bytes]:
        """What the server answers to a request: ASGI's message that begins it, then its body.

        Whoever stops reading gives the request up, as a caller does who hangs up.
        """
        sent: list[Message] = []
        unread = [{"type": "http.request", "body": body, "more_body": False}]
        has_sent, given_up = asyncio.Event(), asyncio.Event()

        async def receive() -> Message:
            if not unread:
                await given_up.wait()
            return unread.pop() if unread else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)
            has_sent.set()

        task = asyncio.ensure_future(self._app(scope, receive, send))
        task.add_done_callback(lambda _: has_sent.set())
        try:
            await has_sent.wait()
            start = sent.pop(0)
            yield {**start, "headers": [*start["headers"], (b"x-replica", self._name)]}
            while sent or not task.done():
                has_sent.clear()
                if sent:
                    piece = b"".join(message["body"] for message in sent)
                    sent.clear()
                    yield piece
                    await asyncio.wait({task}, timeout=self._pause)
                else:
                    await has_sent.wait()
        finally:
            given_up.set()
            await task

    def __del__(self) -> None:
        """Close model and store."""
        self._opened.close()


class Gateway:
    """Takes requests in, chooses each user's replica, and says so where it is lost."""

    def __init__(self, replicas: DeploymentHandle, settings: ServerSettings, secret: bytes) -> None:
        """Know the replicas, and by what users show who they are.

        Args:
            replicas: Who answers.
            settings: The server's.
            secret: What users' names are hashed with, the same for all gateways.
        """
        self._replicas, self._secret = replicas.options(stream=True), secret
        self._authenticator = Authenticator(settings)
        self._most = settings.limits.body_bytes

    async def __call__(self, request: Request) -> Response:
        """Answer a request by a replica."""
        body = await self._body(request)
        scope = {key: request.scope[key] for key in PASSED_ON}
        replicas = self._replicas.options(session_id=self._session(request, body))
        return ReplicaResponse(replicas.answer.remote({"type": "http", **scope}, body))

    async def _body(self, request: Request) -> bytes:
        """The body, or so much of it that the replica sees it is too long."""
        body = bytearray()
        async for piece in request.stream():
            body += piece
            if len(body) > self._most:
                break
        return bytes(body)

    def _session(self, request: Request, body: bytes) -> str:
        """What all calls in a user's name have in common; empty if it is nobody's.

        A call that may not be made has none: the replica that it comes to says why.
        """
        address = request.client.host if request.client else None
        try:
            caller = self._authenticator.caller(request.headers, address)
            user = caller.speaking_for(_named(request, body)).user_id
        except ApiError:
            return ""
        # Ray logs sessions, and users are nobody's business: their names could be tried on a hash.
        return self._hashed(user) if user else ""

    def _hashed(self, user: str) -> str:
        spelled = user.encode("utf-8", "surrogatepass")  # a JWT may hold halves of characters
        return hmac.digest(self._secret, spelled, "sha256").hex()


class ReplicaResponse(Response):
    """What a replica answers, given up as soon as nobody reads it any more."""

    def __init__(self, messages: DeploymentResponseGenerator) -> None:
        """Pass these on, the first of which begins the answer."""
        self._messages = messages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it. A caller who hangs up has this cancelled, wherever it is."""
        try:
            response = await self._begun()
            await response(scope, receive, send)
        finally:
            # One that came to no replica has nothing to give up, and says why by the same error.
            with suppress(RayError, RayServeException):
                self._messages.cancel()

    async def _begun(self) -> Response:
        try:
            start = await anext(self._messages)
        except (RayError, RayServeException) as error:
            told = _told(error)
            return JSONResponse(told.body, told.status, headers=told.headers)
        response = StreamingResponse(self._pieces(start["headers"]), start["status"])
        # Ray's proxy sends the same id. All others go on as the bytes that they are.
        response.raw_headers = [each for each in start["headers"] if each[0] != b"x-request-id"]
        return response

    async def _pieces(self, headers: Headers) -> AsyncIterator[bytes]:
        """The body of an answer; of a stream that breaks off, an error as its last event."""
        try:
            async for piece in self._messages:
                yield piece
        except (RayError, RayServeException) as error:
            if not dict(headers).get(b"content-type", b"").startswith(b"text/event-stream"):
                raise
            yield f"data: {_told(error).json}\n\n".encode()


def _named(request: Request, body: bytes) -> str | None:
    """In whose name a call says that it is made."""
    try:
        named = users_in(from_json(body or b"{}"))
    except (ValueError, AttributeError):  # which the replica refuses
        return None
    user = next(iter(named.values()), request.query_params.get("user"))
    return user if isinstance(user, str) else None


def _told(error: Exception) -> ApiError:
    """What a caller is told of an error between a gateway and a replica."""
    if isinstance(error, BackPressureError):
        message = "As many calls wait for a replica as may: try again later."
        return as_api_error(QueueFullError(message))
    if isinstance(error, RayTaskError):  # raised by the code of a replica that is there
        return as_api_error(RuntimeError())
    message = "The replica that was answering is gone, and the answer with it: try again."
    headers = {"Retry-After": "1"}
    return ApiError(503, message, code="replica_lost", kind=SERVER, headers=headers)


def _secret(settings: ServerSettings) -> bytes:
    """What users' names are hashed with, so that who reads Ray's logs can't try names on them.

    It comes from the secrets that the settings have, so that users stay with their replicas when a
    fleet is deployed anew; without any it is made up.
    """
    signed = settings.signed_header
    known = sorted(key.digest for key in settings.keys)
    if signed is not None and signed.secret is not None:
        known.append(signed.secret.get_secret_value())
    if not known:
        return secrets.token_bytes(32)
    # Slow, so that short keys can't be tried on sessions either.
    return hashlib.scrypt("\n".join(known).encode(), salt=b"sessions", n=2**14, r=8, p=1, dklen=32)


def fleet(asked: Fleet) -> Application:
    """The application that Ray Serve runs."""
    return fleet_of(asked, read_settings(asked.config))


def fleet_of(asked: Fleet, settings: ServerSettings) -> Application:
    """A fleet of servers with these settings, of which those that can't work are told here."""
    with opened(settings) as service:
        rows = service.llm.max_rows
    replicas = serve.deployment(ModelReplica).options(
        num_replicas=asked.replicas,
        ray_actor_options={"num_cpus": asked.cpus, "num_gpus": asked.gpus},
        max_ongoing_requests=rows,  # what is beyond goes to the next replica
        max_queued_requests=asked.waiting,
        graceful_shutdown_timeout_s=settings.drain_seconds,
        request_router_config=RequestRouterConfig(request_router_class=ROUTER),
    )
    gateways = serve.deployment(Gateway).options(
        num_replicas=asked.gateways,
        ray_actor_options={"num_cpus": 0},
        max_ongoing_requests=UNBOUNDED,  # it says itself when there are too many
        graceful_shutdown_timeout_s=settings.drain_seconds,
    )
    return gateways.bind(replicas.bind(settings, asked.pause), settings, _secret(settings))


def main(*asked: str) -> None:
    """Run a fleet until interrupted: on this machine, or on the cluster that it is part of."""
    wanted = Fleet(**dict(each.split("=", 1) for each in asked))
    settings = read_settings(wanted.config)
    os.environ.update(PATIENCE)
    serve.start(http_options={"host": settings.host, "port": settings.port})
    serve.run(fleet_of(wanted, settings), blocking=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
