"""Hostile connections to a real server that may open few files, and must still serve strangers.

A hostile connection is silent, trickles, floods, or never reads. The connections are on loopback,
and bounded in number and time.
"""

from __future__ import annotations

import resource
import socket
import time
from collections import Counter
from contextlib import ExitStack, closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from random import Random

from faults import actions, oracle
from faults.wire import NO_ANSWER, Client, Gateway, free_port, wait_until_up
from faults.world import PATIENCE_SECONDS, FaultFoundError, StuckError, World
from signal_pipeline.settings import load_settings

FILES = 256
OTHER_FILES = 500  # Files that this process may open beside its hostile connections.
PER_LOOK = 50  # Connections between two checks that a stranger is served.
HEALTH_SECONDS = 10.0  # A machine under load can need some seconds for a health check.
CLOSED_SECONDS = 60.0
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
POST = b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
FIRST = (
    b"",
    b"\r\n\r\n",
    b"G",
    b"GET /healthz HTTP/1.1\r\nhost: x\r\n",
    b"GET /healthz HTTP/1.1\r\na: " + b"x" * 100_000,
    b"GET /healthz HTTP/1.1\r\n" + b"a: b\r\n" * 5_000,
    b"GET /" + b"x" * 100_000,
    b"GET /healthz HTTP/1.1\r\ncontent-length: 100000\r\n\r\n",
    POST + b"content-length: 100000\r\n\r\n{",
    POST + b"content-length: 10\r\nexpect: 100-continue\r\n\r\n",
    POST + b"transfer-encoding: chunked\r\n\r\n5\r\n{",
    POST + b"transfer-encoding: chunked\r\n\r\n0\r\n",
    POST + b"transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    HEALTH,
    HEALTH * 90,
    HEALTH * 2_000,
    HEALTH + b"GET /",
    HEALTH[:-2] + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n",
)
AGAIN = (b"", b"x", b"\r\n", b"a: b\r\n", b"1\r\n \r\n", b"\x00\xff", HEALTH)


def by_connection(world: World, number: int, seed: int) -> str:
    """Open that many connections; return figures. Raises FaultFoundError and StuckError."""
    _allow_files(number + OTHER_FILES)
    random, port = Random(f"{seed}/connections"), free_port()
    server = world.start(serve_with_few_files, port, world.home / "spool-of-connections")
    if not wait_until_up(port, PATIENCE_SECONDS):
        raise FaultFoundError(f"seed {seed}: the API does not start")
    slowest = 0.0
    with (
        ExitStack() as opened,
        closing(Client(port, Gateway(load_settings(), "stranger"))) as stranger,
    ):
        clients: list[tuple[socket.socket, bytes]] = []
        for at in range(number):
            clients.append((opened.enter_context(_connect(port)), random.choice(AGAIN)))
            _send(clients[-1][0], random.choice(FIRST))
            if at % PER_LOOK == 0:
                for client, again in random.sample(clients, min(len(clients), PER_LOOK)):
                    _send(client, again)
                slowest = max(slowest, _demand_served(port, stranger, random, seed))
        left = _left_open([client for client, _ in clients])
    if left:
        raise FaultFoundError(
            f"seed {seed}: {left} hostile connection(s) are open after {CLOSED_SECONDS:.0f} s"
        )
    server.terminate()
    server.join(PATIENCE_SECONDS)
    if server.exitcode != 0:
        server.kill()
        raise FaultFoundError(f"seed {seed}: the API ended with {server.exitcode}")
    return (
        f"{number:,} connections to a server with {FILES} files, slowest health check"
        f" {slowest * 1000:.0f} ms"
    )


def _allow_files(number: int) -> None:
    """Raise this process's limit of open files to `number` if it is lower. Raises StuckError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < number:
        raise StuckError(
            f"the hostile connections need {number:,} open files, and the hard limit is {hard:,}:"
            " raise it, or give fewer --connections"
        )
    if soft != resource.RLIM_INFINITY and soft < number:
        resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))


def serve_with_few_files(port: int, spool: Path) -> None:
    """Serve with a low limit of open files."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    actions.serve(port, spool, None)


def _connect(port: int) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=HEALTH_SECONDS)
    client.setblocking(False)
    return client


def _send(client: socket.socket, text: bytes) -> None:
    with suppress(OSError):  # The connection is closed, or full because this client never reads.
        client.send(text)


def _demand_served(port: int, stranger: Client, random: Random, seed: int) -> float:
    """Check the health on a new connection, and have an event accepted.

    Returns the seconds that the health check took.
    """
    begun = time.monotonic()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=HEALTH_SECONDS) as client:
            client.sendall(HEALTH)
            healthy = client.recv(12) == b"HTTP/1.1 200"
        seconds = time.monotonic() - begun
        event = oracle.lines_of(datetime.now(UTC).date(), oracle.OF_API, 1, random)
        answers = Counter(_outcome(stranger, event) for _ in range(2))
    except OSError as error:
        raise FaultFoundError(
            f"seed {seed}: a stranger is not served: {type(error).__name__}"
        ) from None
    if not healthy or not {"accepted", "duplicate"} & set(answers):
        raise FaultFoundError(
            f"seed {seed}: healthy {healthy}, a stranger's event: {dict(answers)}"
        )
    return seconds


def _outcome(stranger: Client, event: list[oracle.Line]) -> str:
    """Return the outcome of an event.

    It is `lost` if the stranger's idle connection was closed to make room for another.
    """
    try:
        answer = stranger.send(event)
    except NO_ANSWER:
        return "lost"
    return answer.outcomes[0][0] if answer.outcomes else str(answer.status)


def _left_open(clients: list[socket.socket]) -> int:
    """Return how many connections the server has not closed in time.

    A client learns that its connection is closed only by reading.
    """
    give_up = time.monotonic() + CLOSED_SECONDS
    while clients and time.monotonic() < give_up:
        clients = [client for client in clients if _is_open(client)]
        time.sleep(0.2)
    return len(clients)


def _is_open(client: socket.socket) -> bool:
    try:
        while client.recv(1 << 16):
            pass
    except BlockingIOError:
        return True
    except OSError:
        pass
    return False
