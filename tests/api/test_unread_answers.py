"""Clients that do not read their answers, against a server in this process.

Its system buffers are small, and its answers are large.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import uvicorn
from support.raw_http import HEALTH, LAST_HEALTH, PATIENCE_SECONDS
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.server import ServerState

from signal_pipeline.api import connections
from signal_pipeline.api.connections import Connections, Limits
from signal_pipeline.api.protocol import BoundedProtocol

pytestmark = pytest.mark.embedded_only

ANSWER = b"a" * 50_000  # More than the small buffers below take, less than 64 KiB.


@dataclass
class LocalServer:
    """A server in this process, whose system buffers are small and whose answers are large."""

    port: int = 0
    state: ServerState = field(default_factory=ServerState)
    made: list[BoundedProtocol] = field(default_factory=list)
    may_answer: asyncio.Event = field(default_factory=asyncio.Event)

    async def connect(self, text: bytes) -> socket.socket:
        """A client that has sent a text and reads nothing."""
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(client, ("127.0.0.1", self.port))
        await loop.sock_sendall(client, text)
        return client

    async def app(self, scope: Scope, _: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Answer at once, or what is asked for at /later when it may be."""
        if scope["type"] == "http" and scope["path"] == "/later":
            await self.may_answer.wait()
        length = (b"content-length", str(len(ANSWER)).encode())
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": ANSWER, "more_body": False})


@asynccontextmanager
async def local_server() -> AsyncIterator[LocalServer]:
    here = LocalServer()
    config = uvicorn.Config(here.app, interface="asgi3", ws="none", log_config=None)
    config.load()
    shared = Connections(Limits())

    def protocol() -> BoundedProtocol:
        here.made.append(
            BoundedProtocol(lambda: shared, config=config, server_state=here.state, app_state={})
        )
        return here.made[-1]

    listener = socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
    here.port = listener.getsockname()[1]
    server = await asyncio.get_running_loop().create_server(protocol, sock=listener)
    try:
        yield here
    finally:
        server.close()
        for each in here.made:
            if each in here.state.connections:
                each.transport.abort()


async def wait_until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


async def read_answers(client: socket.socket, answers: int = 1 << 30) -> bytes:
    """All that comes until so many answers are there, or until the server closes."""
    said = b""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while said.count(b"a" * len(ANSWER)) < answers:
            part = await asyncio.get_running_loop().sock_recv(client, 1 << 16)
            if not part:
                break
            said += part
    return said


@pytest.fixture(params=["asyncio", "uvloop"])
def run_scenario(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[LocalServer], Awaitable[None]]], None]:
    """Runs a scenario against a server in this process, whose idle connections are closed early."""
    monkeypatch.setattr(connections, "KEEP_ALIVE_SECONDS", 0.1)
    monkeypatch.setattr(connections, "SWEEP_SECONDS", 0.05)

    def run(scenario: Callable[[LocalServer], Awaitable[None]]) -> None:
        async def steps() -> None:
            async with local_server() as here:
                await scenario(here)

        factory = uvicorn.Config("", loop=request.param, log_config=None).get_loop_factory()
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(steps())

    return run


RunScenario = Callable[[Callable[[LocalServer], Awaitable[None]]], None]


@pytest.mark.parametrize(
    "text", [LAST_HEALTH, HEALTH + LAST_HEALTH, HEALTH], ids=["last", "pipelined", "kept"]
)
def test_unread_answer(
    run_scenario: RunScenario, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    """An answer that nobody reads is given up in time, even if the connection closes after it."""
    monkeypatch.setattr(connections, "READ_SECONDS", 0.2)

    async def scenario(here: LocalServer) -> None:
        with await here.connect(text):
            await wait_until(lambda: here.state.total_requests > 0)
            assert here.made[0].transport.get_write_buffer_size() > 0
            await wait_until(lambda: not here.state.connections)

    run_scenario(scenario)


@pytest.mark.parametrize("text", [HEALTH, LAST_HEALTH], ids=["kept", "last"])
def test_answer_read_late(run_scenario: RunScenario, text: bytes) -> None:
    """A client has longer to read an answer than an idle connection lasts."""

    async def scenario(here: LocalServer) -> None:
        with await here.connect(text) as late:
            await wait_until(lambda: here.state.total_requests == 1)
            with await here.connect(HEALTH) as idle:  # Its idle time begins later, and ends.
                assert (await read_answers(idle)).endswith(ANSWER)
            assert (await read_answers(late)).endswith(ANSWER)

    run_scenario(scenario)


def test_next_answer_is_awaited(
    run_scenario: RunScenario,
) -> None:
    """A client that has read its answer owes nothing while the next one is made."""

    async def scenario(here: LocalServer) -> None:
        with await here.connect(HEALTH + HEALTH.replace(b"healthz", b"later")) as client:
            await wait_until(lambda: here.state.total_requests == 1)
            (connection,) = here.made
            assert connection.wait is not None
            assert await read_answers(client, answers=1)
            await wait_until(lambda: connection.wait is None)
            here.may_answer.set()
            assert await read_answers(client, answers=1)

    run_scenario(scenario)
