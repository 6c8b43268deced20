"""Clients that keep the server waiting: they are silent, trickle, or do not read answers."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from support.raw_http import (
    HEALTH,
    LAST_HEALTH,
    PATIENCE,
    POST,
    connect,
    read_answer,
)
from support.wire import StartServer

from signal_pipeline.api import connections
from signal_pipeline.api.protocol import MAX_PIPELINED

pytestmark = pytest.mark.embedded_only


def _send_slowly(first: bytes, again: bytes, every: float = 0.4) -> Callable[[socket.socket], None]:
    def send(client: socket.socket) -> None:
        client.sendall(first)
        client.settimeout(every)
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            try:
                if client.recv(1 << 16) == b"":
                    return
            except TimeoutError:
                if again:
                    client.sendall(again)
            except ConnectionError:
                return
        raise AssertionError("it was not closed")

    return send


def _never_read(client: socket.socket) -> None:
    """Ask again and again without reading; large requests are no flood of pipelined ones."""
    request = HEALTH[:-2] + b"x-padding: " + b"p" * 4_000 + b"\r\n\r\n"
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        client.sendall(request)
    raise AssertionError("it was not closed")


def _never_read_the_last(client: socket.socket) -> None:
    """Ask for a close behind as many requests as may wait, and read nothing."""
    client.sendall(HEALTH * (MAX_PIPELINED - 1) + LAST_HEALTH)
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        client.sendall(b"x")  # Raises once the server has closed.
        time.sleep(0.4)
    raise AssertionError("it was not closed")


OWING: dict[str, tuple[Callable[[socket.socket], None], float]] = {
    "nothing at all": (_send_slowly(b"", b""), connections.HEAD_SECONDS),
    "half a head": (_send_slowly(b"GET /healthz HT", b""), connections.HEAD_SECONDS),
    "a head by the byte": (
        _send_slowly(b"GET /healthz HTTP/1.1\r\n", b"x"),
        connections.HEAD_SECONDS,
    ),
    "headers by the line": (
        _send_slowly(b"GET /healthz HTTP/1.1\r\n", b"a: b\r\n"),
        connections.HEAD_SECONDS,
    ),
    "empty lines alone": (_send_slowly(b"", b"\r\n"), connections.HEAD_SECONDS),
    "a second head by the byte": (_send_slowly(HEALTH + b"GET /", b"x"), connections.HEAD_SECONDS),
    "empty lines after an answer": (_send_slowly(HEALTH, b"\r\n"), connections.KEEP_ALIVE_SECONDS),
    "no second request": (_send_slowly(HEALTH, b""), connections.KEEP_ALIVE_SECONDS),
    "no body": (_send_slowly(POST + b"content-length: 99\r\n\r\n", b""), connections.BODY_SECONDS),
    "a body by the byte": (
        _send_slowly(POST + b"content-length: 9999\r\n\r\n{", b" "),
        connections.BODY_SECONDS,
    ),
    "chunks without end": (
        _send_slowly(POST + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
        connections.BODY_SECONDS,
    ),
    "trailers without end": (
        _send_slowly(POST + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n", b"a: b\r\n"),
        connections.BODY_SECONDS,
    ),
    "a body that nobody waits for": (
        _send_slowly(b"GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 99999\r\n\r\n", b" "),
        connections.BODY_SECONDS,
    ),
    "a continued body": (
        _send_slowly(POST + b"content-length: 99\r\nexpect: 100-continue\r\n\r\n", b""),
        connections.BODY_SECONDS,
    ),
    "answers that it does not read": (_never_read, connections.READ_SECONDS),
    "a last answer that it does not read": (_never_read_the_last, connections.READ_SECONDS),
}


def test_slow_clients_are_closed(start: StartServer) -> None:
    """Each is closed in time, others are served meanwhile, and the log gets a line a minute."""
    began = time.monotonic()
    server = start()
    took: dict[str, float] = {}

    def owe(name: str, send: Callable[[socket.socket], None]) -> None:
        begun = time.monotonic()
        with connect(server, receive_bytes=4_096) as client, suppress(ConnectionError):
            send(client)
        took[name] = time.monotonic() - begun

    threads = [threading.Thread(target=owe, args=(name, send)) for name, (send, _) in OWING.items()]
    for thread in threads:
        thread.start()
    with connect(server) as faithful:
        while any(thread.is_alive() for thread in threads):
            faithful.sendall(HEALTH)
            assert read_answer(faithful).startswith(b"HTTP/1.1 200 ")
            threads[0].join(1)
    assert took.keys() == OWING.keys()  # Whoever was never closed has raised instead.
    # A busy machine is late. An unbounded wait takes until the test's patience is over.
    late = {name: seconds for name, seconds in took.items() if not seconds < OWING[name][1] + 40}
    assert not late
    # The first line says where it listens. The others come once a minute.
    minutes = (time.monotonic() - began) / connections.LOG_SECONDS
    assert 1 <= len(server.log[1:]) <= minutes + 1
    assert [
        line
        for line in server.log[1:]
        if not re.fullmatch(r"WARNING connections closed: [\d a-z,]+\n", line)
    ] == []
