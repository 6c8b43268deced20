"""A real gateway and a real composer in front of a real server.

Skipped where node or its registry is missing.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from filelock import FileLock
from support.client import install_client
from support.traffic import CHROME
from support.wire import AUDIENCE, GATEWAY_SECRET, ISSUER, Issuer, Server, code, event

from signal_pipeline.api.graphql.schema import sdl
from signal_pipeline.postgres.database import Connection

pytestmark = pytest.mark.embedded_only

PROJECT = Path(__file__).with_name("gateway")
START_SECONDS = 90
OTHER_SUBGRAPH = """
extend schema @link(url: "https://specs.apollo.dev/federation/v2.6", import: ["@key"])
type Query { me: User }
type User @key(fields: "id") { id: ID! name: String }
"""
CREATE = (
    "mutation Create($input: EventCreateInput!) { eventCreate(input: $input) { id description } }"
)


@pytest.fixture(scope="module")
def node_project() -> Path:
    """The gateway and the composer, installed once into a cache folder outside the tree."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node or npm is missing: the real gateway was not tried")
    cache = (
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "signal-pipeline-tests"
    )
    wanted = hashlib.sha256((PROJECT / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = cache / f"gateway-{wanted}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        for file in PROJECT.iterdir():
            if file.is_file():
                shutil.copy(file, folder)
        if not (folder / ".installed").exists():
            command = [
                "npm",
                "ci",
                "--ignore-scripts",
                "--no-audit",
                "--no-fund",
                "--loglevel=error",
            ]
            done = subprocess.run(
                command, cwd=folder, capture_output=True, timeout=280, check=False
            )
            if done.returncode:
                pytest.skip("npm ci failed: the real gateway was not tried")
            (folder / ".installed").touch()
    return folder


def compose(project: Path, folder: Path, url: str) -> Path:
    """The supergraph of Signal and another subgraph; fails with the composer's words."""
    signal_sdl, other_sdl, supergraph = (
        folder / "signal.graphql",
        folder / "other.graphql",
        folder / "supergraph.graphql",
    )
    signal_sdl.write_text(sdl())
    other_sdl.write_text(OTHER_SUBGRAPH)
    subgraphs = ["signal", url, signal_sdl, "users", "http://127.0.0.1:1/graphql", other_sdl]
    done = subprocess.run(
        ["node", "compose.mjs", *map(str, subgraphs)], cwd=project, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    supergraph.write_bytes(done.stdout)
    return supergraph


def test_the_sdl_composes_with_another_subgraph(node_project: Path, tmp_path: Path) -> None:
    text = compose(node_project, tmp_path, "http://127.0.0.1:1/graphql").read_text()
    for part in (
        "eventCreate(input: EventCreateInput!): Event",
        "scalar Json",
        "me: User @join__field(graph: USERS)",
    ):
        assert part in text
    assert "_service" not in text


@dataclass(frozen=True)
class Gateway:
    """A running gateway, which an app calls."""

    url: str
    issuer: Issuer

    def call(
        self,
        query: str,
        variables: dict[str, object] | None = None,
        token: str | None = None,
        **more: object,
    ) -> httpx.Response:
        """Call as an app does."""
        headers = {"user-agent": CHROME, "x-forwarded-for": "198.51.100.20, 10.0.0.1"}
        if token is not None:
            headers["authorization"] = f"JWT {token}"
        body = {"query": query, "variables": variables, **more}
        return httpx.post(f"{self.url}/graphql", json=body, headers=headers, timeout=60)

    def token(self, uid: str = "user-1", **claims: object) -> str:
        """A login token."""
        return self.issuer.token(self.issuer.claims(uid, **claims))


@contextmanager
def running_gateway(
    project: Path, folder: Path, api: Server, issuer: Issuer, **settings: str
) -> Iterator[Gateway]:
    """A real Hive Gateway in front of a server.

    `settings` are further variables that its configuration reads.
    """
    supergraph = compose(project, folder, f"{api.url}/graphql")
    (folder / "issuer.pem").write_text(issuer.public_pem())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "SUPERGRAPH": str(supergraph),
        "PORT": str(port),
        "HMAC_SECRET": GATEWAY_SECRET,
        "ISSUER_PEM": str(folder / "issuer.pem"),
        "ISSUER": ISSUER,
        "AUDIENCE": AUDIENCE,
        "NODE_ENV": "production",
        **settings,
    }
    command = ["node", "node_modules/.bin/hive-gateway", "supergraph", "-c", "gateway.config.mjs"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=project, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait(f"http://127.0.0.1:{port}/healthcheck", process, folder / "log")
        yield Gateway(f"http://127.0.0.1:{port}", issuer)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def gateway(
    node_project: Path, api: Server, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway in front of the module's server."""
    with running_gateway(node_project, tmp_path_factory.mktemp("gateway"), api, issuer) as running:
        yield running


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        try:
            if httpx.get(url, timeout=5).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.3)
    pytest.fail(f"the gateway does not start: {log.read_text()[-2000:]}")


def stored(rows: Connection, fields: dict[str, object]) -> list[tuple[object, ...]]:
    """The stored row of an event."""
    return rows.execute(
        "select id::text, description from signal.events where client_event_id = %s",
        [fields["clientEventId"]],
    ).fetchall()


def test_a_login_token_goes_in_and_a_row_comes_out(gateway: Gateway, rows: Connection) -> None:
    description: dict[str, Any] = {
        "a": 1e-7,
        "b": [1.5, 10**21, -0.0, 5e-324, "ü \u2028 \U0001f600"],
        "Z": {"10": 1, "9": 2},
    }
    fields = event(description=description)
    answer = gateway.call(CREATE, {"input": fields}, gateway.token()).json()
    assert "errors" not in answer
    ((identity, kept),) = stored(rows, fields)
    assert (answer["data"]["eventCreate"]["id"], kept) == (identity, description)


def test_literals_inside_the_query_are_signed_too(gateway: Gateway, rows: Connection) -> None:
    fields = event()
    query = (
        'mutation { a: eventCreate(input: {eventType: "journey_create_clicked", appName: "cms",'
        f' clientEventId: "{fields["clientEventId"]}", description: {{n: 1e-7, s:'
        ' "x\\u00fc\\n"}}) { id } }'
    )
    answer = gateway.call(query, None, gateway.token()).json()
    assert answer["data"]["a"]["id"]
    ((_, kept),) = stored(rows, fields)
    assert kept == {"n": 1e-7, "s": "xü\n"}


def test_the_address_is_the_clients_and_two_clients_are_two_hashes(
    gateway: Gateway, rows: Connection
) -> None:
    one, other, third = event(), event(), event()
    for fields, chain in (
        (one, "198.51.100.1"),
        (other, "198.51.100.2, 10.1.1.1"),
        (third, "9.9.9.9, 198.51.100.2"),
    ):
        headers = {
            "user-agent": CHROME,
            "x-forwarded-for": chain,
            "authorization": f"JWT {gateway.token()}",
        }
        body = {"query": CREATE, "variables": {"input": fields}}
        assert httpx.post(f"{gateway.url}/graphql", json=body, headers=headers, timeout=60).json()[
            "data"
        ]["eventCreate"]
    hashes = [
        rows.execute(
            "select user_hash from signal.events where client_event_id = %s",
            [each["clientEventId"]],
        ).fetchone()
        for each in (one, other, third)
    ]
    assert hashes[0] != hashes[1]
    assert hashes[1] == hashes[2]


def test_anonymous_expired_and_foreign_tokens_store_nothing(
    gateway: Gateway, rows: Connection
) -> None:
    fields = event()
    nobody = gateway.call(CREATE, {"input": fields})
    assert code(nobody.json()) == "UNAUTHENTICATED"
    stranger = Issuer()
    for token in (
        gateway.token(exp=int(time.time()) - 600),
        gateway.token(aud="another"),
        stranger.token(stranger.claims()),
    ):
        assert gateway.call(CREATE, {"input": fields}, token).json().get("errors")
    assert stored(rows, fields) == []


def test_a_user_spoofed_in_the_extensions_is_not_believed(
    gateway: Gateway, issuer: Issuer, rows: Connection
) -> None:
    fields = event()
    spoof = {"jwt": {"payload": issuer.claims("boss-1")}, "hmac-signature": "AAAA"}
    assert gateway.call(CREATE, {"input": fields}, None, extensions=spoof).json()["errors"]
    assert stored(rows, fields) == []
    read = gateway.call(
        "{ events(limit: 1) { id } }", None, gateway.token("user-1"), extensions=spoof
    ).json()
    assert code(read) == "FORBIDDEN"


def test_an_admin_reads_through_the_gateway(gateway: Gateway) -> None:
    answer = gateway.call(
        "query ($n: Int) { events(limit: $n) { id userHash createdAt } }",
        {"n": 3},
        gateway.token("boss-1"),
    ).json()
    assert len(answer["data"]["events"]) == 3
    assert all(len(row["userHash"]) == 64 for row in answer["data"]["events"])


def test_a_drop_does_not_fail_the_caller(gateway: Gateway, rows: Connection) -> None:
    fields = event(eventType="gone_since_long")
    answer = gateway.call(CREATE, {"input": fields}, gateway.token()).json()
    assert (answer["data"], answer.get("errors")) == ({"eventCreate": None}, None)
    assert stored(rows, fields) == []


def play_persisted_queries(gateway: Gateway, own: dict[str, object]) -> dict[str, dict[str, Any]]:
    """What an app with Apollo Client 4 and its persisted-query link saw.

    It sends two events, and `own` between them.
    """
    client = install_client()
    headers = {
        "authorization": f"JWT {gateway.token()}",
        "user-agent": CHROME,
        "x-forwarded-for": "198.51.100.20, 10.0.0.1",
    }
    setup = json.dumps({"uri": f"{gateway.url}/graphql", "headers": headers, "own": own})
    command = ["node", "--import", "tsx", "e2e/persisted.ts", setup]
    done = subprocess.run(
        command, cwd=client, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, dict[str, Any]] = json.loads(done.stdout)
    return seen


def assert_events_arrived(seen: dict[str, dict[str, Any]], rows: Connection) -> None:
    """Both events are stored, and each was sent once, with its text."""
    for name in ("first", "second"):
        event_seen = seen[name]
        assert (event_seen["said"], event_seen["steps"]) == ([], ["text"]), name
        assert len(stored(rows, {"clientEventId": event_seen["id"]})) == 1, name


def test_a_persisted_query_link_loses_the_apps_operations_and_no_event(
    gateway: Gateway, rows: Connection
) -> None:
    own = event()
    seen = play_persisted_queries(gateway, own)
    assert seen["operation"] == {"error": "Must provide query string.", "steps": ["hash"]}
    assert stored(rows, own) == []
    assert_events_arrived(seen, rows)


def test_a_gateway_that_refuses_hashes_gets_the_text(
    node_project: Path, api: Server, issuer: Issuer, tmp_path: Path, rows: Connection
) -> None:
    own = event()
    with running_gateway(node_project, tmp_path, api, issuer, REFUSE_HASHES="yes") as gateway:
        seen = play_persisted_queries(gateway, own)
        assert gateway.call(CREATE, {"input": event()}, gateway.token()).json()["data"][
            "eventCreate"
        ]
    assert seen["operation"] == {"error": None, "steps": ["hash", "text"]}
    assert len(stored(rows, own)) == 1
    assert_events_arrived(seen, rows)
