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


OWING: dict[str, Callable[[socket.socket], None]] = {
    "nothing at all": _send_slowly(b"", b""),
    "half a head": _send_slowly(b"GET /healthz HT", b""),
    "a head by the byte": _send_slowly(b"GET /healthz HTTP/1.1\r\n", b"x"),
    "headers by the line": _send_slowly(b"GET /healthz HTTP/1.1\r\n", b"a: b\r\n"),
    "empty lines alone": _send_slowly(b"", b"\r\n"),
    "a second head by the byte": _send_slowly(HEALTH + b"GET /", b"x"),
    "empty lines after an answer": _send_slowly(HEALTH, b"\r\n"),
    "no second request": _send_slowly(HEALTH, b""),
    "no body": _send_slowly(POST + b"content-length: 99\r\n\r\n", b""),
    "a body by the byte": _send_slowly(POST + b"content-length: 9999\r\n\r\n{", b" "),
    "chunks without end": _send_slowly(POST + b"transfer-encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "trailers without end": _send_slowly(
        POST + b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n", b"a: b\r\n"
    ),
    "a body that nobody waits for": _send_slowly(
        b"GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 99999\r\n\r\n", b" "
    ),
    "a continued body": _send_slowly(
        POST + b"content-length: 99\r\nexpect: 100-continue\r\n\r\n", b""
    ),
    "answers that it does not read": _never_read,
    "a last answer that it does not read": _never_read_the_last,
}


def test_slow_clients_are_closed(start: StartServer) -> None:
    """Each is closed in time, others are served meanwhile, and the log gets a line a minute."""
    began = time.monotonic()
    server = start()
    closed: set[str] = set()

    def owe(name: str, send: Callable[[socket.socket], None]) -> None:
        with connect(server, receive_bytes=4_096) as client, suppress(ConnectionError):
            send(client)
        closed.add(name)

    threads = [threading.Thread(target=owe, args=(name, send)) for name, send in OWING.items()]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        # A connection for each question: on a busy machine this thread can come back so late that
        # the server has closed the one before as idle.
        with connect(server) as faithful:
            faithful.sendall(LAST_HEALTH)
            assert read_answer(faithful).startswith(b"HTTP/1.1 200 ")
        threads[0].join(1)
    # Whoever was never closed has raised instead, after the test's patience.
    assert closed == OWING.keys()
    # The first line says where it listens. The others come once a minute.
    minutes = (time.monotonic() - began) / connections.LOG_SECONDS
    assert 1 <= len(server.log[1:]) <= minutes + 1
    assert [
        line
        for line in server.log[1:]
        if not re.fullmatch(r"WARNING connections closed: [\d a-z,]+\n", line)
    ] == []
