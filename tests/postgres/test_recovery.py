"""Recovery, tried out.

A dump of a live system is restored, and ingest continues exactly-once. Data of the previous version
is migrated.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from support.bundle import SignalBundle
from support.days import due_day, today, yesterday
from support.revisions import migrate_to
from support.traffic import line, traffic

from signal_pipeline.dagster.probes.book_balance import books_reconcile
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.embedded import wheel_program
from signal_pipeline.postgres.urls import with_database
from signal_pipeline.privacy.erasure import Subject, erase
from signal_pipeline.rollups.build import BuildRefusedError

pytestmark = pytest.mark.embedded_only
KEEP = 180


def _program(name: str) -> str:
    found = wheel_program(name)
    assert found is not None
    return found


@pytest.fixture
def empty(server: str) -> Iterator[Database]:
    """An empty database to restore into."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("drop database if exists signal_restored with (force)")
        connection.execute("create database signal_restored")
        yield Database(with_database(server, "signal_restored"))
        connection.execute("drop database signal_restored with (force)")


def _dump(bundle: SignalBundle, dump: Path) -> None:
    subprocess.run(
        [_program("pg_dump"), "-Fc", "-f", str(dump), "--dbname", bundle.database.url], check=True
    )


def _restore(bundle: SignalBundle, dump: Path) -> None:
    subprocess.run(
        [_program("pg_restore"), "--exit-on-error", "--dbname", bundle.database.url, str(dump)],
        check=True,
    )


def test_a_dump_of_a_live_system_goes_on_exactly_once(
    bundle: SignalBundle, empty: Database, tmp_path: Path
) -> None:
    for day in (due_day(), yesterday()):
        bundle.fill(day, 60)
        bundle.build(day)
    assert bundle.purge().purged == [due_day()]
    batches = [traffic(yesterday(), 20, seed) for seed in range(10, 40)]

    def keep_ingesting() -> None:
        with bundle.ingest() as ingest:
            for batch in batches:
                ingest.ingest_lines(batch)

    live = threading.Thread(target=keep_ingesting)
    live.start()
    _dump(bundle, tmp_path / "signal.dump")
    live.join()
    restored = bundle.over(empty)
    _restore(restored, tmp_path / "signal.dump")

    restored.migrate()
    with empty.connect() as connection:
        assert books_reconcile(connection).passed
    with restored.ingest() as ingest:  # The events after the dump are sent again.
        counts = [ingest.ingest_lines(batch) for batch in batches]
        assert sum(c.accepted + c.duplicate for c in counts) == 600
        assert ingest.ingest_lines([line(createdAt=f"{due_day()}T10:00:00Z")]).dropped == {
            "too_late": 1
        }
    same = "select client_event_id from signal.events order by 1"
    assert restored.rows(same) == bundle.rows(same)
    restored.build(yesterday())
    total = "select sum(events)::int from signal.daily_app_activity where event_type = '(all)'"
    assert restored.rows(total) == [(60 + 60 + 600,)]
    with pytest.raises(BuildRefusedError, match="purged"):
        restored.build(due_day())


def test_purges_and_erasures_after_the_dump_are_applied_again(
    bundle: SignalBundle, empty: Database, tmp_path: Path
) -> None:
    for day in (due_day(), yesterday()):
        bundle.fill(day, 60)
        bundle.build(day)
    _dump(bundle, tmp_path / "signal.dump")
    (user,) = bundle.rows(
        "select user_hash from signal.events where created_at > now() - interval '9 days' limit 1"
    )[0]
    subject = Subject.user(user, yesterday())
    erased = erase(bundle.database, subject, b"a" * 32)
    assert bundle.purge().purged == [due_day()]
    restored = bundle.over(empty)
    _restore(restored, tmp_path / "signal.dump")
    again = erase(empty, subject, b"a" * 32)
    assert [day.events for day in again.days] == [day.events for day in erased.days]
    assert restored.purge().purged == [due_day()]


def test_data_of_the_previous_version_is_migrated(bundle: SignalBundle, empty: Database) -> None:
    migrate_to(empty, "0001")
    with empty.connect() as connection:
        connection.execute("insert into signal.audit (action) values ('purge')")
    upgraded = bundle.over(empty)
    upgraded.migrate()
    assert upgraded.rows("select version_num from signal.alembic_version") == [("0016",)]
    assert upgraded.rows("select action, actor from signal.audit") == [("purge", None)]
    upgraded.fill(yesterday(), 5)


def test_a_clock_that_jumps_back_over_midnight_books_on_its_days(
    connection: Connection, ingest_at: Callable[[datetime], Ingest]
) -> None:
    after = datetime(today().year, today().month, today().day, 0, 0, 30, tzinfo=UTC)
    for now in (after, after - timedelta(minutes=1)):
        assert ingest_at(now).ingest_lines([line()]).accepted == 1
    days = connection.execute("select day, version from signal.days order by day").fetchall()
    assert days == [(yesterday(), 1), (today(), 1)]
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
        ingest.ingest_lines(traffic(yesterday(), 20))
    assert connection.execute("select count(*) from signal.events").fetchone() == (0,)
    connection.execute("drop function signal.full_disk() cascade")
    assert ingest.ingest_lines(traffic(yesterday(), 20)).accepted == 20
