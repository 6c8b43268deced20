"""The guards of the rollups: rows of purged and unknown days cannot change (invariant 8)."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import date

import psycopg
import pytest
from psycopg import errors
from support.guarded import INSERT, OPEN_DAY, PURGED_DAY, ROWS

from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups.models import load_models
from signal_pipeline.schema.rollup_tables import migrate_rollups

UNKNOWN_DAY = date(2024, 3, 5)


CHANGES: dict[str, str] = {
    "insert": "insert into signal.daily_app_activity values ('{day}', 'cms', 'clicked', 1, 1, 1)",
    "copy": "copy signal.daily_app_activity from stdin",
    "update": "update signal.daily_app_activity set users = 2 where activity_date = '{day}'",
    "move out": (
        "update signal.daily_app_activity set activity_date = '2026-03-05' where activity_date ="
        " '{day}'"
    ),
    "move in": (
        "update signal.daily_app_activity set activity_date = '{day}' where activity_date ="
        " '2026-03-05'"
    ),
    "delete": "delete from signal.daily_app_activity where activity_date = '{day}'",
    "delete all": "delete from signal.daily_app_activity",
    "upsert": (
        "insert into signal.daily_app_activity values ('{day}', 'cms', '(all)', 1, 1, 1)"
        " on conflict (activity_date, app_name, event_type) do update set users = 2"
    ),
    "merge": (
        "merge into signal.daily_app_activity as t"
        " using (values (date '{day}')) as s (day) on t.activity_date = s.day"
        " when matched then update set users = 3 when not matched then do nothing"
    ),
    "writable cte": (
        "with gone as (delete from signal.daily_app_activity"
        " where activity_date = '{day}' returning 1) select count(*) from gone"
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_purged_day_cannot_change(guarded: Connection, name: str) -> None:
    guarded.execute(INSERT, [OPEN_DAY, "clicked"])
    before = guarded.execute(ROWS).fetchall()
    with pytest.raises(errors.RaiseException, match=f"day {PURGED_DAY} is purged"):
        _change(guarded, name, PURGED_DAY)
    assert guarded.execute(ROWS).fetchall() == before


@pytest.mark.parametrize("name", ["insert", "copy", "upsert"])
def test_an_unknown_day_cannot_get_rows(guarded: Connection, name: str) -> None:
    with pytest.raises(errors.RaiseException, match=f"day {UNKNOWN_DAY} is unknown"):
        _change(guarded, name, UNKNOWN_DAY)


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "delete all"])
def test_an_open_day_can_change(guarded: Connection, name: str) -> None:
    guarded.execute(INSERT, [OPEN_DAY, "(all)"])
    _change(guarded, name, OPEN_DAY)


def test_truncate_is_refused(guarded: Connection) -> None:
    with pytest.raises(errors.RaiseException, match="truncate is refused"):
        guarded.execute("truncate signal.daily_app_activity")


def test_a_guard_that_was_disabled_is_made_again(guarded: Connection) -> None:
    guarded.execute("alter table signal.daily_app_activity disable trigger all")
    assert migrate_rollups(guarded, load_models())
    with pytest.raises(errors.RaiseException, match=f"day {PURGED_DAY} is purged"):
        _change(guarded, "delete", PURGED_DAY)
    assert migrate_rollups(guarded, load_models()) == []


def test_a_write_waits_for_a_purge_and_is_then_refused(guarded: Connection, url: str) -> None:
    refusals: list[str] = []

    def write() -> None:
        with psycopg.connect(url, autocommit=True, application_name="late") as late:
            try:
                late.execute(INSERT, [OPEN_DAY, "clicked"])
            except errors.RaiseException as error:
                refusals.append(error.diag.message_primary or "")

    # Another connection watches, because within one transaction pg_stat_activity does not change.
    with psycopg.connect(url, autocommit=True) as watching, guarded.transaction():
        guarded.execute("select from signal.days where day = %s for update", [OPEN_DAY])
        thread = threading.Thread(target=write)
        thread.start()
        _wait_until(lambda: _is_waiting(watching))
        guarded.execute("update signal.days set state = 'purged' where day = %s", [OPEN_DAY])
    thread.join()
    assert refusals == [f"day {OPEN_DAY} is purged: signal.daily_app_activity is not changed"]


def test_a_write_holds_off_a_purge_but_not_a_new_version(guarded: Connection, url: str) -> None:
    with psycopg.connect(url, autocommit=True) as other, guarded.transaction():
        guarded.execute(INSERT, [OPEN_DAY, "clicked"])
        other.execute("set lock_timeout = '5s'")
        other.execute("update signal.days set version = version + 1 where day = %s", [OPEN_DAY])
        with pytest.raises(errors.LockNotAvailable):
            other.execute("select from signal.days where day = %s for update nowait", [OPEN_DAY])


def _change(connection: Connection, name: str, day: date) -> None:
    statement = CHANGES[name].format(day=day)
    if name != "copy":
        connection.execute(statement)
        return
    with connection.cursor().copy(statement) as copy:
        copy.write_row((day, "cms", "copied", 1, 1, 1))


def _is_waiting(connection: Connection) -> bool:
    return bool(
        connection.execute(
            "select 1 from pg_stat_activity where application_name = 'late' and wait_event_type ="
            " 'Lock'"
        ).fetchone()
    )


def _wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if condition():
            return
        threading.Event().wait(0.02)
    raise AssertionError("nothing happened for ten seconds")
