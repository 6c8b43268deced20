"""Requests that are too large, too many, or not HTTP."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass

import pytest
from support.raw_http import (
    HEALTH,
    POST,
    check_health,
    connect,
    read_answer,
    read_to_end,
)
from support.waits import until
from support.wire import Server, StartServer, code

from signal_pipeline.api.protocol import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    MAX_PIPELINED,
    MAX_REQUEST_BYTES,
)

pytestmark = pytest.mark.embedded_only


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
    with connect(api) as client:
        with suppress(ConnectionError):
            size = 8_000 if pieces else len(head.text)
            for at in range(0, len(head.text), size):
                client.sendall(head.text[at : at + size])
            client.sendall(b"\r\n")
        if head.taken:
            assert read_answer(client).startswith(b"HTTP/1.1 ")
            client.sendall(HEALTH)
            assert read_answer(client).startswith(b"HTTP/1.1 200")
        else:  # A client that goes on sending can be reset before it has read why.
            assert read_to_end(client)[:13] in (b"", b"HTTP/1.1 431 ")
    check_health(api)


def test_too_many_headers_are_answered(api: Server) -> None:
    with connect(api) as client:
        client.sendall(HEADS["one header more"].text + b"\r\n")
        said = read_to_end(client)
    assert said.startswith(b"HTTP/1.1 431 ")
    assert b"HEADERS_TOO_LARGE" in said


def test_not_http(start: StartServer) -> None:
    """Bytes that are not HTTP are answered, and logged once a minute."""
    server = start()
    for _ in range(30):
        with connect(server) as client:
            client.sendall(b"\x16\x03\x01 nonsense\r\n\r\n")
            assert read_to_end(client).startswith(b"HTTP/1.1 400 ")
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
    with connect(api) as client:
        client.sendall(text + b"\r\n" + body + b"content-type: application/json\r\n\r\n")
        assert read_answer(client).startswith(b"HTTP/1.1 415 ")
        client.sendall(text + b"content-type: application/json\r\n\r\n" + body + b"\r\n")
        assert read_answer(client).startswith(b"HTTP/1.1 200 ")


def test_a_body_of_frames_and_trailers_is_bounded(api: Server) -> None:
    with connect(api) as client:
        with suppress(ConnectionError):
            client.sendall(
                POST + b"transfer-encoding: chunked\r\n\r\n0\r\n" + b"a: b\r\n" * (1 << 20)
            )
        assert b" 200 " not in read_to_end(client)[:13]


@pytest.mark.parametrize("rest", [b"no length\r\n", b"1;" + b"x" * MAX_REQUEST_BYTES])
def test_a_request_that_was_answered_gets_no_second_answer(api: Server, rest: bytes) -> None:
    """Its body goes on after the answer, and is refused."""
    with connect(api) as client:
        client.sendall(b"POST /graphql HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        assert read_answer(client).startswith(b"HTTP/1.1 415 ")
        with suppress(ConnectionError):
            client.sendall(rest)
        assert read_to_end(client) == b""
    check_health(api)


def test_pipelined_requests(api: Server) -> None:
    """They are answered in order, up to a bound."""
    with connect(api) as client:
        client.sendall((HEALTH + HEALTH.replace(b"/healthz", b"/nothing")) * (MAX_PIPELINED // 2))
        said = b""
        while said.count(b"HTTP/1.1 ") < MAX_PIPELINED:
            said += client.recv(1 << 16)
        assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"200", b"404"] * (MAX_PIPELINED // 2)
    with connect(api) as client:
        with suppress(ConnectionError):
            client.sendall(HEALTH * 20_000)
        assert read_to_end(client).count(b"HTTP/1.1 ") < 20_000
    check_health(api)


def test_upgrade_is_ignored(api: Server) -> None:
    """A request for another protocol is answered as plain HTTP."""
    with connect(api) as client:
        client.sendall(HEALTH[:-2] + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n")
        assert read_answer(client).startswith(b"HTTP/1.1 200 ")
    assert not [line for line in api.log if "upgrade" in line.lower()]


def test_a_refusal_has_a_code_like_every_other(api: Server) -> None:
    answer = api.client.get(f"{api.url}/healthz", headers={"a": "x" * (MAX_HEAD_BYTES + 1)})
    assert (answer.status_code, code(answer.json())) == (431, "HEADERS_TOO_LARGE")
