"""A day that PostgreSQL refuses to purge: it is kept with the reason, and holds up no other day."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from support.bundle import SignalBundle
from support.days import due_day
from support.stored import count

from signal_pipeline.days.placement import distributed_tables
from signal_pipeline.days.receipts import list_receipts
from signal_pipeline.postgres.database import Connection, DatabaseUnreachableError
from signal_pipeline.privacy import day_purge
from signal_pipeline.privacy.purge_proof import PurgeFacts
from signal_pipeline.privacy.retention import RetentionError, purge_incomplete

OLDEST = due_day(3)
OTHERS = [due_day(2), due_day(1)]
KEEP = 180


@pytest.fixture
def built(bundle: SignalBundle) -> SignalBundle:
    """A Signal with three days that are due and proven."""
    for day in (OLDEST, *OTHERS):
        bundle.fill(day)
        bundle.build(day)
    return bundle


def _partition(text: str) -> sql.Composed:
    return sql.SQL(text).format(  # type: ignore[arg-type]
        partition=sql.Identifier("signal", f"events_{OLDEST:%Y%m%d}")
    )


def test_a_view_over_a_partition_holds_up_no_other_day(
    built: SignalBundle, connection: Connection
) -> None:
    connection.execute(
        "insert into signal.landed_files (content_hmac, bytes, done_at)"
        " values ('\\x00', 1, now() - interval '300 days')"
    )
    connection.execute(_partition("create view public.of_one_day as select * from {partition}"))
    result = built.purge()
    assert (result.purged, result.fault) == (OTHERS, None)
    assert list(result.kept) == [OLDEST]
    depends = f"view public.of_one_day depends on table signal.events_{OLDEST:%Y%m%d}"
    assert f"({depends}): drop those objects" in result.kept[OLDEST]
    # Nothing of the day is gone, and the rest of the run was done.
    assert count(connection, "select count(*) from signal.events") == 25
    assert count(connection, "select count(*) from signal.event_keys where day = %s", OLDEST) == 25
    assert count(connection, "select count(*) from signal.landed_files") == 0
    with pytest.raises(RetentionError, match=f"day {OLDEST} was not purged .*{depends}"):
        purge_incomplete(built.database, built.models, OLDEST, "a reason", KEEP)
    connection.execute("drop view public.of_one_day")
    assert built.purge().purged == [OLDEST]


@pytest.mark.embedded_only
def test_a_partition_of_another_login_holds_up_no_other_day(
    built: SignalBundle, connection: Connection
) -> None:
    """As after a restore by several logins."""
    if distributed_tables(connection):
        pytest.skip("the workers of a cluster would need these logins too")
    connection.execute("create role signal_test_owner")
    connection.execute("grant create on schema signal to signal_test_owner")
    (function_owner,) = connection.execute("select current_user").fetchone()  # type: ignore[misc]
    try:
        connection.execute(
            "create role signal_test_purger nosuperuser in role signal_admin;"
            "grant usage on schema signal to signal_test_purger"
        )
        connection.execute(
            "alter function signal.drop_partition(date) owner to signal_test_purger;"
            "grant select on signal.days, signal.receipts to signal_test_purger"
        )
        for day in OTHERS:
            connection.execute(
                sql.SQL("alter table {} owner to signal_test_purger").format(
                    sql.Identifier("signal", f"events_{day:%Y%m%d}")
                )
            )
        connection.execute(_partition("alter table {partition} owner to signal_test_owner"))
        result = built.purge()
        assert result.purged == OTHERS
        assert "belongs to another login" in result.kept[OLDEST]
    finally:
        for role in ("signal_test_owner", "signal_test_purger"):
            connection.execute(
                sql.SQL("reassign owned by {} to {}; drop owned by {}; drop role {}").format(
                    *map(sql.Identifier, (role, function_owner, role, role))
                )
            )


@pytest.mark.parametrize("sqlstate", ["XX001", "58030", "57014", "42P01"])
def test_a_day_that_cannot_be_read_holds_up_no_other(
    built: SignalBundle, monkeypatch: pytest.MonkeyPatch, sqlstate: str
) -> None:
    """As with a damaged page, a bad sector, or a statement that somebody cancels."""
    read = day_purge.read_purge_facts

    def refuse(proving: Connection, day: Any) -> PurgeFacts:
        if day == OLDEST:
            proving.execute(
                sql.SQL(
                    "do $$ begin raise exception 'of a private value' using errcode = {}; end $$"
                ).format(sqlstate)
            )
        return read(proving, day)

    monkeypatch.setattr(day_purge, "read_purge_facts", refuse)
    result = built.purge()
    assert result.purged == OTHERS
    assert list(result.kept) == [OLDEST]
    assert sqlstate in result.kept[OLDEST]
    assert "private" not in result.kept[OLDEST]


def test_a_lost_connection_ends_the_run(
    built: SignalBundle, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No day is at fault then."""
    read = day_purge.read_purge_facts

    def lose(proving: Connection, day: Any) -> PurgeFacts:
        connection.execute("select pg_terminate_backend(%s::int)", [proving.info.backend_pid])
        return read(proving, day)

    monkeypatch.setattr(day_purge, "read_purge_facts", lose)
    with pytest.raises(DatabaseUnreachableError):
        built.purge()
    assert list_receipts(connection) == []


def test_a_day_whose_partition_is_gone_can_be_purged(
    built: SignalBundle, connection: Connection
) -> None:
    """Its events are lost, but its keys must go, and the alarm must end."""
    connection.execute(_partition("drop table {partition}"))
    result = built.purge()
    assert result.purged == OTHERS
    assert "raw events are missing: 0 of 25" in result.kept[OLDEST]
    purge_incomplete(built.database, built.models, OLDEST, "the table is lost", KEEP)
    assert count(connection, "select count(*) from signal.event_keys") == 0
    (receipt,) = [each for each in list_receipts(connection) if each.day == OLDEST]
    assert (receipt.raw_events, receipt.keys, receipt.incomplete) == (0, 25, True)
    assert receipt.bytes == 0


def test_an_empty_day_whose_partition_is_gone_is_proven(
    bundle: SignalBundle, connection: Connection
) -> None:
    bundle.build(OLDEST)
    bundle.fill(OLDEST + timedelta(days=1))
    connection.execute(_partition("drop table {partition}"))
    assert bundle.purge().purged == [OLDEST]


def test_a_partition_without_a_receipt_stays(built: SignalBundle, connection: Connection) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="has no receipt"):
        connection.execute("select signal.drop_partition(%s)", [OLDEST])
    assert count(connection, "select count(*) from signal.events") == 75
