"""PostgreSQL is up and refuses.

The tests show what is tried again, what counts as an outage, and whose events are affected.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from support.waits import PATIENCE_SECONDS, until
from support.wire import CREATE, Server, StartServer, code, counts, event, outcome

from signal_pipeline.postgres.database import Connection, Database

pytestmark = pytest.mark.embedded_only


@contextmanager
def refusing(rows: Connection, sqlstate: str, times: int) -> Iterator[None]:
    """The next writes end with this error; a sequence counts them, which no rollback undoes."""
    rows.execute(
        "create sequence public.refusals; create function public.refuse() returns trigger language"
        " plpgsql"
        f" as $$begin if nextval('public.refusals') <= {times} then raise exception 'no' using errcode = '{sqlstate}';"  # type: ignore[arg-type]
        " end if; return null; end$$;"
        " create trigger refuse before insert on signal.books for each statement execute function"
        " public.refuse()"
    )
    try:
        yield
    finally:
        rows.execute(
            "drop trigger refuse on signal.books; drop function public.refuse(); drop sequence"
            " public.refusals"
        )


@pytest.mark.parametrize(
    ("sqlstate", "times"), [("40001", 3), ("40P01", 3), ("57P01", 1), ("57014", 1), ("55P03", 1)]
)
def test_a_lost_race_or_connection_is_not_noticed(
    api: Server, rows: Connection, sqlstate: str, times: int
) -> None:
    fields = event()
    with refusing(rows, sqlstate, times):
        assert outcome(api.create(fields)) == ("accepted", None)
    assert outcome(api.create(fields)) == ("duplicate", None)


@pytest.mark.parametrize("sqlstate", ["57P05", "58030"])
def test_what_stays_so_is_an_outage(
    start: StartServer,
    api: Server,
    api_database: Database,
    rows: Connection,
    tmp_path: Path,
    sqlstate: str,
) -> None:
    with_spool, spooled, refused, before = (
        start(SIGNAL_SPOOL_DIR=str(tmp_path)),
        event(),
        event(),
        counts(api_database),
    )
    with refusing(rows, sqlstate, 10**6):
        assert outcome(with_spool.create(spooled)) == ("spooled", None)
        answer = api.call(CREATE, {"input": refused})
        assert (answer.status_code, code(answer.json())) == (503, "SERVICE_UNAVAILABLE")
    until(lambda: not list(tmp_path.glob("*.spool")))
    assert not list(tmp_path.glob("*.refused"))
    assert outcome(api.create(refused)) == ("accepted", None)
    assert counts(api_database) == (before[0] + 2, before[1] + 2)
    with_spool.stop()


def test_a_lock_that_stays_holds_up_nobody_else(
    start: StartServer, api_database: Database, rows: Connection, tmp_path: Path
) -> None:
    """The lock can be of one row only.

    In the spool the event would hold up every later event of all apps.
    """
    server, fields, before = start(SIGNAL_SPOOL_DIR=str(tmp_path)), event(), counts(api_database)
    with refusing(rows, "55P03", 10**6):
        answer = server.call(CREATE, {"input": fields})
    assert (answer.status_code, code(answer.json())) == (503, "SERVICE_UNAVAILABLE")
    assert (counts(api_database), list(tmp_path.glob("*.spool"))) == (before, [])
    assert outcome(server.create(fields)) == ("accepted", None)
    server.stop()


@pytest.mark.parametrize("sqlstate", ["42501", "42P01"])
def test_what_the_login_may_not_is_said_to_the_operator_and_may_be_sent_again(
    start: StartServer, api_database: Database, rows: Connection, tmp_path: Path, sqlstate: str
) -> None:
    server, fields, before = start(SIGNAL_SPOOL_DIR=str(tmp_path)), event(), counts(api_database)
    with refusing(rows, sqlstate, 10**6):
        answer = server.call(CREATE, {"input": fields})
    assert (answer.status_code, code(answer.json())) == (503, "SERVICE_UNAVAILABLE")
    assert int(answer.headers["retry-after"]) > 0
    assert sqlstate not in answer.text
    until(lambda: sum(f"SQLSTATE {sqlstate}" in line for line in server.log) == 1)
    assert counts(api_database) == before
    assert not list(tmp_path.glob("*.spool"))
    assert outcome(server.create(fields)) == ("accepted", None)
    server.stop()


def test_one_event_that_the_database_refuses_does_not_fail_the_others(
    api: Server, rows: Connection
) -> None:
    """Requests of one batch share a transaction, but one of them does not fail the others."""
    rows.execute(
        "alter table signal.books add constraint no_cms check (app_name <> 'cms') not valid"
    )
    try:
        good, bad = [event() for _ in range(10)], event(appName="cms")
        with httpx.Client(timeout=PATIENCE_SECONDS) as client:

            def send(fields: dict[str, object]) -> httpx.Response:
                return client.post(f"{api.url}/graphql", **api.request(CREATE, {"input": fields}))

            with ThreadPoolExecutor(11) as pool:
                answers = list(pool.map(send, [*good, bad]))
        assert [outcome(answer.json())[0] for answer in answers[:-1]] == ["accepted"] * 10
        assert (answers[-1].status_code, code(answers[-1].json())) == (500, "INTERNAL")
        assert "no_cms" not in answers[-1].text
        assert json.dumps(bad["clientEventId"]) not in answers[-1].text
    finally:
        rows.execute("alter table signal.books drop constraint no_cms")
