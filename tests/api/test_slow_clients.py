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
    POST,
    connect,
    read_answer,
)
from support.waits import PATIENCE_SECONDS
from support.wire import StartServer

from signal_pipeline.api import connections
from signal_pipeline.api.protocol import MAX_PIPELINED

pytestmark = pytest.mark.embedded_only


Sends = Callable[[socket.socket], float]


def _send_slowly(first: bytes, again: bytes, every: float = 0.4) -> Sends:
    def send(client: socket.socket) -> float:
        client.sendall(first)
        client.settimeout(every)
        begun = time.monotonic()
        while time.monotonic() < begun + PATIENCE_SECONDS:
            try:
                if client.recv(1 << 16) == b"":
                    return begun
            except TimeoutError:
                if again:
                    with suppress(ConnectionError):  # The next read says that it is closed.
                        client.sendall(again)
            except ConnectionError:
                return begun
        raise AssertionError("it was not closed")

    return send


def _never_read(client: socket.socket) -> float:
    """Ask again and again without reading; large requests are no flood of pipelined ones."""
    request = HEALTH[:-2] + b"x-padding: " + b"p" * 4_000 + b"\r\n\r\n"
    give_up = time.monotonic() + PATIENCE_SECONDS
    while (taken := time.monotonic()) < give_up:
        try:
            client.sendall(request)  # Waits once the server takes no more.
        except ConnectionError:
            return taken
    raise AssertionError("it was not closed")


def _never_read_the_last(client: socket.socket) -> float:
    """Ask for a close behind as many requests as may wait, and read nothing."""
    client.sendall(HEALTH * (MAX_PIPELINED - 1) + LAST_HEALTH)
    begun = time.monotonic()
    while time.monotonic() < begun + PATIENCE_SECONDS:
        try:
            client.sendall(b"x")
        except ConnectionError:
            return begun
        time.sleep(0.4)
    raise AssertionError("it was not closed")


OWING: dict[str, tuple[Sends, float]] = {
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

    def owe(name: str, send: Sends) -> None:
        with connect(server, receive_bytes=4_096) as client:
            waited_since = send(client)
        took[name] = time.monotonic() - waited_since

    threads = [threading.Thread(target=owe, args=(name, send)) for name, (send, _) in OWING.items()]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        # New connections: on a busy machine this thread can come back so late that the server has
        # closed the one before as idle.
        with connect(server) as faithful:
            for request in (HEALTH, LAST_HEALTH):
                faithful.sendall(request)
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
