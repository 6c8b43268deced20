"""A client of sockets, for requests that no HTTP library would send."""

from __future__ import annotations

import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from support.waits import PATIENCE_SECONDS
from support.wire import Server

HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
LAST_HEALTH = HEALTH[:-2] + b"connection: close\r\n\r\n"
POST = b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"


def connect(
    server: Server, source: str = "127.0.0.1", receive_bytes: int | None = None
) -> socket.socket:
    client = socket.socket()
    if receive_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.settimeout(PATIENCE_SECONDS)
    client.bind((source, 0))
    client.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
    return client


def read_to_end(client: socket.socket) -> bytes:
    """All that comes until the server closes the connection; fails if it does not."""
    said = b""
    with suppress(ConnectionError):
        while part := client.recv(1 << 16):
            said += part
    return said


def read_answer(client: socket.socket) -> bytes:
    """One whole answer."""
    said = b""
    while b"\r\n\r\n" not in said:
        part = client.recv(1 << 12)
        assert part, "closed without an answer"
        said += part
    head, _, body = said.partition(b"\r\n\r\n")
    left = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0]) - len(body)
    while left > 0:
        left -= len(part := client.recv(left))
        said += part
    return said


def is_open(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


@contextmanager
def file_limit(files: int) -> Iterator[None]:
    """Sets the limit of open files for this process and those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def check_health(server: Server, seconds: float = 5) -> None:
    """A health check on a new connection; a busy machine can need some time for it."""
    with connect(server) as client:
        client.settimeout(seconds)
        client.sendall(HEALTH)
        assert client.recv(12) == b"HTTP/1.1 200"
