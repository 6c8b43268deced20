"""Real runs: what is built, what is refused, and what the rollups hold afterwards."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import pytest
from conftest import Build
from psycopg import sql
from support.dagster import (
    RETENTION_DAYS,
    TODAY,
    YESTERDAY,
    Run,
    due_day,
    materialized,
    purge,
    rows_of,
)

from signal_pipeline.dagster.log_alerts import failure_line, red_checks
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy.retention import purge_due_days
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.engine import open_engine
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

PURGED = "purged: the raw events are gone, and the rollups are kept as they were"


def test_a_day_is_built_and_marked(
    run: Run, instance: dg.DagsterInstance, fill: Callable[..., None], models: Models
) -> None:
    fill(YESTERDAY, 30)
    result = run("rollups_job", YESTERDAY)
    assert result.success
    assert materialized(instance, result) == {
        name: {str(YESTERDAY)} for name in ["raw_events", *models]
    }


def test_each_day_of_a_range_shows_its_own_row_count(
    run: Run, fill: Callable[..., None], instance: dg.DagsterInstance, connection: Connection
) -> None:
    days = [YESTERDAY - timedelta(days=n) for n in (2, 1, 0)]
    for count, day in enumerate(days, start=1):
        fill(day, 10 * count)
    assert run("rollups_job", days[0], days[-1]).success
    for day in days:
        shown = _row_counts(instance, "daily_route_activity", day)
        assert shown == [len(rows_of(connection, "daily_route_activity", day))]


def _row_counts(instance: dg.DagsterInstance, asset: str, day: date) -> list[object]:
    records = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[str(day)]), limit=10
    ).records
    return [
        record.asset_materialization.metadata["dagster/partition_row_count"].value
        for record in records
        if record.asset_materialization
    ]


def test_a_mixed_range_builds_the_good_days_and_leaves_purged_ones(
    run: Run,
    instance: dg.DagsterInstance,
    fill: Callable[..., None],
    build: Build,
    connection: Connection,
    database: Database,
    models: Models,
) -> None:
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
    kept, built = (_metadata(instance, "daily_app_activity", day) for day in (old, after))
    assert (kept["state"], kept["note"], kept["dagster/partition_row_count"]) == (
        "purged",
        PURGED,
        len(before),
    )
    assert built["state"] == "open"
    assert "note" not in built


@pytest.mark.parametrize("days", [1, 2])
def test_a_run_of_purged_days_only_changes_nothing_and_is_no_failure(
    days: int,
    instance: dg.DagsterInstance,
    run: Run,
    fill: Callable[..., None],
    connection: Connection,
    database: Database,
    models: Models,
) -> None:
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


def test_a_day_that_was_purged_before_a_rollup_was_built_is_not_marked_for_it_and_named(
    instance: dg.DagsterInstance,
    run: Run,
    fill: Callable[..., None],
    connection: Connection,
    database: Database,
    models: Models,
) -> None:
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
    assert reason in _failure(result)
    marked = materialized(instance, result)
    assert str(old) in marked["daily_app_activity"]
    assert str(old) not in marked["daily_os_activity"]


def test_days_before_the_start_date_are_named_in_one_sentence_and_hold_up_no_other(
    run: Run, instance: dg.DagsterInstance, connection: Connection
) -> None:
    """Dagster knows the start date that its processes were started with.

    The database can have a later one.
    """
    connection.execute("update signal.instance set start_date = %s", [YESTERDAY])
    first = YESTERDAY - timedelta(days=3)
    result = run("rollups_job", first, YESTERDAY)
    sentence = (
        f"3 day(s) not built, before the start date {YESTERDAY}: {first} to"
        f" {YESTERDAY - timedelta(days=1)}"
    )
    assert sentence in _failure(result)
    assert materialized(instance, result)["daily_app_activity"] == {str(YESTERDAY)}
    refused = run("raw_events_job", first, YESTERDAY)
    assert f"3 day(s) are before the start date {YESTERDAY} and unknown" in _failure(refused)
    assert materialized(instance, refused) == {}, (
        "a mark would say zero of days that nobody can know"
    )


def test_what_became_of_a_range_is_one_line_of_its_log(
    run: Run,
    instance: dg.DagsterInstance,
    fill: Callable[..., None],
    database: Database,
    models: Models,
    connection: Connection,
) -> None:
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
        f" days before the start date {old} cannot be built, and none was asked for" in lines
    )
    today = run("rollups_job", TODAY)
    assert any(
        f"today, {TODAY}, is not over: its numbers are partial" in each.user_message
        for each in instance.all_logs(today.run_id)
    )


def test_marks_that_were_wiped_or_lost_come_back_with_the_next_run_purged_days_too(
    run: Run,
    fill: Callable[..., None],
    instance: dg.DagsterInstance,
    database: Database,
    models: Models,
) -> None:
    old = due_day()
    for day in (old, YESTERDAY):
        fill(day)
        assert run("rollups_job", day).success
    purge(database, models, old)
    for name in models:
        instance.wipe_assets([dg.AssetKey(name)])
    assert run("rollups_job", TODAY).success
    for name in models:
        days = {str(day) for day in (old, YESTERDAY, TODAY)}
        assert instance.get_materialized_partitions(dg.AssetKey(name)) >= days
    again = run("rollups_job", TODAY)
    assert materialized(instance, again)["daily_app_activity"] == {str(TODAY)}, "once is enough"


def test_missing_raw_events_are_refused_and_the_other_days_built(
    run: Run, instance: dg.DagsterInstance, fill: Callable[..., None], connection: Connection
) -> None:
    day = YESTERDAY - timedelta(days=1)
    for each in (day, YESTERDAY):
        fill(each)
    assert run("rollups_job", day, YESTERDAY).success
    before = rows_of(connection, "daily_app_activity", day)
    connection.execute(
        "delete from signal.events where id in (select id from signal.events where created_at < %s"
        " limit 5)",
        [YESTERDAY],
    )
    result = run("rollups_job", day, YESTERDAY)
    assert not result.success
    assert "raw events are missing: 20 of 25" in _failure(result)
    assert materialized(instance, result)["daily_app_activity"] == {str(YESTERDAY)}
    assert rows_of(connection, "daily_app_activity", day) == before


def test_only_stale_days_of_a_sensor_run_are_built(
    run: Run, instance: dg.DagsterInstance, fill: Callable[..., None]
) -> None:
    days = [YESTERDAY - timedelta(days=n) for n in (2, 1, 0)]
    for day in days:
        fill(day)
    assert run("rollups_job", days[0], days[-1]).success
    fill(days[1], 5, seed=2)
    result = run("rollups_job", days[0], days[-1], {"signal/only_stale": "true"})
    assert result.success
    assert materialized(instance, result)["daily_os_activity"] == {str(days[1])}


def test_a_build_that_was_never_marked_is_marked_by_the_next_run_as_it_was(
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
    purged, killed, stale = due_day(), YESTERDAY - timedelta(days=40), YESTERDAY
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
        marked = _metadata(instance, name, killed)
        assert (
            marked["dagster/partition_row_count"]
            == build.rows[name]
            == len(rows_of(connection, name, killed))
        )
        assert (marked["version"], marked["raw_events"]) == (1, 25)
        assert 0 < marked["seconds"] <= round(build.seconds, 3)  # type: ignore[operator]
    events = _metadata(instance, "raw_events", killed)
    assert (build.first_event, build.last_event) != (None, None)
    assert events["first_event"] == build.first_event.timestamp()  # type: ignore[union-attr]
    assert events["last_event"] == build.last_event.timestamp()  # type: ignore[union-attr]
    again = run("rollups_job", stale, stale, {"signal/only_stale": "true"})
    assert materialized(instance, again) == {}


def test_only_what_is_not_shown_of_a_day_that_is_being_built_is_marked(
    run: Run,
    instance: dg.DagsterInstance,
    fill: Callable[..., None],
    database: Database,
    settings: Settings,
    models: Models,
) -> None:
    fill(YESTERDAY)
    build_day(database, open_engine(settings, database), models, YESTERDAY)
    result = run("rollups_job", YESTERDAY)
    assert len(_row_counts(instance, "daily_os_activity", YESTERDAY)) == 1
    assert materialized(instance, result) == {
        name: {str(YESTERDAY)} for name in ["raw_events", *models]
    }


def _metadata(instance: dg.DagsterInstance, asset: str, day: date) -> dict[str, object]:
    (record,) = instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[str(day)]), limit=10
    ).records
    assert record.asset_materialization
    return {name: value.value for name, value in record.asset_materialization.metadata.items()}


def test_a_day_that_fails_holds_up_no_other_and_is_named(
    run: Run, instance: dg.DagsterInstance, fill: Callable[..., None], connection: Connection
) -> None:
    days = [YESTERDAY - timedelta(days=n) for n in (2, 1, 0)]
    for day in days:
        fill(day)
    connection.execute(
        sql.SQL(
            "alter table signal.daily_os_activity add constraint broken check (activity_date <> {})"
        ).format(str(days[1]))
    )
    result = run("rollups_job", days[0], days[-1])
    assert not result.success
    assert materialized(instance, result)["daily_os_activity"] == {str(days[0]), str(days[2])}
    failed = instance.get_run_by_id(result.run_id)
    assert failed
    assert failed.tags["signal/failed_days"] == str(days[1])
    assert f"failed for {days[1]}:" in failure_line(failed)
    assert "CheckViolation" in _failure(result)


def test_a_night_catches_up_on_the_nights_before_it(
    run: Run, instance: dg.DagsterInstance, fill: Callable[..., None], connection: Connection
) -> None:
    first = YESTERDAY - timedelta(days=5)
    for day in (first, first + timedelta(days=2)):
        fill(day)
    result = run("nightly_job", YESTERDAY)
    assert result.success
    night = {str(first + timedelta(days=n)) for n in range(6)}
    assert materialized(instance, result)["daily_app_activity"] == night
    built = connection.execute(
        "select day, raw_events from signal.builds where rollup = 'daily_app_activity'"
    ).fetchall()
    assert {str(day) for day, _ in built} == night
    assert dict(built)[YESTERDAY] == 0


def test_a_hole_of_an_earlier_day_holds_up_neither_checks_nor_retention(
    run: Run, fill: Callable[..., None], connection: Connection, instance: dg.DagsterInstance
) -> None:
    broken, old = YESTERDAY - timedelta(days=3), due_day()
    for day in (broken, old):
        fill(day)
    connection.execute(
        "insert into signal.books values (%s, 'cms', 'lost', 'accepted', '', 7)", [broken]
    )
    result = run("nightly_job", YESTERDAY)
    assert result.success
    red = {
        (e.asset_key.to_user_string(), e.check_name)
        for e in result.get_asset_check_evaluations()
        if not e.passed
    }
    assert ("raw_events", "books_reconcile") in red
    assert any(
        "check books_reconcile of raw_events is red" in line
        for line in red_checks(instance, result.run_id)
    )
    assert connection.execute("select state from signal.days where day = %s", [old]).fetchone() == (
        "purged",
    )


def test_a_night_checks_before_it_purges(run: Run, fill: Callable[..., None]) -> None:
    fill(YESTERDAY)
    steps = [
        event.step_key
        for event in run("nightly_job", YESTERDAY).all_events
        if event.is_step_success
    ]
    after = steps[steps.index("expired_raw_events") + 1 :]
    assert {str(step) for step in after} == {
        "expired_raw_events_nothing_expired",
        "expired_raw_events_nothing_overdue",
    }


def test_the_nightly_job_builds_checks_and_purges(
    run: Run, instance: dg.DagsterInstance, fill: Callable[..., None], connection: Connection
) -> None:
    old = due_day()
    fill(old)
    assert run("rollups_job", old).success
    fill(YESTERDAY)
    result = run("nightly_job", YESTERDAY)
    assert result.success
    assert materialized(instance, result)["expired_raw_events"] == {None}
    evaluations = result.get_asset_check_evaluations()
    assert len(evaluations) > 80
    red = [(e.asset_key.to_user_string(), e.check_name) for e in evaluations if not e.passed]
    assert red == []
    state = connection.execute("select state from signal.days where day = %s", [old]).fetchone()
    assert state == ("purged",)
    receipt = connection.execute("select day, raw_events, keys from signal.receipts").fetchall()
    assert receipt == [(old, 25, 25)]


def test_a_day_whose_rollups_are_at_fault_is_kept_and_holds_up_no_other(
    run: Run, fill: Callable[..., None], connection: Connection
) -> None:
    good, bad = due_day(2), due_day(1)
    for day in (good, bad):
        fill(day)
        assert run("rollups_job", day).success
    # The total stays, but the parts differ: only the test against the other rollup sees it.
    connection.execute(
        "update signal.daily_device_activity set events = events + 1 where activity_date = %s and"
        " event_type <> '(all)'",
        [bad],
    )
    assert run("nightly_job", YESTERDAY).success
    states = connection.execute(
        "select day, state from signal.days where day <= %s order by day", [bad]
    ).fetchall()
    assert states == [(good, "purged"), (bad, "open")]


def test_raw_events_drains_the_landing_and_profiles_the_day(
    run: Run, environment: Settings, instance: dg.DagsterInstance
) -> None:
    from support.traffic import traffic

    environment.landing_path.mkdir(parents=True)
    file = environment.landing_path / "replay.ndjson"
    file.write_bytes(b"\n".join([*traffic(YESTERDAY, 20), b"torn {"]))
    assert run("raw_events_job", YESTERDAY).success
    assert not file.exists()
    assert _row_counts(instance, "raw_events", YESTERDAY) == [20]


def test_a_bad_landed_file_does_not_keep_the_night_from_its_retention(
    run: Run,
    environment: Settings,
    fill: Callable[..., None],
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    due = due_day()
    fill(due)
    assert run("rollups_job", due).success
    environment.landing_path.mkdir(parents=True)
    (environment.landing_path / "of-somebody-else.ndjson").write_bytes(b"{}")

    def refuse(path: Path, mode: int) -> None:
        if path.suffix == ".ndjson":
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    assert run("nightly_job", YESTERDAY).success
    assert connection.execute("select state from signal.days where day = %s", [due]).fetchone() == (
        "purged",
    )
    assert not run("raw_events_job", YESTERDAY).success  # The landing's own run says so.


def test_a_missing_secret_does_not_keep_the_night_from_its_retention(
    run: Run,
    environment: Settings,
    fill: Callable[..., None],
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    due = due_day()
    fill(due)
    assert run("rollups_job", due).success
    monkeypatch.setenv("SIGNAL_ENV", "production")
    monkeypatch.setenv("SIGNAL_AUDIT_KEY", "an-audit-key-for-tests-of-more-than-32-bytes")
    monkeypatch.delenv("SIGNALS_SALT_SECRET")
    assert run("nightly_job", YESTERDAY).success
    assert connection.execute("select state from signal.days where day = %s", [due]).fetchone() == (
        "purged",
    )


def test_no_address_reaches_the_run_storage(
    run: Run, environment: Settings, instance: dg.DagsterInstance
) -> None:
    from support.traffic import line

    environment.landing_path.mkdir(parents=True)
    marked = line(ip="198.51.100.77", userAgent="MarkedAgent/9.9 secret-mark")
    (environment.landing_path / "a.ndjson").write_bytes(marked)
    result = run("raw_events_job", date.today())
    text = " ".join(str(event) for event in instance.all_logs(result.run_id))
    assert result.success
    assert "198.51.100.77" not in text
    assert "secret-mark" not in text


def _failure(result: dg.ExecuteInProcessResult) -> str:
    return " ".join(
        str(event.step_failure_data.user_failure_data or "") + str(event.step_failure_data.error)
        for event in result.all_events
        if event.is_step_failure
    )


@pytest.mark.parametrize("job", ["rollups_job", "raw_events_job", "nightly_job"])
def test_jobs_exist_by_their_fixed_names(defs: dg.Definitions, job: str) -> None:
    assert defs.resolve_job_def(job).name == job
