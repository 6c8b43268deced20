"""What an engine reads of a day, and when it writes."""

from __future__ import annotations

import threading
from datetime import timedelta

import psycopg
import pytest
from support.rollup_events import (
    DAY,
    START,
    Event,
    build,
    insert,
    stored_rows,
)

from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups.engine import Engine, EngineError
from signal_pipeline.rollups.models import Models
from signal_pipeline.rollups.postgres_engine import PostgresEngine


def test_expected_events(engine: Engine, day: Connection, models: Models) -> None:
    """Expected events are accepted minus erased."""
    other_day = DAY - timedelta(days=1)
    for entry in (
        *((DAY, "accepted", 5), (DAY, "accepted", 4), (DAY, "erased", 2)),
        *((DAY, "duplicate", 8), (DAY, "dropped", 16), (other_day, "accepted", 32)),
    ):
        day.execute("insert into signal.books values (%s, %s, %s)", entry)
    snapshot, _ = build(engine, day, models)
    assert snapshot.expected_events == 7


def test_a_purged_day_reads_as_empty(engine: Engine, day: Connection, models: Models) -> None:
    day.execute("update signal.days set state = 'purged'")
    with engine.read(day, DAY, models) as built:
        assert (built.snapshot.state, built.snapshot.raw_events) == ("purged", 0)


def test_an_unknown_day_is_refused(engine: Engine, day: Connection, models: Models) -> None:
    unknown = DAY + timedelta(days=9)
    with pytest.raises(EngineError, match=f"day {unknown} is unknown"):
        build(engine, day, models, unknown)


def test_some_of_the_models(engine: Engine, day: Connection, models: Models) -> None:
    """Some of the models may be built."""
    insert(day, [Event(START)])
    _, written = build(engine, day, models.only(["daily_os_activity"]))
    assert written == {"daily_os_activity": 2}
    assert stored_rows(day, "daily_app_activity") == []


def test_events_after_the_read(engine: Engine, day: Connection, models: Models) -> None:
    """What happens after the read is not in it."""
    insert(day, [Event(START)])
    with engine.read(day, DAY, models) as built:
        insert(day, [Event(START)])
        day.execute("update signal.days set version = 8")
        built.write(day, models["daily_app_activity"])
    assert (built.snapshot.version, built.snapshot.raw_events) == (7, 1)
    assert (DAY, "cms", "(all)", 1, 1, 0) in stored_rows(day, "daily_app_activity")


def test_writing_again_after_a_rollback(engine: Engine, day: Connection, models: Models) -> None:
    """A write can be done again after a rollback."""
    insert(day, [Event(START)])
    with engine.read(day, DAY, models) as built:
        for rolled_back in (True, False):
            with day.transaction(force_rollback=rolled_back):
                assert built.write(day, models["daily_app_activity"]) == 2
    assert len(stored_rows(day, "daily_app_activity")) == 2


def test_one_snapshot(engine: Engine, day: Connection, url: str, models: Models) -> None:
    """A writer commits an event, its entry in the books and the version together.

    No read must see them apart.
    """
    day.execute("update signal.days set version = 0")
    day.execute("insert into signal.books values (%s, 'accepted', 0)", [DAY])
    done = threading.Event()

    def write() -> None:
        with psycopg.connect(url, autocommit=True) as writing:
            while not done.is_set():
                with writing.transaction():
                    insert(writing, [Event(START)])
                    writing.execute("update signal.books set events = events + 1")
                    writing.execute("update signal.days set version = version + 1")

    thread = threading.Thread(target=write)
    thread.start()
    try:
        small = models.only(["daily_app_activity"])
        seen = [build(engine, day, small)[0] for _ in range(15)]
    finally:
        done.set()
        thread.join()
    for snapshot in seen:
        assert snapshot.version == snapshot.expected_events == snapshot.raw_events
    assert len({snapshot.version for snapshot in seen}) > 1


def test_the_snapshot_transaction_must_be_new(day: Connection, models: Models) -> None:
    with day.transaction(), pytest.raises(EngineError, match="already in a transaction"):
        build(PostgresEngine(), day, models)


def test_no_temporary_table_is_left(day: Connection, models: Models) -> None:
    """PostgreSQL leaves no temporary table."""
    insert(day, [Event(START)])
    build(PostgresEngine(), day, models)
    with pytest.raises(ZeroDivisionError), PostgresEngine().read(day, DAY, models):
        raise ZeroDivisionError
    assert day.execute("select count(*) from pg_class where relpersistence = 't'").fetchone() == (
        0,
    )
