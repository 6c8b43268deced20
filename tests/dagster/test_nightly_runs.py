"""The nightly job: builds, then checks, then the retention, and nothing holds up the rest."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from support.dagster import Run, materialized
from support.days import days_ago, due_day, yesterday
from support.stored import install_on

from signal_pipeline.dagster.assets import expired_raw_events
from signal_pipeline.dagster.log_alerts import red_checks
from signal_pipeline.days import calendar
from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only


def test_a_night_catches_up(
    run: Run, instance: dg.DagsterInstance, fill: Callable[..., None], connection: Connection
) -> None:
    """A nightly run catches up on the ones before it."""
    install_on(connection, days_ago(9))
    first = days_ago(6)
    for day in (first, first + timedelta(days=2)):
        fill(day)
    result = run("nightly_job", yesterday(), checks=[])
    assert result.success
    night = {str(first + timedelta(days=n)) for n in range(6)}
    assert materialized(instance, result)["daily_app_activity"] == night
    built = connection.execute(
        "select day, raw_events from signal.builds where rollup = 'daily_app_activity'"
    ).fetchall()
    assert {str(day) for day, _ in built} == night
    assert dict(built)[yesterday()] == 0


def test_a_night_leaves_days_before_the_installation_unknown(
    run: Run, fill: Callable[..., None], connection: Connection
) -> None:
    """An old file that is replayed says nothing of the days after it."""
    replayed = days_ago(19)
    fill(replayed)
    install_on(connection, days_ago(2))
    assert run("nightly_job", yesterday(), checks=[]).success
    days = connection.execute("select distinct day from signal.builds order by day").fetchall()
    assert [day for (day,) in days] == [replayed, days_ago(2), yesterday()]


def test_a_hole_of_an_earlier_day(
    run: Run, fill: Callable[..., None], connection: Connection, instance: dg.DagsterInstance
) -> None:
    """A hole of an earlier day holds up neither checks nor retention."""
    broken, old = days_ago(4), due_day()
    for day in (broken, old):
        fill(day)
    connection.execute(
        "insert into signal.books values (%s, 'cms', 'lost', 'accepted', '', 7)", [broken]
    )
    result = run("nightly_job", yesterday())
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
    fill(yesterday())
    steps = [
        event.step_key
        for event in run("nightly_job", yesterday()).all_events
        if event.is_step_success
    ]
    after = steps[steps.index("expired_raw_events") + 1 :]
    assert {str(step) for step in after} == {
        "expired_raw_events_nothing_expired",
        "expired_raw_events_nothing_overdue",
    }


@pytest.mark.parametrize("distributed", [True, False])
def test_a_night_makes_the_partitions_of_the_next_days_on_a_cluster(
    run: Run, connection: Connection, monkeypatch: pytest.MonkeyPatch, distributed: bool
) -> None:
    """The days themselves begin with their first event."""
    if distributed:
        monkeypatch.setattr(calendar, "distributed_tables", lambda _: {"events": "user_hash"})
    ahead = [days_ago(-n) for n in range(1, calendar.DAYS_AHEAD + 1)]
    assert len(ahead) >= 3
    assert run("nightly_job", yesterday(), checks=[]).success
    made = connection.execute(
        "select name from unnest(%s::text[]) as name where to_regclass('signal.' || name) notnull",
        [[f"events_{day:%Y%m%d}" for day in ahead]],
    )
    assert len(made.fetchall()) == (len(ahead) if distributed else 0)
    days = connection.execute("select day from signal.days where day = any(%s)", [ahead])
    assert days.fetchall() == []


def test_a_night_that_cannot_make_partitions_ahead_still_says_what_it_purged(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Connection) -> list[object]:
        raise SignalError("no partition can be made")

    monkeypatch.setattr(expired_raw_events, "make_partitions_ahead", fail)
    result = run("nightly_job", yesterday(), checks=[])
    assert result.success
    assert result.asset_materializations_for_node("expired_raw_events")


def test_the_nightly_job(
    run: Run, instance: dg.DagsterInstance, fill: Callable[..., None], connection: Connection
) -> None:
    """The nightly job builds checks and purges."""
    old = due_day()
    fill(old)
    assert run("rollups_job", old).success
    fill(yesterday())
    result = run("nightly_job", yesterday())
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


def test_a_day_at_fault_is_kept(
    run: Run, fill: Callable[..., None], connection: Connection
) -> None:
    """A day whose rollups are at fault is kept and holds up no other."""
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
    assert run("nightly_job", yesterday(), checks=[]).success
    states = connection.execute(
        "select day, state from signal.days where day <= %s order by day", [bad]
    ).fetchall()
    assert states == [(good, "purged"), (bad, "open")]


def test_a_day_that_postgresql_refuses_to_purge_is_named(
    run: Run, fill: Callable[..., None], connection: Connection
) -> None:
    """It is kept like a day at fault: the run succeeds, and a check is red."""
    kept, good = due_day(2), due_day(1)
    for day in (kept, good):
        fill(day)
        assert run("rollups_job", day).success
    connection.execute(
        f"create view public.of_one_day as select * from signal.events_{kept:%Y%m%d}"  # type: ignore[arg-type]
    )
    result = run("nightly_job", yesterday())
    assert result.success
    (made,) = result.asset_materializations_for_node("expired_raw_events")
    assert made.metadata["purged"].value == [str(good)]
    reasons = made.metadata["kept"].value
    assert isinstance(reasons, dict)
    assert list(reasons) == [str(kept)]
    assert "view public.of_one_day depends on table" in reasons[str(kept)]
    (check,) = [
        e for e in result.get_asset_check_evaluations() if e.check_name == "nothing_expired"
    ]
    assert not check.passed
    assert "the last run of expired_raw_events says why" in (check.description or "")


def test_a_bad_landed_file_by_night(
    run: Run,
    environment: Settings,
    fill: Callable[..., None],
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bad landed file does not keep the nightly run from its retention."""
    due = due_day()
    fill(due)
    assert run("rollups_job", due).success
    environment.landing_path.mkdir(parents=True)
    (environment.landing_path / "of-somebody-else.ndjson").write_bytes(b"{}")

    def refuse(path: Path, mode: int) -> None:
        if path.suffix == ".ndjson":
            raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refuse)
    assert run("nightly_job", yesterday()).success
    assert connection.execute("select state from signal.days where day = %s", [due]).fetchone() == (
        "purged",
    )
    assert not run("raw_events_job", yesterday()).success  # The landing's own run says so.


def test_a_missing_secret_by_night(
    run: Run,
    environment: Settings,
    fill: Callable[..., None],
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A missing secret does not keep the nightly run from its retention."""
    due = due_day()
    fill(due)
    assert run("rollups_job", due).success
    monkeypatch.setenv("SIGNAL_ENV", "production")
    monkeypatch.setenv("SIGNAL_AUDIT_KEY", "an-audit-key-for-tests-of-more-than-32-bytes")
    monkeypatch.delenv("SIGNALS_SALT_SECRET")
    assert run("nightly_job", yesterday()).success
    assert connection.execute("select state from signal.days where day = %s", [due]).fetchone() == (
        "purged",
    )
