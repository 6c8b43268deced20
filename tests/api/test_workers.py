"""`serve --workers 2`: all answer, and each limit holds for all of them."""

from __future__ import annotations

import time
from contextlib import ExitStack, suppress

import pytest
import redis
from support.raw_http import HEALTH, connect, is_open, read_answer
from support.wire import (
    CREATE_MANY,
    Server,
    StartServer,
    event,
    run,
)
from support.workers import (
    TWO,
    all_answer,
    apart,
    connections_of,
)

from signal_pipeline.api.identity.rate_limit import EVENTS_PER_MINUTE
from signal_pipeline.postgres.database import Connection

pytestmark = pytest.mark.embedded_only


@pytest.mark.parametrize("number", ["0", "-1", "9", "1000", "x", "2.5", ""])
def test_a_wrong_number_is_one_line(api_environment: dict[str, str], number: str) -> None:
    done = run(api_environment, "serve", "--port", "0", "--workers", number)
    assert (done.returncode, done.stderr) == (
        2,
        f"error: --workers {number!r}: write a number from 1 to 8\n",
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"SIGNAL_RATE_LIMIT_URL": "memory://"}, "SIGNAL_RATE_LIMIT_URL: each worker would count"),
        ({"SIGNAL_MAX_CONNECTIONS_PER_PEER": "1"}, "PER_PEER must be at least 2"),
        ({"SIGNAL_HMAC_SECRET": ""}, "SIGNAL_HMAC_SECRET"),
        ({"SIGNAL_AUDIT_KEY": ""}, "SIGNAL_AUDIT_KEY"),
        (
            {"SIGNAL_DATABASE_URL": "postgresql://u:a-password@127.0.0.1:1/none"},
            "cannot reach PostgreSQL",
        ),
    ],
)
def test_what_cannot_work_is_refused_before_a_worker_starts(
    api_environment: dict[str, str], changes: dict[str, str], said: str
) -> None:
    done = run({**api_environment, **changes}, "serve", "--port", "0", *TWO)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert said in done.stderr
    assert "a-password" not in done.stderr


def test_a_port_of_other_workers_is_taken(both: Server, api_environment: dict[str, str]) -> None:
    port = both.url.rpartition(":")[2]
    for more in ((), TWO):
        done = run(api_environment, "serve", "--port", port, *more)
        assert done.returncode == 1
        assert f"cannot listen on 127.0.0.1 port {port}" in done.stderr


def test_every_worker_answers(both: Server) -> None:
    assert all_answer(both)


def check_limit_of_a_person(server: Server) -> None:
    began, outcomes = time.monotonic(), list[object]()
    while len(outcomes) < 4 * EVENTS_PER_MINUTE:
        answer = apart(server, CREATE_MANY, {"input": [event() for _ in range(6)]}, uid="eager")
        outcomes += [
            (each["outcome"], each["reason"])
            for each in answer["extensions"]["signal"]["events"]  # type: ignore[index]
        ]
    accepted = outcomes.count(("accepted", None))
    seconds = time.monotonic() - began
    # Each second makes room for one event more at most.
    assert EVENTS_PER_MINUTE <= accepted <= EVENTS_PER_MINUTE + seconds + 1
    assert outcomes.count(("dropped", "rate_limited")) == len(outcomes) - accepted


def test_a_person_has_one_limit_for_all_workers(both: Server) -> None:
    check_limit_of_a_person(both)


def test_a_person_has_one_limit_in_redis(start: StartServer, redis_port: int) -> None:
    server = start(*TWO, SIGNAL_RATE_LIMIT_URL=f"redis://127.0.0.1:{redis_port}/0")
    check_limit_of_a_person(server)
    assert redis.Redis(port=redis_port).dbsize()
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("limits", "most"),
    [
        ({"SIGNAL_MAX_CONNECTIONS": "16"}, 16),
        ({"SIGNAL_MAX_CONNECTIONS_PER_PEER": "6", "SIGNAL_TRUSTED_PROXIES": "10.0.0.0/8"}, 6),
    ],
)
def test_connections_are_limited_in_all(
    start: StartServer, limits: dict[str, str], most: int
) -> None:
    server = start(*TWO, **limits)
    with ExitStack() as opened:
        clients = [opened.enter_context(connect(server)) for _ in range(80)]
        for client in clients[::-1]:  # The newest first: it is there even if no older one is.
            with suppress(ConnectionError, AssertionError):
                client.sendall(HEALTH)
                read_answer(client)
        held = connections_of(server)
        assert len(held) == 2
        assert 0 < sum(held.values()) <= most
        assert sum(map(is_open, clients)) <= most
    assert server.stop() == 0


def test_each_reading_is_audited_once(both: Server, rows: Connection) -> None:
    audited = "select count(*) from signal.audit where action = 'read_events'"
    (before,) = rows.execute(audited).fetchall()
    for _ in range(12):
        assert "errors" not in apart(both, "{ events { id } }", {}, uid="boss-1")  # type: ignore[operator]
    (after,) = rows.execute(audited).fetchall()
    assert after[0] - before[0] == 12
