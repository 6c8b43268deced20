"""Recovery, tried out.

A dump of a live system is restored, and ingest continues exactly-once. Data of the previous version
is migrated.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from conftest import Fill
from support.revisions import migrate_to
from support.traffic import line, traffic

from signal_pipeline.dagster.probes.book_balance import books_reconcile
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.embedded import wheel_program
from signal_pipeline.privacy import retention
from signal_pipeline.privacy.erasure import Subject, erase
from signal_pipeline.rollups.build import BuildRefusedError, build_day
from signal_pipeline.rollups.duckdb_engine import DuckdbEngine
from signal_pipeline.rollups.models import Models
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only
KEEP = 180
TODAY = date.today()
YESTERDAY = TODAY - timedelta(days=1)
DUE = TODAY - timedelta(days=KEEP + 1)


def _program(name: str) -> str:
    found = wheel_program(name)
    assert found is not None
    return found


@pytest.fixture
def restored(server: str) -> Iterator[Database]:
    """An empty database to restore into."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("drop database if exists signal_restored with (force)")
        connection.execute("create database signal_restored")
        yield Database(server.replace("/postgres?", "/signal_restored?"))
        connection.execute("drop database signal_restored with (force)")


def _rows(database: Database, query: str) -> list[tuple[object, ...]]:
    with database.connect() as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]


def test_a_dump_of_a_live_system_goes_on_exactly_once(
    database: Database,
    restored: Database,
    settings: Settings,
    models: Models,
    fill: Fill,
    tmp_path: Path,
) -> None:
    for day in (DUE, YESTERDAY):
        fill(day, 60)
        build_day(database, DuckdbEngine(database.url, tmp_path / "tmp"), models, day)
    assert retention.purge_due_days(database, models, KEEP).purged == [DUE]
    batches = [traffic(YESTERDAY, 20, seed) for seed in range(10, 40)]
    dump = tmp_path / "signal.dump"

    def keep_ingesting() -> None:
        with closing(Ingest.from_settings(settings, database)) as ingest:
            for batch in batches:
                ingest.ingest_lines(batch)

    live = threading.Thread(target=keep_ingesting)
    live.start()
    subprocess.run(
        [_program("pg_dump"), "-Fc", "-f", str(dump), "--dbname", database.url], check=True
    )
    live.join()
    subprocess.run(
        [_program("pg_restore"), "--exit-on-error", "--dbname", restored.url, str(dump)], check=True
    )

    migrate(restored, settings, models)
    with restored.connect() as connection:
        assert books_reconcile(connection).passed
    with closing(
        Ingest.from_settings(settings, restored)
    ) as ingest:  # The events after the dump are sent again.
        counts = [ingest.ingest_lines(batch) for batch in batches]
        assert sum(c.accepted + c.duplicate for c in counts) == 600
        assert ingest.ingest_lines([line(createdAt=f"{DUE}T10:00:00Z")]).dropped == {"too_late": 1}
    same = "select client_event_id from signal.events order by 1"
    assert _rows(restored, same) == _rows(database, same)
    build_day(restored, DuckdbEngine(restored.url, tmp_path / "tmp"), models, YESTERDAY)
    total = "select sum(events)::int from signal.daily_app_activity where event_type = '(all)'"
    assert _rows(restored, total) == [(60 + 60 + 600,)]
    with pytest.raises(BuildRefusedError, match="purged"):
        build_day(restored, DuckdbEngine(restored.url, tmp_path / "tmp"), models, DUE)


def test_purges_and_erasures_after_the_dump_are_applied_again(
    database: Database,
    restored: Database,
    settings: Settings,
    models: Models,
    fill: Fill,
    tmp_path: Path,
) -> None:
    for day in (DUE, YESTERDAY):
        fill(day, 60)
        build_day(database, DuckdbEngine(database.url, tmp_path / "tmp"), models, day)
    dump = tmp_path / "signal.dump"
    subprocess.run(
        [_program("pg_dump"), "-Fc", "-f", str(dump), "--dbname", database.url], check=True
    )
    (user,) = _rows(
        database,
        "select user_hash from signal.events where created_at > now() - interval '9 days' limit 1",
    )[0]
    assert isinstance(user, bytes)
    subject = Subject.user(user, YESTERDAY)
    erased = erase(database, models, subject, b"a" * 32)
    assert retention.purge_due_days(database, models, KEEP).purged == [DUE]
    subprocess.run(
        [_program("pg_restore"), "--exit-on-error", "--dbname", restored.url, str(dump)], check=True
    )
    again = erase(restored, models, subject, b"a" * 32)
    assert [day.events for day in again.days] == [day.events for day in erased.days]
    assert retention.purge_due_days(restored, models, KEEP).purged == [DUE]


def test_data_of_the_previous_version_is_migrated(
    restored: Database, settings: Settings, models: Models
) -> None:
    settings = settings.model_copy(update={"database_url": restored.url})
    migrate_to(restored, "0001")
    with restored.connect() as connection:
        connection.execute("insert into signal.audit (action) values ('purge')")
    migrate(restored, settings, models)
    assert _rows(restored, "select version_num from signal.alembic_version") == [("0008",)]
    assert _rows(restored, "select action, actor from signal.audit") == [("purge", None)]
    with closing(Ingest.from_settings(settings, restored)) as ingest:
        assert ingest.ingest_lines(traffic(YESTERDAY, 5)).accepted == 5


def test_a_clock_that_jumps_back_over_midnight_books_on_its_days(
    connection: Connection, ingest_at: Callable[[datetime], Ingest]
) -> None:
    after = datetime(TODAY.year, TODAY.month, TODAY.day, 0, 0, 30, tzinfo=UTC)
    for now in (after, after - timedelta(minutes=1)):
        assert ingest_at(now).ingest_lines([line()]).accepted == 1
    days = connection.execute("select day, version from signal.days order by day").fetchall()
    assert days == [(YESTERDAY, 1), (TODAY, 1)]
    assert books_reconcile(connection).passed


def test_a_full_disk_fails_the_batch_and_nothing_of_it_is_stored(
    connection: Connection, ingest: Ingest
) -> None:
    """PostgreSQL reports a full disk as SQLSTATE 53100.

    A trigger of the test raises it in the middle of a batch.
    """
    connection.execute(
        "create function signal.full_disk() returns trigger language plpgsql as $$ begin raise"
        " exception using errcode = '53100', message = 'No space left on device'; end $$"
    )
    connection.execute(
        "create trigger full_disk after insert on signal.books for each statement execute function"
        " signal.full_disk()"
    )
    with pytest.raises(Exception, match="53100"):
        ingest.ingest_lines(traffic(YESTERDAY, 20))
    assert connection.execute("select count(*) from signal.events").fetchone() == (0,)
    connection.execute("drop function signal.full_disk() cascade")
    assert ingest.ingest_lines(traffic(YESTERDAY, 20)).accepted == 20
