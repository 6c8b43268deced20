"""Requests through a real gateway and a real composer in front of a real server.

Skipped where node or its registry is missing.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.client import install_client
from support.gateway import Gateway, compose, install_gateway, running_gateway
from support.node import node_environment
from support.traffic import CHROME
from support.waits import PATIENCE_SECONDS
from support.wire import Issuer, Server, code, event

from signal_pipeline.postgres.database import Connection

pytestmark = pytest.mark.embedded_only
CREATE = (
    "mutation Create($input: EventCreateInput!) { eventCreate(input: $input) { id description } }"
)


def test_the_sdl_composes_with_another_subgraph(
    node_project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NODE_OPTIONS", "--require=/of/the/developer")  # Node would not start.
    text = compose(node_project, tmp_path, "http://127.0.0.1:1/graphql").read_text()
    for part in (
        "eventCreate(input: EventCreateInput!): Event",
        "scalar Json",
        "me: User @join__field(graph: USERS)",
    ):
        assert part in text
    assert "_service" not in text


@pytest.fixture(scope="module")
def node_project() -> Path:
    """The gateway and the composer."""
    return install_gateway()


@pytest.fixture(scope="module")
def gateway(
    node_project: Path, api: Server, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Gateway]:
    """A gateway in front of the module's server."""
    with running_gateway(node_project, tmp_path_factory.mktemp("gateway"), api, issuer) as running:
        yield running


def stored(rows: Connection, fields: dict[str, object]) -> list[tuple[object, ...]]:
    """The stored row of an event."""
    return rows.execute(
        "select id::text, description from signal.events where client_event_id = %s",
        [fields["clientEventId"]],
    ).fetchall()


def test_event_of_a_logged_in_user(gateway: Gateway, rows: Connection) -> None:
    """A login token goes in, and a row comes out."""
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


def test_addresses_of_clients(gateway: Gateway, rows: Connection) -> None:
    """The hash is of the client's address, not of the gateway's."""
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
        assert httpx.post(
            f"{gateway.url}/graphql", json=body, headers=headers, timeout=PATIENCE_SECONDS
        ).json()["data"]["eventCreate"]
    hashes = [
        rows.execute(
            "select user_hash from signal.events where client_event_id = %s",
            [each["clientEventId"]],
        ).fetchone()
        for each in (one, other, third)
    ]
    assert hashes[0] != hashes[1]
    assert hashes[1] == hashes[2]


def test_bad_tokens_store_nothing(gateway: Gateway, rows: Connection) -> None:
    """Neither nobody nor an expired or foreign token can store an event."""
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


def test_spoofed_user(gateway: Gateway, issuer: Issuer, rows: Connection) -> None:
    """A user in the client's own extensions is not believed."""
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
        command,
        cwd=client,
        env=node_environment(),
        capture_output=True,
        text=True,
        check=False,
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


def test_persisted_query_link(gateway: Gateway, rows: Connection) -> None:
    """It loses an operation of the app, but no event."""
    own = event()
    seen = play_persisted_queries(gateway, own)
    assert seen["operation"] == {"error": "Must provide query string.", "steps": ["hash"]}
    assert stored(rows, own) == []
    assert_events_arrived(seen, rows)


def test_gateway_that_refuses_hashes(
    node_project: Path, api: Server, issuer: Issuer, tmp_path: Path, rows: Connection
) -> None:
    """An app's link then sends the text, so that nothing is lost."""
    own = event()
    with running_gateway(node_project, tmp_path, api, issuer, REFUSE_HASHES="yes") as gateway:
        seen = play_persisted_queries(gateway, own)
        assert gateway.call(CREATE, {"input": event()}, gateway.token()).json()["data"][
            "eventCreate"
        ]
    assert seen["operation"] == {"error": None, "steps": ["hash", "text"]}
    assert len(stored(rows, own)) == 1
    assert_events_arrived(seen, rows)
