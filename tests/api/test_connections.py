"""Clients that connect and then misbehave.

They are silent, trickle, send floods of headers, do not read answers, or are too many at once.
"""

from __future__ import annotations

import asyncio
import re
import resource
import socket
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field

import pytest
import uvicorn
from hypothesis import given
from hypothesis import strategies as st
from support.wire import CREATE, Server, code, event, outcome, until
from uvicorn._types import ASGIReceiveCallable, ASGISendCallable, Scope
from uvicorn.server import ServerState

from signal_pipeline.api import connections
from signal_pipeline.api.connections import Connections, Limits, Wait, connection_limits
from signal_pipeline.api.protocol import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_PIPELINED,
    BoundedProtocol,
)
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import SettingsError, load_settings

pytestmark = pytest.mark.embedded_only

StartServer = Callable[..., Server]
HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
LAST_HEALTH = HEALTH[:-2] + b"connection: close\r\n\r\n"
POST = b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
PATIENCE = 90.0


def _connect(
    server: Server, source: str = "127.0.0.1", receive_bytes: int | None = None
) -> socket.socket:
    client = socket.socket()
    if receive_bytes is not None:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    client.settimeout(PATIENCE)
    client.bind((source, 0))
    client.connect(("127.0.0.1", int(server.url.rpartition(":")[2])))
    return client


def _said(client: socket.socket) -> bytes:
    """All that comes until the server closes the connection; fails if it does not."""
    said = b""
    with suppress(ConnectionError):
        while part := client.recv(1 << 16):
            said += part
    return said


def _answer(client: socket.socket) -> bytes:
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


def _is_open(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


@contextmanager
def _file_limit(files: int) -> Iterator[None]:
    """Sets the limit of open files for this process and those that it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _healthy(server: Server, seconds: float = 5) -> None:
    """A health check on a new connection; a busy machine can need some time for it."""
    with _connect(server) as client:
        client.settimeout(seconds)
        client.sendall(HEALTH)
        assert client.recv(12) == b"HTTP/1.1 200"


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


def test_whoever_owes_something_is_closed_in_time_and_logged_once_a_minute(
    start: StartServer,
) -> None:
    server = start()
    took: dict[str, float] = {}

    def owe(name: str, send: Callable[[socket.socket], None]) -> None:
        begun = time.monotonic()
        with _connect(server, receive_bytes=4_096) as client, suppress(ConnectionError):
            send(client)
        took[name] = time.monotonic() - begun

    threads = [threading.Thread(target=owe, args=(name, send)) for name, (send, _) in OWING.items()]
    for thread in threads:
        thread.start()
    with _connect(server) as faithful:
        while any(thread.is_alive() for thread in threads):
            faithful.sendall(HEALTH)
            assert _answer(faithful).startswith(b"HTTP/1.1 200 ")
            threads[0].join(1)
    assert took.keys() == OWING.keys()  # Whoever was never closed has raised instead.
    # A busy machine is late. An unbounded wait takes until the test's patience is over.
    late = {name: seconds for name, seconds in took.items() if not seconds < OWING[name][1] + 40}
    assert not late
    assert (
        1 <= len(server.log[1:]) <= 4
    )  # The first line says where it listens; the others come once a minute.
    assert [
        line
        for line in server.log[1:]
        if not re.fullmatch(r"WARNING connections closed: [\d a-z,]+\n", line)
    ] == []


SILENT = {
    "silent": b"",
    "half a head": b"POST /graphql HTTP/1.1\r\nhost: x\r\n",
    "half a body": POST + b"content-length: 100\r\n\r\n{",
    "idle": HEALTH,
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 3,
}


def test_a_thousand_silent_connections_shut_nobody_out(start: StartServer) -> None:
    """The file limit is far too low for them."""
    with _file_limit(256):
        server = start(
            SIGNAL_TRUSTED_PROXIES="127.0.0.0/8"
        )  # All come from proxies, so no limit per peer helps.
    for text in SILENT.values():
        with ExitStack() as opened:
            for _ in range(1_000 if not text else 400):
                client = opened.enter_context(_connect(server))
                with suppress(ConnectionError):
                    client.sendall(text)
            for _ in range(3):
                _healthy(server)
            assert outcome(server.create()) == ("accepted", None)
    assert server.client.get(f"{server.url}/readyz").status_code == 200
    assert len([line for line in server.log if "connections closed" in line]) <= 4
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
def test_one_peer_leaves_room_for_others_unless_it_is_a_trusted_proxy(start: StartServer) -> None:
    limits = {"SIGNAL_MAX_CONNECTIONS": "20", "SIGNAL_MAX_CONNECTIONS_PER_PEER": "4"}
    server = start(**limits, SIGNAL_TRUSTED_PROXIES="127.0.0.9/32")
    with ExitStack() as opened:
        first = [opened.enter_context(_connect(server, "127.0.0.2")) for _ in range(3)]
        many = [opened.enter_context(_connect(server, "127.0.0.3")) for _ in range(12)]
        proxied = [opened.enter_context(_connect(server, "127.0.0.9")) for _ in range(8)]
        until(lambda: sum(map(_is_open, many)) == 4)
        assert all(
            map(_is_open, [*many[-4:], *first, *proxied])
        )  # The oldest connection of the peer with too many made room.


def test_whom_nothing_makes_room_for_is_told_to_come_again(
    start: StartServer, rows: Connection
) -> None:
    server = start(SIGNAL_MAX_CONNECTIONS_PER_PEER="2", SIGNAL_TRUSTED_PROXIES=None)
    request = server.request(CREATE, {"input": event()})
    head = "".join(f"{name}: {value}\r\n" for name, value in request["headers"].items())
    whole = (
        f"POST /graphql HTTP/1.1\r\nhost: x\r\n{head}content-length:"
        f" {len(request['content'])}\r\n\r\n".encode()
    )
    with ExitStack() as opened, rows.transaction():
        rows.execute("lock table signal.event_keys in exclusive mode")
        busy = [opened.enter_context(_connect(server)) for _ in range(2)]
        for client in busy:
            client.sendall(whole + request["content"])
        until(lambda: _answers(rows) > 0)
        refused = opened.enter_context(_connect(server))
        said = _said(refused)
        assert said.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in said
        assert b"SERVICE_UNAVAILABLE" in said
        assert all(map(_is_open, busy))
    until(lambda: "refused because every connection was busy" in "".join(server.log))


def _answers(rows: Connection) -> int:
    """Transactions that wait for our lock."""
    row = rows.execute("select count(*) from pg_locks where not granted").fetchone()
    assert row is not None
    return int(str(row[0]))


@dataclass(frozen=True)
class Head:
    """The text before the empty line, and whether it is accepted."""

    text: bytes
    taken: bool


LINES = b"GET /healthz HTTP/1.1\r\n"
HEADS = {
    "a large header": Head(LINES + b"a: " + b"x" * (MAX_HEAD_BYTES - 100) + b"\r\n", True),
    "a header that is too large": Head(LINES + b"a: " + b"x" * MAX_HEAD_BYTES + b"\r\n", False),
    "a header of 48 MB": Head(LINES + b"a: " + b"x" * (48 << 20) + b"\r\n", False),
    "a name of 1 MB": Head(LINES + b"a" * (1 << 20) + b": b\r\n", False),
    "an address of 1 MB": Head(b"GET /" + b"x" * (1 << 20) + b" HTTP/1.1\r\n", False),
    "as many headers as may be": Head(LINES + b"a: b\r\n" * MAX_HEADERS, True),
    "one header more": Head(LINES + b"a: b\r\n" * (MAX_HEADERS + 1), False),
    "a million headers": Head(LINES + b"a:\r\n" * 1_000_000, False),
    "many that are too large together": Head(LINES + (b"a: " + b"x" * 1_000 + b"\r\n") * 90, False),
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("pieces", [False, True])
def test_headers_are_bounded(api: Server, name: str, pieces: bool) -> None:
    head = HEADS[name]
    with _connect(api) as client:
        with suppress(ConnectionError):
            size = 8_000 if pieces else len(head.text)
            for at in range(0, len(head.text), size):
                client.sendall(head.text[at : at + size])
            client.sendall(b"\r\n")
        if head.taken:
            assert _answer(client).startswith(b"HTTP/1.1 ")
            client.sendall(HEALTH)
            assert _answer(client).startswith(b"HTTP/1.1 200")
        else:  # A client that goes on sending can be reset before it has read why.
            assert _said(client)[:13] in (b"", b"HTTP/1.1 431 ")
    _healthy(api)


def test_too_many_headers_are_answered(api: Server) -> None:
    with _connect(api) as client:
        client.sendall(HEADS["one header more"].text + b"\r\n")
        said = _said(client)
    assert said.startswith(b"HTTP/1.1 431 ")
    assert b"HEADERS_TOO_LARGE" in said


def test_what_is_no_http_is_answered_and_logged_once_a_minute(start: StartServer) -> None:
    server = start()
    for _ in range(30):
        with _connect(server) as client:
            client.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
            assert _said(client).startswith(b"HTTP/1.1 400 ")
    until(lambda: any("sent no valid HTTP" in line for line in server.log))
    assert len(server.log) <= 3


def test_trailers_are_no_headers(api: Server) -> None:
    """Headers say who calls and from where, so the writer of a body must not add to them."""
    request = api.request("{ __typename }")
    head = "".join(
        f"{name}: {value}\r\n"
        for name, value in request["headers"].items()
        if name != "content-type"
    )
    body = b"%x\r\n%s\r\n0\r\n" % (len(request["content"]), request["content"])
    text = f"POST /graphql HTTP/1.1\r\nhost: x\r\n{head}transfer-encoding: chunked\r\n".encode()
    with _connect(api) as client:
        client.sendall(text + b"\r\n" + body + b"content-type: application/json\r\n\r\n")
        assert _answer(client).startswith(b"HTTP/1.1 415 ")
        client.sendall(text + b"content-type: application/json\r\n\r\n" + body + b"\r\n")
        assert _answer(client).startswith(b"HTTP/1.1 200 ")


def test_a_body_of_frames_and_trailers_is_bounded(api: Server) -> None:
    with _connect(api) as client:
        with suppress(ConnectionError):
            client.sendall(
                POST + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * (1 << 20)
            )
        assert b" 200 " not in _said(client)[:13]


def test_pipelined_requests_are_answered_in_order_up_to_a_bound(api: Server) -> None:
    with _connect(api) as client:
        client.sendall((HEALTH + HEALTH.replace(b"/healthz", b"/nothing")) * (MAX_PIPELINED // 2))
        said = b""
        while said.count(b"HTTP/1.1 ") < MAX_PIPELINED:
            said += client.recv(1 << 16)
        assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"200", b"404"] * (MAX_PIPELINED // 2)
    with _connect(api) as client:
        with suppress(ConnectionError):
            client.sendall(HEALTH * 20_000)
        assert _said(client).count(b"HTTP/1.1 ") < 20_000
    _healthy(api)


def test_an_upgrade_to_another_protocol_is_answered_without_it(api: Server) -> None:
    with _connect(api) as client:
        client.sendall(HEALTH[:-2] + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n")
        assert _answer(client).startswith(b"HTTP/1.1 200 ")
    assert not [line for line in api.log if "upgrade" in line.lower()]


@pytest.mark.parametrize(
    ("files", "wanted", "said"),
    [
        (512, "5000", "SIGNAL_MAX_CONNECTIONS"),
        (80, None, "ulimit -n"),
        (None, "3", "SIGNAL_MAX_CONNECTIONS"),
    ],
)
def test_a_file_limit_that_is_too_low_is_an_error_at_start(
    monkeypatch: pytest.MonkeyPatch, files: int | None, wanted: str | None, said: str
) -> None:
    if wanted is not None:
        monkeypatch.setenv("SIGNAL_MAX_CONNECTIONS", wanted)
    with ExitStack() as limited:
        if files is not None:
            limited.enter_context(_file_limit(files))
        with pytest.raises(SettingsError, match=said):
            connection_limits(load_settings())


class _Client:
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
def test_the_limits_hold_and_only_who_waits_makes_room(steps: list[tuple[str | None, str]]) -> None:
    async def take() -> None:
        shared = Connections(Limits(in_all=8, per_peer=3), load_settings_networks())
        taken: list[tuple[_Client, str | None, str]] = []
        for peer, kind in steps:
            client = _Client()
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


def load_settings_networks() -> tuple[connections.Network, ...]:
    """The networks of a proxy that we trust."""
    return (connections.ip_network("10.0.0.0/8"),)


def test_a_refusal_has_a_code_like_every_other(api: Server) -> None:
    answer = api.client.get(f"{api.url}/healthz", headers={"a": "x" * (MAX_HEAD_BYTES + 1)})
    assert (answer.status_code, code(answer.json())) == (431, "HEADERS_TOO_LARGE")


ANSWER = b"a" * 50_000  # More than the small buffers below take, less than 64 KiB.


@dataclass
class _Here:
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
async def _here() -> AsyncIterator[_Here]:
    here = _Here()
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


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.01)


async def _read(client: socket.socket, answers: int = 1 << 30) -> bytes:
    """All that comes until so many answers are there, or until the server closes."""
    said = b""
    async with asyncio.timeout(PATIENCE):
        while said.count(b"a" * len(ANSWER)) < answers:
            part = await asyncio.get_running_loop().sock_recv(client, 1 << 16)
            if not part:
                break
            said += part
    return said


@pytest.fixture(params=["asyncio", "uvloop"])
def in_a_loop(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[_Here], Awaitable[None]]], None]:
    """Runs a scenario against a server in this process, whose idle connections are closed early."""
    monkeypatch.setattr(connections, "KEEP_ALIVE_SECONDS", 0.1)
    monkeypatch.setattr(connections, "SWEEP_SECONDS", 0.05)

    def run(scenario: Callable[[_Here], Awaitable[None]]) -> None:
        async def steps() -> None:
            async with _here() as here:
                await scenario(here)

        factory = uvicorn.Config("", loop=request.param, log_config=None).get_loop_factory()
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(steps())

    return run


InALoop = Callable[[Callable[[_Here], Awaitable[None]]], None]


@pytest.mark.parametrize(
    "text", [LAST_HEALTH, HEALTH + LAST_HEALTH, HEALTH], ids=["last", "pipelined", "kept"]
)
def test_an_unread_answer_is_bounded_even_behind_a_close(
    in_a_loop: InALoop, monkeypatch: pytest.MonkeyPatch, text: bytes
) -> None:
    monkeypatch.setattr(connections, "READ_SECONDS", 0.2)

    async def scenario(here: _Here) -> None:
        with await here.connect(text):
            await _until(lambda: here.state.total_requests > 0)
            assert here.made[0].transport.get_write_buffer_size() > 0
            await _until(lambda: not here.state.connections)

    in_a_loop(scenario)


@pytest.mark.parametrize("text", [HEALTH, LAST_HEALTH], ids=["kept", "last"])
def test_a_small_answer_may_be_read_later_than_an_idle_connection_lasts(
    in_a_loop: InALoop, text: bytes
) -> None:
    async def scenario(here: _Here) -> None:
        with await here.connect(text) as late:
            await _until(lambda: here.state.total_requests == 1)
            with await here.connect(HEALTH) as idle:  # Its idle time begins later, and ends.
                assert (await _read(idle)).endswith(ANSWER)
            assert (await _read(late)).endswith(ANSWER)

    in_a_loop(scenario)


def test_whoever_has_read_an_answer_owes_nothing_while_the_next_is_made(
    in_a_loop: InALoop,
) -> None:
    async def scenario(here: _Here) -> None:
        with await here.connect(HEALTH + HEALTH.replace(b"healthz", b"later")) as client:
            await _until(lambda: here.state.total_requests == 1)
            (connection,) = here.made
            assert connection.wait is not None
            assert await _read(client, answers=1)
            await _until(lambda: connection.wait is None)
            here.may_answer.set()
            assert await _read(client, answers=1)

    in_a_loop(scenario)
