"""What is refused before there is a request, over real connections."""

import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from amulet_server.transport.http import HEAD_BYTES, bounded_http

REFUSALS = {400: '{"error": "no HTTP"}', 431: '{"error": "too long"}'}
END = b"Connection: close\r\n\r\n"


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Tells how much it was told in a body."""
    size, more = 0, True
    while more:
        message = await receive()
        size, more = size + len(message["body"]), message["more_body"]
    body = json.dumps(size).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    http = bounded_http(REFUSALS)
    server = uvicorn.Server(uvicorn.Config(app, http=http, lifespan="off", log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        yield listening.getsockname()[1]
        server.should_exit = True
        thread.join(30)


def answers(port: int, *pieces: bytes) -> list[tuple[int, Any]]:
    """Statuses and bodies of what is answered to a connection's bytes until it is closed."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as caller:
        for piece in pieces:
            caller.sendall(piece)
        with caller.makefile("rb") as told:
            return list(_read(told))


def _read(told: Any) -> Iterator[tuple[int, Any]]:
    while line := told.readline():
        fields = (each.decode().lower().split(":") for each in iter(told.readline, b"\r\n"))
        headers = {name: value for name, value, *_ in fields}
        assert headers["content-type"].strip() == "application/json"
        yield int(line.split()[1]), json.loads(told.read(int(headers["content-length"])))


def head(size: int) -> bytes:
    """A request's head of so many bytes."""
    start, end = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: ", b"\r\n" + END
    return start + b"a" * (size - len(start) - len(end)) + end


@pytest.mark.parametrize(
    "wrong",
    [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n" + END,
        b"GET / HTTP/1.1\r\nno header\r\n" + END,
    ],
    ids=["nonsense", "TLS", "length", "header"],
)
def test_what_is_no_http_is_told_so_in_json(port: int, wrong: bytes) -> None:
    assert answers(port, wrong) == [(400, {"error": "no HTTP"})]


def test_a_head_may_be_as_long_as_it_may(port: int) -> None:
    assert answers(port, head(HEAD_BYTES)) == [(200, 0)]


@pytest.mark.parametrize(
    "start, repeated",
    [(b"GET / HTTP/1.1\r\nX-Long: ", b"a"), (b"GET /", b"a"), (b"GET / HTTP/1.1\r\n", b"X: a\r\n")],
    ids=["header", "address", "headers"],
)
def test_a_head_that_doesn_t_end_in_time_is_refused_at_its_first_byte_too_much(
    port: int, start: bytes, repeated: bytes
) -> None:
    endless = (start + repeated * HEAD_BYTES)[: HEAD_BYTES + 1]
    assert answers(port, endless[:-1], endless[-1:]) == [(431, {"error": "too long"})]


def test_a_body_is_no_head_nor_is_what_came_before_it_on_the_same_connection(port: int) -> None:
    size = 8 * HEAD_BYTES
    first = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % size
    body = [b"a" * 2**14] * (size // 2**14)
    told = answers(port, first, *body, first, *body, head(HEAD_BYTES))
    assert told == [(200, size), (200, size), (200, 0)]
