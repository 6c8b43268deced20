"""Runs over days whose raw events are purged: the rollups stay as they are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
from conftest import Build
from support.dagster import (
    Run,
    failure_text,
    materialized,
    metadata_of,
    newest_mark,
    purge,
    rows_of,
)
from support.days import RETENTION_DAYS, due_day, today, yesterday

from signal_pipeline.dagster.assets import rollup_run
from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy.retention import purge_due_days, purge_incomplete
from signal_pipeline.rollups.build import DayBuild, build_day
from signal_pipeline.rollups.models import Models

pytestmark = pytest.mark.embedded_only
PURGED = "purged: the raw events are gone, and the rollups are kept as they were"
INCOMPLETE = "purged before the rollups were proven complete: they are kept as they were"


def test_a_mixed_range(
    run: Run,
    instance: dg.DagsterInstance,
    fill: Callable[..., None],
    build: Build,
    connection: Connection,
    database: Database,
    models: Models,
) -> None:
    """A mixed range builds the good days and leaves purged ones."""
    old = due_day()
    fill(old)
    build(old)
    purge(database, models, old)
    before = rows_of(connection, "daily_app_activity", old)
    after = old + timedelta(days=1)
    fill(after)
    result = run("rollups_job", old, after)
    assert result.success
    assert rows_of(connection, "daily_app_activity", old) == before
    marked = materialized(instance, result)
    assert marked == {name: {str(old), str(after)} for name in models} | {
        "raw_events": {str(after)}
    }
    kept, built = (metadata_of(instance, "daily_app_activity", day) for day in (old, after))
    assert (kept["state"], kept["note"], kept["dagster/partition_row_count"]) == (
        "purged",
        PURGED,
        len(before),
    )
    assert built["state"] == "open"
    assert "note" not in built


def test_the_page_of_a_rollup_keeps_the_newest_day(
    run: Run,
    instance: dg.DagsterInstance,
    fill: Callable[..., None],
    build: Build,
    database: Database,
    models: Models,
) -> None:
    """The page shows the last mark, and only the newest day of a run has a trend and a preview."""
    old = due_day()
    after = old + timedelta(days=1)
    fill(old)
    build(old)
    purge(database, models, old)
    fill(after)
    assert run("rollups_job", old, after).success
    for name in models:
        day, shown = newest_mark(instance, name)
        assert day == str(after)
        assert shown >= {"trend", "preview"}
    assert newest_mark(instance, "raw_events")[1] >= {"books"}
    assert run("rollups_job", old).success
    day, shown = newest_mark(instance, "daily_app_activity")
    assert day == str(old)
    assert shown >= {"trend", "preview"}


@pytest.mark.parametrize("days", [1, 2])
def test_purged_days_only(
    days: int,
    instance: dg.DagsterInstance,
    run: Run,
    fill: Callable[..., None],
    connection: Connection,
    database: Database,
    models: Models,
) -> None:
    """A run of purged days only changes nothing and is no failure."""
    old = [due_day(n) for n in range(days, 0, -1)]
    for day in old:
        fill(day)
    run("rollups_job", old[0], old[-1])
    assert purge_due_days(database, models, RETENTION_DAYS).purged == old
    before = [rows_of(connection, "daily_entity_activity", day) for day in old]
    result = run("rollups_job", old[0], old[-1] if days > 1 else None)
    assert result.success
    assert materialized(instance, result) == {name: {str(day) for day in old} for name in models}
    assert [rows_of(connection, "daily_entity_activity", day) for day in old] == before


def test_purged_before_it_was_built(
    instance: dg.DagsterInstance,
    run: Run,
    fill: Callable[..., None],
    connection: Connection,
    database: Database,
    models: Models,
) -> None:
    """A day that was purged before a rollup was built is not marked for it and named."""
    old = due_day()
    fill(old)
    run("rollups_job", old)
    purge(database, models, old)
    connection.execute("delete from signal.builds where rollup = 'daily_os_activity'")
    result = run("rollups_job", old, old + timedelta(days=1))
    reason = (
        "1 day(s) not built, purged before daily_os_activity was built: nothing is left to build"
        f" it from: {old}"
    )
    assert reason in failure_text(result)
    marked = materialized(instance, result)
    assert str(old) in marked["daily_app_activity"]
    assert str(old) not in marked["daily_os_activity"]


def test_purged_between_two_attempts(
    run: Run,
    fill: Callable[..., None],
    build: Build,
    database: Database,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A day whose first attempt failed, and that was purged before the second, has not failed."""
    old = due_day()
    fill(old)
    build(old)
    attempts = []

    def fail_once(*arguments: Any) -> DayBuild:
        attempts.append(old)
        if len(attempts) == 1:
            purge(database, models, old)
            raise SignalError("the first attempt fails")
        return build_day(*arguments)

    monkeypatch.setattr(rollup_run, "build_day", fail_once)
    assert run("rollups_job", old).success
    assert len(attempts) == 2


@pytest.mark.parametrize("proven", [True, False])
def test_the_note_of_a_purged_day(
    proven: bool,
    instance: dg.DagsterInstance,
    run: Run,
    fill: Callable[..., None],
    build: Build,
    database: Database,
    models: Models,
) -> None:
    """The raw events of a purged day say whether its rollups were proven complete."""
    old = due_day()
    fill(old)
    if proven:
        build(old)
        purge(database, models, old)
    else:
        assert purge_incomplete(database, models, old, "tried", RETENTION_DAYS).purged == [old]
    assert run("raw_events_job", old).success
    shown = metadata_of(instance, "raw_events", old)
    assert (shown["state"], shown["note"]) == (
        ("purged", PURGED) if proven else ("incomplete", INCOMPLETE)
    )


def test_the_log_of_a_range(
    run: Run,
    instance: dg.DagsterInstance,
    fill: Callable[..., None],
    database: Database,
    models: Models,
    connection: Connection,
) -> None:
    """What became of a range is one line of its log."""
    old = due_day()
    fill(old)
    run("rollups_job", old)
    purge(database, models, old)
    connection.execute("update signal.instance set start_date = %s", [old])
    after = old + timedelta(days=1)
    result = run("rollups_job", old, after)
    lines = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert (
        f"1 day(s) built: {after}; 1 day(s) purged, kept as they were: {old};"
        f" earlier days, which cannot be built, are left out: {old} is the first" in lines
    )
    of_today = run("rollups_job", today())
    assert any(
        f"today, {today()}, is not over: its numbers are partial" in each.user_message
        for each in instance.all_logs(of_today.run_id)
    )


def test_wiped_marks_come_back(
    run: Run,
    fill: Callable[..., None],
    instance: dg.DagsterInstance,
    database: Database,
    models: Models,
) -> None:
    """Marks that were wiped or lost come back with the next run purged days too."""
    old = due_day()
    for day in (old, yesterday()):
        fill(day)
        assert run("rollups_job", day).success
    purge(database, models, old)
    for name in models:
        instance.wipe_assets([dg.AssetKey(name)])
    assert run("rollups_job", today()).success
    for name in models:
        days = {str(day) for day in (old, yesterday(), today())}
        assert instance.get_materialized_partitions(dg.AssetKey(name)) >= days
    again = run("rollups_job", today())
    assert materialized(instance, again)["daily_app_activity"] == {str(today())}, "once is enough"
