"""Real runs of the rollups: what is built, what is refused, and what is marked."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg
import pytest
from support.dagster import (
    Run,
    failure_text,
    materialized,
    metadata_of,
    purge,
    refuse_day,
    row_counts,
    rows_of,
)
from support.days import days_ago, due_day, yesterday

from signal_pipeline.dagster.log_alerts import failure_line
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.engine import open_engine
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only


def test_a_day_is_built_and_marked(
    run: Run, instance: dg.DagsterInstance, fill: Callable[..., None], models: Models
) -> None:
    fill(yesterday(), 30)
    result = run("rollups_job", yesterday())
    assert result.success
    assert materialized(instance, result) == {
        name: {str(yesterday())} for name in ["raw_events", *models]
    }


def test_row_counts_of_a_range(
    run: Run, fill: Callable[..., None], instance: dg.DagsterInstance, connection: Connection
) -> None:
    """Each day of a range shows its own row count."""
    days = [days_ago(n) for n in (3, 2, 1)]
    for count, day in enumerate(days, start=1):
        fill(day, 10 * count)
    assert run("rollups_job", days[0], days[-1]).success
    for day in days:
        shown = row_counts(instance, "daily_route_activity", day)
        assert shown == [len(rows_of(connection, "daily_route_activity", day))]


def test_days_before_the_start_date(
    run: Run, instance: dg.DagsterInstance, connection: Connection
) -> None:
    """Dagster knows the start date that its processes were started with.

    The database can have a later one.
    """
    connection.execute("update signal.instance set start_date = %s", [yesterday()])
    first = days_ago(4)
    result = run("rollups_job", first, yesterday())
    sentence = f"3 day(s) not built, before the start date {yesterday()}: {first} to {days_ago(2)}"
    assert sentence in failure_text(result)
    assert materialized(instance, result)["daily_app_activity"] == {str(yesterday())}
    refused = run("raw_events_job", first, yesterday())
    assert f"3 day(s) are before the start date {yesterday()} and unknown" in failure_text(refused)
    assert materialized(instance, refused) == {}, (
        "a mark would say zero of days that nobody can know"
    )


def test_missing_raw_events(
    run: Run, instance: dg.DagsterInstance, fill: Callable[..., None], connection: Connection
) -> None:
    """Missing raw events are refused and the other days built."""
    day = days_ago(2)
    for each in (day, yesterday()):
        fill(each)
    assert run("rollups_job", day, yesterday()).success
    before = rows_of(connection, "daily_app_activity", day)
    connection.execute(
        "delete from signal.events where id in (select id from signal.events where created_at < %s"
        " limit 5)",
        [yesterday()],
    )
    result = run("rollups_job", day, yesterday())
    assert not result.success
    assert "raw events are missing: 20 of 25" in failure_text(result)
    assert materialized(instance, result)["daily_app_activity"] == {str(yesterday())}
    assert rows_of(connection, "daily_app_activity", day) == before


def test_only_stale_days(run: Run, instance: dg.DagsterInstance, fill: Callable[..., None]) -> None:
    """Only stale days of a sensor run are built."""
    days = [days_ago(n) for n in (3, 2, 1)]
    for day in days:
        fill(day)
    assert run("rollups_job", days[0], days[-1]).success
    fill(days[1], 5, seed=2)
    result = run("rollups_job", days[0], days[-1], {"signal/only_stale": "true"})
    assert result.success
    assert materialized(instance, result)["daily_os_activity"] == {str(days[1])}


def test_an_unmarked_build(
    run: Run,
    instance: dg.DagsterInstance,
    fill: Callable[..., None],
    connection: Connection,
    database: Database,
    settings: Settings,
    models: Models,
) -> None:
    """A killed run commits builds that it cannot mark any more.

    Nobody asks for them again, since they are fresh.
    """
    purged, killed, stale = due_day(), days_ago(41), yesterday()
    for day in (purged, killed):
        fill(day)
        build = build_day(database, open_engine(settings, database), models, day)
    purge(database, models, purged)
    fill(stale)
    stamps = connection.execute("select * from signal.builds order by day, rollup").fetchall()
    result = run("rollups_job", stale, stale, {"signal/only_stale": "true"})
    assert result.success
    both = {str(killed), str(stale)}
    assert materialized(instance, result) == {name: {str(purged), *both} for name in models} | {
        "raw_events": both
    }
    rest = connection.execute(
        "select * from signal.builds where day <> %s order by day, rollup", [stale]
    ).fetchall()
    assert rest == stamps  # Nothing was built again.
    for name in models:
        marked = metadata_of(instance, name, killed)
        assert (
            marked["dagster/partition_row_count"]
            == build.rows[name]
            == len(rows_of(connection, name, killed))
        )
        assert (marked["version"], marked["raw_events"]) == (1, 25)
        assert 0 < marked["seconds"] <= round(build.seconds, 3)  # type: ignore[operator]
    events = metadata_of(instance, "raw_events", killed)
    assert (build.first_event, build.last_event) != (None, None)
    assert events["first_event"] == build.first_event.timestamp()  # type: ignore[union-attr]
    assert events["last_event"] == build.last_event.timestamp()  # type: ignore[union-attr]
    again = run("rollups_job", stale, stale, {"signal/only_stale": "true"})
    assert materialized(instance, again) == {}


def test_an_unmarked_build_of_the_runs_own_day(
    run: Run,
    instance: dg.DagsterInstance,
    fill: Callable[..., None],
    database: Database,
    settings: Settings,
    models: Models,
) -> None:
    """Only what is not shown of a day that is being built is marked."""
    fill(yesterday())
    build_day(database, open_engine(settings, database), models, yesterday())
    result = run("rollups_job", yesterday())
    assert len(row_counts(instance, "daily_os_activity", yesterday())) == 1
    assert materialized(instance, result) == {
        name: {str(yesterday())} for name in ["raw_events", *models]
    }


def test_a_day_that_fails(
    run: Run, instance: dg.DagsterInstance, fill: Callable[..., None], connection: Connection
) -> None:
    """A day of which a rollup fails holds up no other and is named."""
    days = [days_ago(n) for n in (3, 2, 1)]
    for day in days:
        fill(day)
    refuse_day(connection, days[1])
    result = run("rollups_job", days[0], days[-1])
    assert not result.success
    assert materialized(instance, result)["daily_os_activity"] == {str(days[0]), str(days[2])}
    failed = instance.get_run_by_id(result.run_id)
    assert failed
    assert failed.tags["signal/failed_days"] == str(days[1])
    assert f"failed for {days[1]} (daily_os_activity):" in failure_line(failed)
    assert "CheckViolation" in failure_text(result)


@pytest.mark.parametrize("job", ["rollups_job", "raw_events_job", "nightly_job"])
def test_jobs_exist_by_their_fixed_names(defs: dg.Definitions, job: str) -> None:
    assert defs.resolve_job_def(job).name == job
