"""Where a server listens: at every address of its host that this machine has."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from amulet_server.running import listen
from langchain_amulet.errors import ConfigurationError

LOCAL = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", 0))
NOWHERE = (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2001:db8::1", 0, 0, 0))
"""An address of IPv6 that no machine has: it is for documentation."""


@contextmanager
def listening(host: str, port: int = 0) -> Iterator[list[tuple[object, ...]]]:
    """The addresses that are listened at."""
    found = listen(host, port)
    try:
        yield [each.getsockname() for each in found]
    finally:
        for each in found:
            each.close()


def named(monkeypatch: pytest.MonkeyPatch, *addresses: object) -> None:
    """Let every name have these addresses."""
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: list(addresses))


def test_an_address_that_a_name_has_twice_is_listened_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named(monkeypatch, LOCAL, LOCAL)
    with listening("localhost") as found:
        assert [host for host, *_ in found] == ["127.0.0.1"]


def test_an_address_of_ipv6_that_this_machine_lacks_stops_no_name_with_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for addresses in ((NOWHERE, LOCAL), (LOCAL, NOWHERE)):
        named(monkeypatch, *addresses)
        with listening("localhost") as found:
            assert [host for host, *_ in found] == ["127.0.0.1"]


def test_an_address_keeps_the_interface_that_it_is_one_of(monkeypatch: pytest.MonkeyPatch) -> None:
    scoped = ("fe80::1", 8000, 0, 3)
    named(monkeypatch, (socket.AF_INET6, socket.SOCK_STREAM, 6, "", scoped))
    asked: list[object] = []

    def refuse(address: object, **_: object) -> None:
        asked.append(address)
        raise OSError("this machine may lack it")

    monkeypatch.setattr(socket, "create_server", refuse)
    with pytest.raises(ConfigurationError):
        listen("fe80::1%eth0", 8000)
    assert asked == [scoped]


@pytest.mark.parametrize("host", ["2001:db8::1", "192.0.2.1", "a..b", f"{'a' * 70}.b"])
def test_an_address_that_isn_t_this_machine_s_is_refused(host: str) -> None:
    with pytest.raises(ConfigurationError, match=f"{host}:0 can't be had"):
        listen(host, 0)


def test_an_address_that_is_taken_is_refused_beside_one_that_is_lacking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    named(monkeypatch, NOWHERE, LOCAL)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"{port} can't be had"):
            listen("localhost", port)


def test_an_empty_host_is_all_addresses() -> None:
    with listening("") as found:
        assert "0.0.0.0" in [host for host, *_ in found]
