"""The API needs no more rights in PostgreSQL than the role `signal_api` gives; the writer's are enough to write."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from wire_support import Server, event

from signal_pipeline.store.database import Connection, Database

pytestmark = pytest.mark.embedded_only

EVENTS = "query { events { clientEventId userHash } }"
ROLLUP = "query ($day: Date!) { eventStats(by: APP, from: $day, to: $day) { rows { events } } }"
RAW = "query ($day: Date!) { eventStats(groupBy: [APP], from: $day, to: $day) { rows { events users } } }"


def _start(start: Any, database: Database, connection: Connection, role: str) -> Server:
    connection.execute(f"create role test_serve_{role} login in role {role}")  # type: ignore[arg-type]
    served: Server = start(SIGNAL_DATABASE_URL=database.url.replace("postgres@", f"test_serve_{role}@"))
    return served


def test_the_role_of_the_api_is_enough_to_serve(start: Any, api_database: Database, rows: Connection) -> None:
    api = _start(start, api_database, rows, "signal_api")
    sent = event()
    assert api.create(sent)["data"]["eventCreate"]["clientEventId"] == sent["clientEventId"]
    (found,) = api.call(EVENTS, uid="boss-1").json()["data"]["events"]
    assert found["clientEventId"] == sent["clientEventId"]
    (day,) = rows.execute("select to_char(max(day), 'YYYY-MM-DD') as day from signal.days").fetchall()
    for query, expected in ((RAW, [{"events": 1, "users": 1}]), (ROLLUP, [])):  # No rollup is built yet.
        answer = api.call(query, {"day": day[0]}, uid="boss-1").json()
        assert answer["data"]["eventStats"]["rows"] == expected
    assert rows.execute("select action from signal.audit").fetchall() == [("read_events",)]


def test_the_writers_role_writes_and_cannot_read(start: Any, api_database: Database, rows: Connection) -> None:
    api = _start(start, api_database, rows, "signal_writer")
    assert api.create()["data"]["eventCreate"]
    day = {"day": f"{datetime.now(UTC):%Y-%m-%d}"}
    for query, variables in ((EVENTS, None), (RAW, day), (ROLLUP, day)):
        answer = api.call(query, variables, uid="boss-1").json()
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["INTERNAL"]
