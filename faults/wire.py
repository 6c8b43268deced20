"""Requests over HTTP as the gateway sends them, with token and signature, and their answers.

An answer says what became of each event.
"""

from __future__ import annotations

import itertools
import json
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from random import SystemRandom
from typing import Any

from faults.oracle import Line
from signal_pipeline.api.identity.development import local_gateway_secret, sample_request
from signal_pipeline.api.identity.signature import parse_wire_json, signature_of
from signal_pipeline.settings import Settings

CREATE_MANY = (
    "mutation ($input: [EventCreateInput!]!) { eventCreateMany(input: $input) { clientEventId } }"
)
FRESH_SECONDS = 2.0  # The server's bound is 5 s.
EVENTS_PER_USER = 40  # This is below the rate limit per minute.
ANSWER_SECONDS = 60.0
INPUTS = (
    "eventType",
    "appName",
    "route",
    "entityType",
    "entityId",
    "sessionId",
    "description",
    "clientEventId",
)
# The errors of a request whose answer did not come.
NO_ANSWER = (OSError, HTTPException)
Headers = Mapping[str, str | bytes]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered.

    `outcomes` has an entry for each event, in order; it is empty if the request was refused.
    """

    status: int
    body: Any

    @property
    def refused(self) -> bool:
        """True if the request was refused, whole or in part."""
        return self.status != 200 or "errors" in self.body

    @property
    def outcomes(self) -> list[tuple[str, str | None]]:
        """Outcome and reason of each event."""
        said = (
            self.body.get("extensions", {}).get("signal", {}) if isinstance(self.body, dict) else {}
        )
        return [(each["outcome"], each["reason"]) for each in said.get("events", [])]


class Gateway:
    """Signs requests of many people, each below the rate limit.

    Each thread has one; `name` distinguishes its people from those of others.
    """

    def __init__(self, settings: Settings, name: str, *, admin: bool = False) -> None:
        self._admin = admin
        self._settings = settings
        self._secret = local_gateway_secret(settings).encode()
        self._name = name
        self._left = 0
        self._numbers = itertools.count()
        self._headers: dict[str, str] = {}
        self._claims: object = None

    def body(self, query: str, variables: bytes, events: int = 1) -> tuple[bytes, dict[str, str]]:
        """Return a signed body around the text of the variables, and the sender's headers.

        The text should be JSON, but need not be.
        """
        if self._left < events:
            self._next_person()
        self._left -= events
        try:
            signature = signature_of(self._secret, query, parse_wire_json(variables))
        except (ValueError, RecursionError):
            signature = "bm8="  # Base64 of "no": a well-formed signature, and a wrong one.
        extensions = json.dumps(
            {"jwt": {"payload": self._claims}, "hmac-signature": signature}
        ).encode()
        text = b'{"query": %s, "variables": %s, "extensions": %s}' % (
            json.dumps(query).encode(),
            variables,
            extensions,
        )
        return text, self._headers

    def _next_person(self) -> None:
        user = f"{self._name}-{next(self._numbers)}"
        sample = sample_request(self._settings, user, admin=self._admin, analyst=False, url="")
        extensions = sample.body["extensions"]
        assert isinstance(extensions, dict)
        self._headers, self._claims, self._left = (
            sample.headers,
            extensions["jwt"]["payload"],
            EVENTS_PER_USER,
        )


class Client:
    """One connection to a server, opened again when it was lost."""

    def __init__(self, port: int, gateway: Gateway) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=ANSWER_SECONDS)
        self._gateway = gateway
        self._used_at = 0.0

    def connect(self) -> None:
        """Connect unless connected. Raises one of NO_ANSWER.

        The server closes connections that idle, perhaps just when the next request is sent. So a
        connection that has not been used for a while is opened again.
        """
        if time.monotonic() - self._used_at > FRESH_SECONDS:
            self._connection.close()
        if self._connection.sock is None:
            self._connection.connect()
            self._used_at = time.monotonic()

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def send(self, lines: Sequence[Line]) -> Answer:
        """Send lines of one person in one request.

        Raises one of NO_ANSWER; then it is not known whether the lines were stored.
        """
        inputs = [{name: line[name] for name in INPUTS if name in line} for line in lines]
        body, headers = self._gateway.body(
            CREATE_MANY, json.dumps({"input": inputs}).encode(), len(lines)
        )
        return self.post(
            body,
            {**headers, "x-forwarded-for": lines[0]["ip"], "user-agent": lines[0]["userAgent"]},
        )

    def post(self, body: bytes, headers: Headers) -> Answer:
        """Send a body. Raises one of NO_ANSWER."""
        try:
            self.connect()
            self._connection.request("POST", "/graphql", body, headers)
            response = self._connection.getresponse()
            content = response.read()
        except NO_ANSWER:
            self._connection.close()
            raise
        self._used_at = time.monotonic()
        try:
            return Answer(response.status, json.loads(content))
        except ValueError:  # The request was refused before it reached the application.
            return Answer(response.status, {})


def free_port() -> int:
    """Return a loopback port that nobody listens on.

    It lies below the ports that the kernel gives to clients, since these runs open thousands of
    client connections.
    """
    while True:
        port = SystemRandom().randrange(20_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def wait_until_up(port: int, seconds: float) -> bool:
    """Return whether a server answers within that time."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        with suppress(OSError), closing(socket.create_connection(("127.0.0.1", port), timeout=1)):
            return True
        time.sleep(0.05)
    return False


def of_one_person(lines: Sequence[Line], sizes: Iterator[int]) -> Iterator[list[Line]]:
    """Cut lines into requests; all lines of a request get the person of its first line."""
    at = 0
    while at < len(lines):
        taken = lines[at : at + next(sizes)]
        at += len(taken)
        yield [{**line, "ip": taken[0]["ip"], "userAgent": taken[0]["userAgent"]} for line in taken]
