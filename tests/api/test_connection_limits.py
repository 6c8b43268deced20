"""The limits on connections, in all and per peer: clients that wait make room for others."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.raw_http import (
    HEALTH,
    POST,
    check_health,
    connect,
    file_limit,
    is_open,
    read_to_end,
)
from support.waits import until
from support.wire import CREATE, StartServer, event, outcome

from signal_pipeline.api import connections
from signal_pipeline.api.connections import Connections, Limits, Wait, connection_limits
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import SettingsError, load_settings

pytestmark = pytest.mark.embedded_only


SILENT = {
    "silent": b"",
    "half a head": b"POST /graphql HTTP/1.1\r\nhost: x\r\n",
    "half a body": POST + b"content-length: 100\r\n\r\n{",
    "idle": HEALTH,
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 3,
}


def test_silent_connections_shut_nobody_out(start: StartServer) -> None:
    """The file limit is far too low for them."""
    with file_limit(256):
        server = start(
            SIGNAL_TRUSTED_PROXIES="127.0.0.0/8"
        )  # All come from proxies, so no limit per peer helps.
    began = time.monotonic()
    for text in SILENT.values():
        with ExitStack() as opened:
            for _ in range(1_000 if not text else 400):
                client = opened.enter_context(connect(server))
                with suppress(ConnectionError):
                    client.sendall(text)
            for _ in range(3):
                check_health(server)
            assert outcome(server.create()) == ("accepted", None)
    assert server.client.get(f"{server.url}/readyz").status_code == 200
    minutes = (time.monotonic() - began) / connections.LOG_SECONDS
    assert len([line for line in server.log if "connections closed" in line]) <= minutes + 1
    assert not [
        line
        for line in server.log
        if "connections closed" not in line and not line.startswith("Signal")
    ]
    assert server.stop() == 0


def _can_bind(address: str) -> bool:
    with socket.socket() as tried:
        try:
            tried.bind((address, 0))
        except OSError:
            return False
    return True


@pytest.mark.skipif(
    not all(map(_can_bind, ("127.0.0.2", "127.0.0.3", "127.0.0.9"))),
    reason="several peers need addresses beside 127.0.0.1, which macOS does not have by itself",
)
def test_limit_per_peer(start: StartServer) -> None:
    """A peer over its limit loses its oldest connection; a trusted proxy has no such limit."""
    limits = {"SIGNAL_MAX_CONNECTIONS": "20", "SIGNAL_MAX_CONNECTIONS_PER_PEER": "4"}
    server = start(**limits, SIGNAL_TRUSTED_PROXIES="127.0.0.9/32")
    with ExitStack() as opened:
        first = [opened.enter_context(connect(server, "127.0.0.2")) for _ in range(3)]
        many = [opened.enter_context(connect(server, "127.0.0.3")) for _ in range(12)]
        proxied = [opened.enter_context(connect(server, "127.0.0.9")) for _ in range(8)]
        until(lambda: sum(map(is_open, many)) == 4)
        assert all(
            map(is_open, [*many[-4:], *first, *proxied])
        )  # The oldest connection of the peer with too many made room.


def test_every_connection_is_busy(start: StartServer, rows: Connection) -> None:
    """A client for which no connection makes room is told to try again."""
    server = start(SIGNAL_MAX_CONNECTIONS_PER_PEER="2", SIGNAL_TRUSTED_PROXIES=None)
    request = server.request(CREATE, {"input": event()})
    head = "".join(f"{name}: {value}\r\n" for name, value in request["headers"].items())
    whole = (
        f"POST /graphql HTTP/1.1\r\nhost: x\r\n{head}content-length:"
        f" {len(request['content'])}\r\n\r\n".encode()
    )
    with ExitStack() as opened, rows.transaction():
        rows.execute("lock table signal.event_keys in exclusive mode")
        busy = [opened.enter_context(connect(server)) for _ in range(2)]
        for client in busy:
            client.sendall(whole + request["content"])
        until(lambda: _blocked_transactions(rows) > 0)
        refused = opened.enter_context(connect(server))
        said = read_to_end(refused)
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in said
        assert b"SERVICE_UNAVAILABLE" in said
        assert all(map(is_open, busy))
    until(lambda: "refused because every connection was busy" in "".join(server.log))


def _blocked_transactions(rows: Connection) -> int:
    """Transactions that wait for our lock."""
    row = rows.execute("select count(*) from pg_locks where not granted").fetchone()
    assert row is not None
    return int(str(row[0]))


@pytest.mark.parametrize(
    ("files", "wanted", "said"),
    [
        (512, "5000", "SIGNAL_MAX_CONNECTIONS"),
        (80, None, "ulimit -n"),
        (None, "3", "SIGNAL_MAX_CONNECTIONS"),
    ],
)
def test_file_limit_too_low(
    monkeypatch: pytest.MonkeyPatch, files: int | None, wanted: str | None, said: str
) -> None:
    """The server does not start, and says which limit to change."""
    if wanted is not None:
        monkeypatch.setenv("SIGNAL_MAX_CONNECTIONS", wanted)
    with ExitStack() as limited:
        if files is not None:
            limited.enter_context(file_limit(files))
        with pytest.raises(SettingsError, match=said):
            connection_limits(load_settings())


class FakeConnection:
    """A connection without a socket."""

    def __init__(self) -> None:
        self.wait: Wait | None = None
        self.dropped = False

    def drop(self) -> None:
        self.dropped = True


PEERS = st.sampled_from(
    ["198.51.100.1", "::ffff:198.51.100.1", "2001:db8::1", "2001:db8::2", "10.0.0.1", None]
)


@given(st.lists(st.tuples(PEERS, st.sampled_from(["silent", "busy", "gone"])), max_size=40))
def test_limits_hold(steps: list[tuple[str | None, str]]) -> None:
    """Only a connection that keeps the server waiting makes room for another."""

    async def take() -> None:
        shared = Connections(Limits(total=8, per_peer=3), trusted_networks())
        taken: list[tuple[FakeConnection, str | None, str]] = []
        for peer, kind in steps:
            client = FakeConnection()
            if not shared.admit(client, peer):
                full = [each for each in taken if not each[0].dropped]
                assert len([each for each in full if each[2] == "busy"]) >= 3
                continue
            if kind == "busy":
                shared.enter(client, None)
            elif kind == "gone":
                shared.remove(client)
                continue
            taken.append((client, peer, kind))
            here = [each for each in taken if not each[0].dropped]
            assert len(here) <= 8
            assert not [each for each in taken if each[0].dropped and each[2] == "busy"]
            for same in ({"198.51.100.1", "::ffff:198.51.100.1"}, {"2001:db8::1", "2001:db8::2"}):
                assert len([each for each in here if each[1] in same]) <= 3

    asyncio.run(take())


def trusted_networks() -> tuple[connections.Network, ...]:
    """The networks of a proxy that we trust."""
    return (connections.ip_network("10.0.0.0/8"),)
