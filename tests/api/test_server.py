"""The server process: what it refuses at the start, how it answers, and how it stops.

Its answers to bad requests, and its log, never repeat a value.
"""

from __future__ import annotations

import re
import signal
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import SECRET
from support.waits import PATIENCE_SECONDS
from support.wire import CREATE, GATEWAY_SECRET, Server, StartServer, code, event, outcome, run

from signal_pipeline.api.graphql.schema import sdl
from signal_pipeline.api.server import run_server
from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import load_settings

pytestmark = pytest.mark.embedded_only

SDL_COPY = Path(__file__).parents[2] / "signal_pipeline" / "api" / "graphql" / "schema.graphql"
INTROSPECTION = "{ __schema { queryType { name } } }"


def test_the_committed_sdl_is_the_schema(tmp_path: Path) -> None:
    done = run({"SIGNAL_HOME": str(tmp_path)}, "schema")
    assert done.returncode == 0
    assert done.stdout == sdl() == SDL_COPY.read_text(), (
        "run: signal-pipeline schema > signal_pipeline/api/graphql/schema.graphql"
    )


@pytest.mark.parametrize(
    ("changes", "arguments", "said"),
    [
        ({"SIGNAL_HMAC_SECRET": None}, {}, "SIGNAL_HMAC_SECRET"),
        ({"SIGNAL_HMAC_SECRET": ""}, {}, "SIGNAL_HMAC_SECRET"),
        ({"SIGNAL_HMAC_SECRET": "short"}, {}, "SIGNAL_HMAC_SECRET"),
        ({"SIGNAL_JWKS": None, "SIGNAL_JWT_ISSUER": None}, {}, "SIGNAL_JWKS, SIGNAL_JWT_ISSUER"),
        ({"SIGNAL_JWT_AUDIENCE": None}, {}, "SIGNAL_JWT_AUDIENCE"),
        ({"SIGNAL_JWKS": "/no/such/file"}, {}, "SIGNAL_JWKS"),
        ({"SIGNAL_JWKS": "https://127.0.0.1:1/jwks"}, {}, "SIGNAL_JWKS: no usable keys"),
        ({"SIGNAL_JWKS": "http://127.0.0.1:1/jwks"}, {}, "SIGNAL_JWKS: keys over plain http"),
        ({"SIGNALS_SALT_SECRET": None}, {}, "SIGNALS_SALT_SECRET"),
        ({"SIGNAL_AUDIT_KEY": None}, {}, "SIGNAL_AUDIT_KEY is missing"),
        ({"SIGNAL_AUDIT_KEY": "short"}, {}, "SIGNAL_AUDIT_KEY has fewer than 32 bytes"),
        ({"SIGNAL_API_KEYS": "dashboard:abc"}, {}, "SIGNAL_API_KEYS"),
        ({"SIGNAL_TRUSTED_PROXIES": "10.0.0.0/99"}, {}, "SIGNAL_TRUSTED_PROXIES"),
        ({"SIGNAL_RATE_LIMIT_URL": "nonsense://x"}, {}, "SIGNAL_RATE_LIMIT_URL"),
        (
            {"SIGNAL_DATABASE_URL": "postgresql://u:a-password@127.0.0.1:1/none"},
            {},
            "cannot reach PostgreSQL",
        ),
        ({}, {"gateway": False}, "without a gateway"),
        (
            {"SIGNAL_ENV": "development"},
            {"gateway": False, "host": "192.0.2.1"},
            "without a gateway",
        ),
        (
            {"SIGNAL_ENV": None, "SIGNAL_DATABASE_URL": None},
            {"host": "192.0.2.1"},
            "SIGNAL_ENV must be set",
        ),
        ({}, {"host": "no.such.host.invalid"}, "cannot listen"),
        ({}, {"host": "a\u202eb"}, "cannot listen"),
        ({}, {"host": "a\0b"}, "cannot listen"),
    ],
)
def test_it_refuses_to_start_in_one_line(
    api_environment: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str | None],
    arguments: dict[str, Any],
    said: str,
) -> None:
    for name, value in {**api_environment, **changes}.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    with pytest.raises(SignalError, match=said) as refusal:
        run_server(load_settings(), **{"host": "127.0.0.1", "port": 0, **arguments})
    assert "\n" not in str(refusal.value)
    for secret in (SECRET, GATEWAY_SECRET, "a-password", "abc", "nonsense"):
        assert secret not in str(refusal.value)


def test_a_refusal_is_one_line_of_the_command(api_environment: dict[str, str]) -> None:
    done = run({**api_environment, "SIGNAL_HMAC_SECRET": ""}, "serve", "--port", "0")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith(
        "error: production cannot tell who is calling without SIGNAL_HMAC_SECRET"
    )


def test_a_server_without_a_gateway_names_the_option_that_asked_for_it(
    api_environment: dict[str, str],
) -> None:
    done = run(api_environment, "serve", "--no-gateway", "--port", "0")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("error: --no-gateway: ")
    assert "development on loopback" in done.stderr


def test_a_taken_port_is_named(api: Server, api_environment: dict[str, str]) -> None:
    port = api.url.rpartition(":")[2]
    done = run(api_environment, "serve", "--port", port)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr


@pytest.mark.parametrize(
    ("content", "headers", "status"),
    [
        (b"", {}, 400),
        (b"{", {}, 400),
        (b"[]", {}, 400),
        (b'[{"query":"{__typename}"}]', {}, 400),
        (b"null", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b'{"query":1}', {}, 400),
        (b'{"query":"  "}', {}, 400),
        (b'{"query":"{__typename}","variables":[]}', {}, 400),
        (b'{"query":"{__typename}","variables":"x"}', {}, 400),
        (b'{"query":"{__typename}","operationName":1}', {}, 400),
        (b'{"query":"{__typename}","extensions":[]}', {}, 400),
        (b'{"query":"{__typename}","variables":{"a":NaN}}', {}, 400),
        (b'{"query":"{__typename}","variables":{"a":' + b"9" * 5000 + b"}}", {}, 400),
        (
            b'{"query":"{__typename}","variables":' + b'{"a":' * 7_000 + b"1" + b"}" * 7_000 + b"}",
            {},
            400,
        ),
        (b"[" * 7_000, {}, 400),
        (b"[" * 200_000, {}, 413),
        (b'{"query":"' + b"x" * 600_000 + b'"}', {}, 413),
        (b'{"query":"' + b"x" * 256 * 1024 + b'"}', {}, 413),
        (b'{"query":"{__typename}"}', {"content-type": "text/plain"}, 415),
        (b"query={__typename}", {"content-type": "application/x-www-form-urlencoded"}, 415),
        (b'{"query":"{ nope"}', {}, 401),
        (b'{"query":"{ nope }"}', {}, 401),
    ],
)
def test_what_is_no_request_is_refused_without_an_echo(
    api: Server, content: bytes, headers: dict[str, str], status: int
) -> None:
    answer = api.post(
        {"content": content, "headers": {"content-type": "application/json", **headers}}
    )
    assert answer.status_code == status
    assert code(answer.json())
    assert "nope" not in answer.text


def test_of_a_header_that_comes_twice_the_first_counts(api: Server) -> None:
    request = api.request(CREATE, {"input": event()})
    every = [
        *request["headers"].items(),
        ("authorization", "JWT nope"),
        ("content-type", "text/plain"),
    ]
    for headers, status in ((every, 200), (every[::-1], 415)):
        answer = api.client.post(f"{api.url}/graphql", content=request["content"], headers=headers)
        assert answer.status_code == status


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_only_post_is_answered(api: Server, method: str) -> None:
    answer = api.client.request(method, f"{api.url}/graphql", params={"query": "{__typename}"})
    assert answer.status_code == 405
    assert "access-control-allow-origin" not in answer.headers


def test_errors_never_echo_a_value_not_even_in_the_log(api: Server) -> None:
    mark = "mark-7f3a9"
    for query, variables in (
        (CREATE, {"input": {**event(), "appName": {mark: mark}}}),
        (CREATE, {"input": {**event(), mark: mark}}),
        (CREATE, {"input": {**event(), "eventType": [mark]}}),
        (CREATE, {"input": mark}),
        (CREATE, {}),
        (f'{{ events(limit: "{mark}") {{ id }} }}', None),
        (f'{{ events(filter: {{createdAtGte: "{mark}"}}) {{ id }} }}', None),
        (f"{{ {mark.replace('-', '_')} }}", None),
        (f'{{ "{mark} }}', None),
    ):
        answer = api.call(query, variables, uid=mark)
        assert answer.status_code == 400
        assert mark not in answer.text
        assert mark.replace("-", "_") not in answer.text
    for value in (
        ["x at 'Jane.Doe'"],
        ["x at 'Jane.Doe'; y"],
        [" at 'f.appName'; at 'Jane[0].Doe'; "],
        {"Jane": "Doe"},
    ):
        query = (
            "query ($f: EventFilter, $Jane: EventFilter) { a: events(filter: $f) { id } b:"
            " events(filter: $Jane) { id } }"
        )
        for variables in ({"f": {"appName": value}}, {"Jane": {"appName": value}}, {"Jane": value}):
            answer = api.call(query, variables, uid="boss-1")
            assert answer.status_code == 400
            assert not {"Jane", "Doe"} & set(re.findall(r"\w+", answer.text))
    where = api.call(CREATE, {"input": {**event(), "appName": 5}}).json()["errors"][0]["message"]
    assert where.endswith(" at input.appName")
    assert mark not in "".join(api.log)


@pytest.mark.parametrize(
    "query",
    [
        "query { " + " ".join(f"a{n}: __typename" for n in range(60)) + " }",
        "query { __typename "
        + " ".join(f"...f{n}" for n in range(11))
        + " } "
        + " ".join(f"fragment f{n} on Query {{ __typename }}" for n in range(11)),
        "{ events { id " + "... on Event { id " * 20 + "}" * 20 + "} }",
        "{ " + "__typename " * 3000 + "}",
        "{ a " * 1500,
        "{ nope",
        "query { ...f0 } "
        + " ".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }}" for n in range(60))
        + " fragment f60 on Query { __typename }",
    ],
)
def test_documents_are_bounded(api: Server, query: str) -> None:
    answer = api.call(query)
    assert answer.status_code == 400
    assert {error["extensions"]["code"] for error in answer.json()["errors"]} <= {
        "GRAPHQL_VALIDATION_FAILED",
        "GRAPHQL_PARSE_FAILED",
    }


def test_a_document_that_is_too_large_is_not_looked_at_any_further(api: Server) -> None:
    """The specification's rules compare every field with every other."""
    bounds = {
        " ".join(f"noSuchField{n}" for n in range(250)): "at most 200 fields",
        "noSuchField " + "id " * 30: "at most 20 repeated fields",
    }
    for fields, bound in bounds.items():
        (error,) = api.call(f"{{ events {{ {fields} }} }}", uid=None).json()["errors"]
        assert error["message"] == f"the request is refused: {bound}"


def test_as_many_fields_as_a_gateway_merges_are_fine(api: Server) -> None:
    query = "query { " + " ".join(f"_v{n}_a: __typename" for n in range(30)) + " }"
    assert len(api.call(query).json()["data"]) == 30


def test_production_tells_nobody_its_schema(api: Server) -> None:
    for query in (INTROSPECTION, '{ __type(name: "Event") { name } }', "{ _service { sdl } }"):
        assert api.call(query, uid="boss-1").status_code == 400


def test_health_is_the_process_and_readiness_the_database(api: Server) -> None:
    assert (
        api.client.get(f"{api.url}/healthz").status_code,
        api.client.get(f"{api.url}/readyz").status_code,
    ) == (
        200,
        200,
    )
    assert api.client.get(f"{api.url}/").status_code == 404


def test_a_stop_is_heard_as_soon_as_the_server_listens(start: StartServer) -> None:
    assert start().stop() == 0


def test_a_stop_under_load_loses_nothing_that_was_acknowledged(
    start: StartServer, rows: Connection
) -> None:
    server = start()
    acknowledged: list[object] = []
    sent: list[object] = []
    stopped = threading.Event()

    def click(number: int) -> None:
        with httpx.Client(timeout=PATIENCE_SECONDS) as client:
            while not stopped.is_set():
                fields = event()
                sent.append(fields["clientEventId"])
                request = server.request(
                    CREATE, {"input": fields}, uid=f"loader-{number}-{len(sent) // 40}"
                )
                try:
                    answer = client.post(f"{server.url}/graphql", **request).json()
                except httpx.HTTPError:
                    return
                if outcome(answer) == ("accepted", None):
                    acknowledged.append(fields["clientEventId"])

    threads = [threading.Thread(target=click, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 150:
        threads[0].join(0.01)
        assert server.process.poll() is None
    assert server.stop(signal.SIGTERM) == 0
    stopped.set()
    for thread in threads:
        thread.join()
    stored = {
        str(row[0]) for row in rows.execute("select client_event_id from signal.events").fetchall()
    }
    assert set(acknowledged) <= stored
    ((events, booked),) = rows.execute(
        "select (select count(*) from signal.events), (select sum(events) from signal.books where"
        " outcome = 'accepted')"
    ).fetchall()
    assert events == booked
