"""A gateway, an issuer and a server for the tests of the wire.

The keys, the signatures and the process are real.
"""

from __future__ import annotations

import base64
import hmac
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt
from conftest import SECRET
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from support.commands import Done, run_in
from support.days import today
from support.traffic import CHROME
from support.waits import PATIENCE_SECONDS

from signal_pipeline.postgres.database import Database

GATEWAY_SECRET = "a-secret-that-only-the-gateway-has"
ISSUER, AUDIENCE = "https://issuer.example.org/project", "project"
SERVICE_KEY = "svc-key-of-a-dashboard"
ADDRESS = "203.0.113.9"
CREATE = (
    "mutation ($input: EventCreateInput!) { eventCreate(input: $input) { id clientEventId userHash"
    " createdAt } }"
)
CREATE_MANY = (
    "mutation ($input: [EventCreateInput!]!) { eventCreateMany(input: $input) { clientEventId } }"
)


# `serve` promises 20 s; a busy machine can take ten times as long.
STOP_PATIENCE_SECONDS = 200


def event(**changes: object) -> dict[str, object]:
    """One good input; a change to None removes the key."""
    fields: dict[str, object] = {
        "eventType": "journey_create_clicked",
        "appName": "journeys-admin",
        "route": "/journeys",
        "clientEventId": str(uuid.uuid4()),
        **changes,
    }
    return {key: value for key, value in fields.items() if value is not None}


def sign(query: str, variables: object, secret: str = GATEWAY_SECRET) -> str:
    """The gateway's signature of values whose JSON Python and JavaScript print alike.

    test_signature has the others.
    """
    signed = {"query": query, **({"variables": variables} if variables else {})}
    text = json.dumps(signed, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return base64.b64encode(
        hmac.digest(secret.encode(), text.encode("utf-8", "replace"), "sha256")
    ).decode()


class Issuer:
    """An issuer of login tokens."""

    def __init__(self, key_id: str = "key-1") -> None:
        self.key_id = key_id
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def jwk(self) -> dict[str, Any]:
        """Its public key."""
        return {
            **jwt.algorithms.RSAAlgorithm.to_jwk(self._key.public_key(), as_dict=True),
            "kid": self.key_id,
            "alg": "RS256",
        }

    def public_pem(self) -> str:
        """Its public key, as PEM."""
        return (
            self._key.public_key()
            .public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            .decode()
        )

    def claims(self, uid: str = "user-1", **changes: object) -> dict[str, object]:
        """The claims of a good token; a change to None removes one."""
        now = int(time.time())
        every = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + 600,
            "sub": uid,
            "user_id": uid,
            **changes,
        }
        return {name: value for name, value in every.items() if value is not None}

    def token(self, claims: dict[str, object], **headers: object) -> str:
        """A signed token."""
        return jwt.encode(claims, self._key, "RS256", {"kid": self.key_id, **headers})


@dataclass
class Server:
    """A running `signal-pipeline serve`, and the calls that the gateway would make."""

    process: subprocess.Popen[str]
    url: str
    issuer: Issuer
    log: list[str] = field(default_factory=list)
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=PATIENCE_SECONDS))

    def post(self, request: dict[str, Any]) -> httpx.Response:
        """Send a request that `request` made."""
        return self.client.post(f"{self.url}/graphql", **request)

    def request(
        self,
        query: str,
        variables: dict[str, object] | None = None,
        *,
        uid: str | None = "user-1",
        claims: dict[str, object] | None = None,
        headers: dict[str, str] | None = None,
        extensions: dict[str, object] | None = None,
        **more: object,
    ) -> dict[str, Any]:
        """The request that the gateway would send for a person (None: for nobody).

        Every part can be replaced.
        """
        all_headers = {
            "content-type": "application/json",
            "user-agent": CHROME,
            "x-forwarded-for": ADDRESS,
        }
        parts: dict[str, object] = {"hmac-signature": sign(query, variables)}
        if claims is None and uid is not None:
            claims = self.issuer.claims(uid)
        if claims is not None:
            all_headers["authorization"] = f"JWT {self.issuer.token(claims)}"
            parts["jwt"] = {"payload": claims}
        body: dict[str, object] = {
            "query": query,
            "extensions": {**parts, **(extensions or {})},
            **more,
        }
        if variables is not None:
            body["variables"] = variables
        body["extensions"] = {k: v for k, v in body["extensions"].items() if v is not None}  # type: ignore[union-attr, attr-defined]
        all_headers |= headers or {}
        return {
            "content": json.dumps(body).encode(),
            "headers": {k: v for k, v in all_headers.items() if v is not None},
        }

    def call(
        self, query: str, variables: dict[str, object] | None = None, **changes: Any
    ) -> httpx.Response:
        """Send it."""
        return self.post(self.request(query, variables, **changes))

    def create(self, fields: dict[str, object] | None = None, **changes: Any) -> dict[str, Any]:
        """Send one event; return the answer's body."""
        answer: dict[str, Any] = self.call(CREATE, {"input": fields or event()}, **changes).json()
        return answer

    def sign_text(self, text: str) -> str:
        """The gateway's signature of a canonical text."""
        return base64.b64encode(
            hmac.digest(GATEWAY_SECRET.encode(), text.encode(), "sha256")
        ).decode()

    def expected_hash(self, host: str, ip: str, agent: str) -> bytes:
        """Today's user hash, by the formula of the requirement."""
        day = today().isoformat()
        salt = hmac.digest(SECRET.encode(), day.encode(), "sha256")
        return hmac.digest(salt, f"{host}\x1f{ip}\x1f{agent}".encode(), "sha256")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Tell it to stop, and wait; return its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(STOP_PATIENCE_SECONDS)


StartServer = Callable[..., Server]  # The fixture `start`.


def outcome(answer: dict[str, Any]) -> tuple[str, str | None]:
    """The outcome and reason of the only event of an answer."""
    said = answer["extensions"]["signal"]
    return said["outcome"], said["reason"]


def code(answer: dict[str, Any]) -> str:
    """The code of the only error of an answer."""
    (error,) = answer["errors"]
    return str(error["extensions"]["code"])


def write_jwks(path: Path, *issuers: Issuer) -> Path:
    """A JWKS file."""
    path.write_text(json.dumps({"keys": [issuer.jwk() for issuer in issuers]}))
    return path


def start_server(
    issuer: Issuer, environment: dict[str, str], folder: Path, *arguments: str
) -> Server:
    """Start `serve` on a free port and wait until it listens.

    If it ends before, fail with its output.
    """
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SIGNAL", "DAGSTER"))
    }
    command = [
        sys.executable,
        "-c",
        "from signal_pipeline.cli import main; main()",
        "serve",
        "--port",
        "0",
        *arguments,
    ]
    process = subprocess.Popen(
        command, env={**clean, **environment}, cwd=folder, stderr=subprocess.PIPE, text=True
    )
    log: list[str] = []
    assert process.stderr is not None
    for line in process.stderr:
        log.append(line)
        found = re.search(r"http://[^/ ]+", line)
        if found:
            break
    else:
        raise AssertionError(f"serve ended with {process.wait()}: {''.join(log)}")
    stream = process.stderr
    threading.Thread(
        target=lambda: log.extend(stream), daemon=True
    ).start()  # A full pipe would stop the server.
    return Server(process, found[0], issuer, log)


def run(environment: dict[str, str], *arguments: str) -> Done:
    """Run the command with these settings; it is expected to end by itself."""
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SIGNAL", "DAGSTER"))
    }
    folder = Path(environment.get("SIGNAL_HOME", "/"))
    folder.mkdir(parents=True, exist_ok=True)
    return run_in({**clean, **environment}, *arguments, cwd=folder)


def counts(database: Database) -> tuple[int, int]:
    """Stored events, and everything in the books."""
    with database.connect() as connection:
        row = connection.execute(
            "select (select count(*) from signal.events), (select coalesce(sum(events), 0) from"
            " signal.books)"
        ).fetchone()
    assert row is not None
    return int(str(row[0])), int(str(row[1]))
