"""The audit log: nobody changes an entry, and each role writes only its own kind."""

from __future__ import annotations

import uuid
from datetime import datetime

import pytest
from conftest import As
from psycopg import errors
from support.days import yesterday

from signal_pipeline.postgres.database import Connection

ENTRY = (
    "select action, day, actor, details, at between %s and clock_timestamp() from signal.audit"
    " where id > %s"
)


def _newest_entry(connection: Connection) -> tuple[datetime, int]:
    """The server's time, and the number of the last entry."""
    row = connection.execute(
        "select clock_timestamp(), coalesce(max(id), 0) from signal.audit"
    ).fetchone()
    assert row
    return row  # type: ignore[return-value]


def test_the_audit_is_append_only_for_its_owner_too(connection: Connection, filled: None) -> None:
    for statement in (
        "delete from signal.audit",
        "update signal.audit set day = null",
        "truncate signal.audit",
    ):
        with pytest.raises(errors.RaiseException, match="append-only"):
            connection.execute(statement)  # type: ignore[arg-type]


def test_the_api_can_only_say_that_somebody_reads_now(as_role: As, connection: Connection) -> None:
    before = _newest_entry(connection)
    with as_role("signal_api").connect() as api:
        # An entry is changed neither by the time at which a transaction began, nor by objects of
        # the caller's own.
        api.execute("set search_path = pg_temp, signal")
        with api.transaction():
            api.execute("select signal.audit_read(%s, 3)", [b"a" * 32])
    assert connection.execute(ENTRY, before).fetchall() == [
        ("read_events", None, b"a" * 32, {"events": 3}, True)
    ]


def test_the_api_makes_no_entry_of_nobody_or_of_an_impossible_count(
    as_role: As, connection: Connection
) -> None:
    before = _newest_entry(connection)
    with as_role("signal_api").connect() as api:
        for actor, seen in ((None, 3), (b"a" * 32, None), (b"a" * 32, -1)):
            with pytest.raises(errors.RaiseException, match="an entry of a read needs"):
                api.execute("select signal.audit_read(%s, %s)", [actor, seen])
        api.execute("select signal.audit_read(%s, 0)", [b"a" * 32])
    assert connection.execute(ENTRY, before).fetchall() == [
        ("read_events", None, b"a" * 32, {"events": 0}, True)
    ]


def test_the_time_of_an_entry_is_not_that_at_which_a_transaction_began(
    as_role: As, connection: Connection
) -> None:
    with as_role("signal_api").connect() as api, api.transaction():
        api.execute("select 1")
        before = _newest_entry(connection)
        api.execute("select signal.audit_read(%s, 3)", [b"a" * 32])
    assert [row[-1] for row in connection.execute(ENTRY, before).fetchall()] == [True]


def test_the_admin_writes_entries_of_its_own_actions_only(
    as_role: As, connection: Connection
) -> None:
    before = _newest_entry(connection)
    with as_role("signal_admin").connect() as admin:
        for action in ("read_events", "x", None):
            with pytest.raises(errors.RaiseException, match="no such action"):
                admin.execute(
                    "select signal.audit_operator(%s, %s, null, '{}')", [action, yesterday()]
                )
        admin.execute("select signal.audit_operator('erase', %s, null, '{}')", [yesterday()])
    assert connection.execute(ENTRY, before).fetchall() == [("erase", yesterday(), None, {}, True)]


def test_the_time_of_an_erasure_from_a_purged_day_is_that_of_the_erasure(
    as_role: As, connection: Connection, filled: None
) -> None:
    with as_role("signal_admin").connect() as admin, admin.transaction():
        admin.execute("select 1")
        before = _newest_entry(connection)
        admin.execute(
            "select signal.erase_entity_from_purged_days('journey', %s, %s, %s)",
            [str(uuid.UUID(int=3)), uuid.uuid4(), b"a" * 32],
        )
    assert [row[-1] for row in connection.execute(ENTRY, before).fetchall()] == [True]
