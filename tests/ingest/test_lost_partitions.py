"""A day whose partition is gone: new events are stored, and a purged day gets none again."""

from __future__ import annotations

import threading
from contextlib import closing
from datetime import date, timedelta

import pytest
from psycopg import sql
from support.bundle import SignalBundle
from support.checked import DAY, good
from support.days import due_day
from support.stored import count
from support.waits import until

from signal_pipeline.ingest.books import ACCEPTED, Outcome
from signal_pipeline.ingest.writer import EventWriter
from signal_pipeline.postgres.database import Connection, Database, DatabaseError
from signal_pipeline.privacy.retention import purge_incomplete
from signal_pipeline.rollups.build import BuildRefusedError


def _drop(connection: Connection, day: date) -> None:
    connection.execute(
        sql.SQL("drop table {}").format(sql.Identifier("signal", f"events_{day:%Y%m%d}"))
    )


def _has_partition(connection: Connection, day: date) -> bool:
    found = connection.execute("select to_regclass(%s)", [f"signal.events_{day:%Y%m%d}"])
    return found.fetchone() != (None,)


def test_a_new_event_is_stored_and_the_lost_ones_stay_missing(
    bundle: SignalBundle, connection: Connection
) -> None:
    bundle.fill(DAY)
    _drop(connection, DAY)
    bundle.fill(DAY, 5, seed=2)
    assert count(connection, "select count(*) from signal.events") == 5
    with pytest.raises(BuildRefusedError, match="raw events are missing: 5 of 30"):
        bundle.build(DAY)
    indexes = "select count(*) from pg_indexes where tablename = %s"
    lost, whole = (f"events_{day:%Y%m%d}" for day in (DAY, due_day()))
    bundle.fill(due_day())
    assert count(connection, indexes, lost) == count(connection, indexes, whole) > 0


def test_a_purged_day_gets_no_partition_again(
    bundle: SignalBundle, connection: Connection, writer: EventWriter
) -> None:
    day = due_day()
    bundle.fill(day)
    _drop(connection, day)
    purge_incomplete(bundle.database, bundle.models, day, "lost", 180)
    for function in ("ensure_day", "make_partition"):
        connection.execute(sql.SQL("select signal.{}(%s)").format(sql.Identifier(function)), [day])
    assert not _has_partition(connection, day)


def test_a_day_that_is_purged_meanwhile_gets_no_partition_again(
    database: Database, connection: Connection, bundle: SignalBundle
) -> None:
    bundle.fill(DAY)
    _drop(connection, DAY)
    outcomes: list[list[Outcome]] = []

    def write() -> None:
        with closing(EventWriter(database, "00000001")) as writer:
            outcomes.append(writer.write([good()]))

    waiting = (
        "select count(*) from pg_stat_activity where datname = current_database()"
        " and wait_event_type = 'Lock' and query like '%%signal.ensure_day%%'"
    )
    thread = threading.Thread(target=write, daemon=True)
    with database.connect() as purging, purging.transaction():
        purging.execute("select from signal.days where day = %s for update", [DAY])
        purging.execute("update signal.days set state = 'purged' where day = %s", [DAY])
        thread.start()
        until(lambda: count(connection, waiting) == 1)
    thread.join()
    assert outcomes == [[Outcome("dropped", "too_late")]]
    assert not _has_partition(connection, DAY)


def test_a_writer_that_knew_the_partition_stores_the_event_at_the_second_try(
    writer: EventWriter, connection: Connection
) -> None:
    """The first try fails, and nothing of it is stored or counted."""
    assert writer.write([good()]) == [ACCEPTED]
    _drop(connection, DAY)
    again = good()
    with pytest.raises(DatabaseError, match="23514|XX000"):  # Plain, and on a cluster.
        writer.write([again])
    assert writer.write([again]) == [ACCEPTED]
    assert count(connection, "select count(*) from signal.events") == 1


def test_a_detached_table_is_named_and_its_day_takes_no_event(
    bundle: SignalBundle, connection: Connection
) -> None:
    """Events that wait go on waiting, since the SQLSTATE is none of a fault of theirs."""
    bundle.fill(DAY)
    table = sql.Identifier("signal", f"events_{DAY:%Y%m%d}")
    connection.execute(sql.SQL("alter table signal.events detach partition {}").format(table))
    with pytest.raises(DatabaseError, match="is detached from signal.events") as refused:
        bundle.fill(DAY, 5, seed=2)
    assert refused.value.sqlstate == "SG002"
    attach = "alter table signal.events attach partition {} for values from ({}) to ({})"
    bounds = [sql.Literal(f"{day} 00:00:00+00") for day in (DAY, DAY + timedelta(days=1))]
    connection.execute(sql.SQL(attach).format(table, *bounds))
    bundle.fill(DAY, 5, seed=2)
    assert count(connection, "select count(*) from signal.events") == 30
