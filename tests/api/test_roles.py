"""The API needs no more rights in PostgreSQL than the role `signal_api` gives.

To write, the writer's rights are enough.
"""

from __future__ import annotations

import json
import uuid
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace
from support.wire import Server, code, event, outcome

from signal_pipeline.events.event import AcceptedEvent
from signal_pipeline.ingest.event_rows import new_event_id
from signal_pipeline.ingest.pipeline import Ingest, utc_now
from signal_pipeline.ingest.spool import Spool
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.duckdb_engine import DuckdbEngine
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

EVENTS = "query { events { clientEventId userHash } }"
ROLLUP = (
    'query ($day: Date!) { eventStats(by: ENTITY, from: $day, to: $day, eventType: "(all)") { rows'
    " { entityId events } } }"
)
RAW = (
    "query ($day: Date!) { eventStats(groupBy: [APP], from: $day, to: $day) { rows { events users"
    " } } }"
)


def _start(start: Any, database: Database, connection: Connection, role: str) -> Server:
    connection.execute(f"create role test_serve_{role} login in role {role}")  # type: ignore[arg-type]
    served: Server = start(
        SIGNAL_DATABASE_URL=database.url.replace("postgres@", f"test_serve_{role}@")
    )
    return served


def test_the_role_of_the_api_is_enough_to_serve(
    start: Any, api_database: Database, rows: Connection, models: Models, tmp_path: Path
) -> None:
    api = _start(start, api_database, rows, "signal_api")
    sent = event(
        eventType="editor_analytics_overlay_opened",
        entityType="journey",
        entityId=str(uuid.uuid4()),
    )
    assert api.create(sent)["data"]["eventCreate"]["clientEventId"] == sent["clientEventId"]
    assert outcome(api.create(sent)) == ("duplicate", None)
    assert outcome(api.create(event(appName="none"))) == ("dropped", "unknown_app")
    # The missing address is a gap, which is counted.
    assert outcome(api.create(headers={"x-forwarded-for": ""})) == (
        "accepted",
        None,
    )
    filtered = (
        f'query {{ events(filter: {{entityId: "{sent["entityId"]}"}}) {{ clientEventId userHash'
        " } }"
    )
    (found,) = api.call(filtered, uid="boss-1").json()["data"]["events"]
    assert found["clientEventId"] == sent["clientEventId"]
    (day,) = rows.execute("select max(day) from signal.days").fetchall()
    build_day(api_database, DuckdbEngine(api_database.url, tmp_path), models, cast("date", day[0]))
    of_entity = [{"entityId": sent["entityId"], "events": 1}]
    for query, expected in ((RAW, [{"events": 2, "users": 2}]), (ROLLUP, of_entity)):
        answer = api.call(query, {"day": str(day[0])}, uid="boss-1").json()
        assert answer["data"]["eventStats"]["rows"] == expected
    assert rows.execute("select action from signal.audit").fetchall() == [("read_events",)]


def test_the_role_of_the_api_is_enough_to_drain_a_spool(
    api_database: Database, rows: Connection, settings: Settings, tmp_path: Path
) -> None:
    rows.execute("create role test_spool login in role signal_api")
    database = Database(api_database.url.replace("postgres@", "test_spool@"))
    with closing(Ingest.from_settings(settings, database)) as ingest:
        checked = [
            ingest.acceptance.check_line(json.dumps(event(appName=name)).encode(), utc_now())
            for name in ("cms", "none")
        ]
    items = [
        replace(each, id=new_event_id(each.created_at)) if isinstance(each, AcceptedEvent) else each
        for each in checked
    ]
    with closing(Spool(tmp_path / "spool", database, "00000000", 180)) as spool:
        spool.append(items)
        spool.drain()
    assert [path.name for path in (tmp_path / "spool").iterdir()] == [".lock"]
    assert rows.execute("select count(*) from signal.events where app_name = 'cms'").fetchone() == (
        1,
    )


def test_the_writers_role_writes_and_cannot_read(
    start: Any, api_database: Database, rows: Connection
) -> None:
    api = _start(start, api_database, rows, "signal_writer")
    assert api.create()["data"]["eventCreate"]
    day = {"day": f"{datetime.now(UTC):%Y-%m-%d}"}
    for query, variables in ((EVENTS, None), (RAW, day), (ROLLUP, day)):
        answer = api.call(query, variables, uid="boss-1")
        assert (answer.status_code, code(answer.json())) == (503, "SERVICE_UNAVAILABLE")
    assert "role for its work" in "".join(api.log)


def test_the_readers_role_is_not_enough_to_serve(
    start: Any, api_database: Database, rows: Connection
) -> None:
    with pytest.raises(AssertionError, match="serve ended with 1: .*role for its work"):
        _start(start, api_database, rows, "signal_reader")
