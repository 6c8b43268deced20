"""The retention on a database with gaps in its signs.

The tests show what it keeps, what a confirmation does, and what is no gap.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from conftest import Build, Fill
from support.commands import run_command
from support.days import days_ago, due_day, today
from support.revisions import migrate_to
from support.stored import count

from signal_pipeline.dagster.probes.overdue_days import nothing_overdue
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.urls import with_database
from signal_pipeline.privacy.retention import DueByClockError, purge_due_days, purge_incomplete
from signal_pipeline.rollups.models import Models
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only
KEEP = 180
OFF = 60  # Nothing has run for so many days.


def held() -> date:
    """A day that is due by the clock alone."""
    return days_ago(200)


def due() -> date:
    """A day that is due by evidence."""
    return days_ago(300)


@pytest.fixture
def live_since(connection: Connection) -> Callable[[int, int], None]:
    """Makes the installation `first` days old, with a sign of each day until `last` days ago."""

    def live(first: int, last: int) -> None:
        connection.execute(
            "update signal.instance set created_at = now() - make_interval(days => %s)", [first]
        )
        connection.execute(
            "insert into signal.seen_days (day) select generate_series(%s::date, %s::date, interval"
            " '1 day')",
            [days_ago(first), days_ago(last)],
        )

    return live


@pytest.fixture
def two_months_off(live_since: Callable[[int, int], None], fill: Fill, build: Build) -> None:
    """A day that is due by evidence, and one that is due by the clock alone.

    There is no sign of the last two months.
    """
    live_since(390, OFF)
    for day in (held(), due()):
        fill(day)
        build(day)


@pytest.mark.usefixtures("two_months_off")
def test_after_two_months_off_what_is_due_by_evidence_goes_and_the_rest_waits_for_a_word(
    database: Database, connection: Connection, models: Models, settings: Settings
) -> None:
    for _ in range(2):  # The first run leaves its own sign, which excuses nothing.
        result = purge_due_days(database, models, KEEP)
        assert result.kept == {held(): "due by the clock alone"}
        assert result.refusal is not None
        assert result.refusal.confirmable == 1
        assert f"{OFF - 1} day(s) have passed by the clock" in result.refusal.reason
    assert count(connection, "select count(*) from signal.receipts where day = %s", due()) == 1
    finding = nothing_overdue(connection, settings)
    assert not finding.passed
    assert finding.figures == {"days": [str(held())]}
    assert "expired_raw_events with the config `confirm_days: 1`" in finding.message
    assert "signal-pipeline retention --confirm-days 1" in finding.message

    dry = purge_due_days(database, models, KEEP, confirm_days=1, dry_run=True)
    assert (dry.purged, dry.refusal) == ([held()], None)
    assert purge_due_days(database, models, KEEP).refusal

    confirmed = purge_due_days(database, models, KEEP, confirm_days=1, actor=b"a" * 32)
    assert (confirmed.purged, confirmed.kept, confirmed.refusal) == ([held()], {}, None)
    audited = connection.execute(
        "select actor, details from signal.audit where action = 'confirm_days'"
    ).fetchall()
    first, last = days_ago(OFF - 1), days_ago(1)
    assert audited == [
        (b"a" * 32, {"first": str(first), "last": str(last), "days": OFF - 1, "raw_days": 1})
    ]
    assert nothing_overdue(connection, settings).passed


@pytest.mark.usefixtures("two_months_off")
def test_a_gap_that_is_confirmed_is_asked_for_once(
    database: Database, models: Models, fill: Fill, build: Build
) -> None:
    assert purge_due_days(database, models, KEEP, confirm_days=5).refusal is None
    fill(held() + timedelta(days=1))
    build(held() + timedelta(days=1))
    assert purge_due_days(database, models, KEEP).purged == [held() + timedelta(days=1)]


@pytest.mark.usefixtures("two_months_off")
def test_a_confirmation_of_fewer_days_than_are_kept_confirms_nothing(
    database: Database, connection: Connection, models: Models, fill: Fill, build: Build
) -> None:
    fill(held() + timedelta(days=1))
    build(held() + timedelta(days=1))
    result = purge_due_days(database, models, KEEP, confirm_days=1)
    assert list(result.kept) == [held(), held() + timedelta(days=1)]
    assert result.refusal is not None
    assert result.refusal.confirmable == 2
    assert count(connection, "select count(*) from signal.seen_days where confirmed") == 0


@pytest.mark.usefixtures("two_months_off")
def test_a_day_that_is_due_by_the_clock_alone_is_not_deleted_without_its_proof_either(
    database: Database, connection: Connection, models: Models
) -> None:
    with pytest.raises(DueByClockError, match="by the clock alone") as refused:
        purge_incomplete(database, models, held(), "a reason", KEEP)
    assert refused.value.refusal.confirmable == 1
    assert purge_incomplete(database, models, due(), "a reason", KEEP).purged == [due()]
    assert count(connection, "select count(*) from signal.events") == 25


@pytest.mark.usefixtures("environment", "two_months_off")
@pytest.mark.parametrize(
    ("arguments", "code"),
    [(("--dry-run",), 0), ((), 1), (("--purge-incomplete", held, "--reason", "a reason"), 1)],
)
def test_the_command_says_how_to_confirm(
    arguments: tuple[object, ...], code: int, tmp_path: Path
) -> None:
    words = (argument() if callable(argument) else argument for argument in arguments)
    done = run_command("retention", *words, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert "1 raw day(s) are past their retention by the clock alone" in done.stderr
    assert "run `signal-pipeline retention --confirm-days 1`" in done.stderr


@pytest.mark.usefixtures("two_months_off")
def test_another_date_than_today_is_judged_the_same(database: Database, models: Models) -> None:
    before = purge_due_days(
        database, models, KEEP, as_of=held() + timedelta(days=KEEP), dry_run=True
    )
    assert (before.purged, before.kept, before.refusal) == ([due()], {}, None)
    after = purge_due_days(
        database, models, KEEP, as_of=held() + timedelta(days=KEEP + 1), dry_run=True
    )
    assert (after.purged, list(after.kept)) == ([due()], [held()])


@pytest.mark.usefixtures("two_months_off")
def test_a_confirmation_for_an_earlier_date_counts_the_days_that_the_refusal_counts(
    database: Database, models: Models, fill: Fill, build: Build
) -> None:
    """A confirmation is of dates, so it also makes days due that were not asked for."""
    later = held() + timedelta(days=1)
    fill(later)
    build(later)
    asked = held() + timedelta(days=KEEP + 1)
    refused = purge_due_days(database, models, KEEP, as_of=asked)
    assert list(refused.kept) == [held()]
    assert refused.refusal is not None
    assert refused.refusal.confirmable == 2
    confirmed = purge_due_days(database, models, KEEP, as_of=asked, confirm_days=2)
    assert (confirmed.purged, confirmed.refusal) == ([held()], None)
    assert purge_due_days(database, models, KEEP).purged == [later]


def test_events_of_the_days_that_nothing_ran_are_signs_whenever_they_come(
    database: Database,
    models: Models,
    live_since: Callable[[int, int], None],
    fill: Fill,
    build: Build,
) -> None:
    live_since(390, 4)
    fill(due_day())
    build(due_day())
    assert purge_due_days(database, models, KEEP, dry_run=True).refusal
    for number in (3, 2, 1):
        fill(days_ago(number), 1)
    assert purge_due_days(database, models, KEEP).purged == [due_day()]


@pytest.mark.parametrize("keep", [30, 180])
def test_a_lower_retention_and_imports_of_old_files_need_no_word(
    database: Database,
    models: Models,
    live_since: Callable[[int, int], None],
    fill: Fill,
    build: Build,
    keep: int,
) -> None:
    live_since(20 if keep == 180 else 390, 1)
    old = [days_ago(n) for n in (380, 250, 200)]
    for day in old:
        fill(day)
        build(day)
    result = purge_due_days(database, models, keep)
    assert (result.purged, result.refusal) == (old, None)


def test_an_empty_database_needs_no_word(database: Database, models: Models) -> None:
    result = purge_due_days(database, models, KEEP)
    assert (result.purged, result.kept, result.refusal) == ([], {}, None)


def test_a_rebuild_of_all_days_leaves_the_signs(
    database: Database,
    connection: Connection,
    models: Models,
    live_since: Callable[[int, int], None],
    fill: Fill,
) -> None:
    live_since(3, 3)
    days = [days_ago(n) for n in (2, 1)]
    for day in days:
        connection.execute("select signal.ensure_day(%s)", [day])
        connection.execute(
            "insert into signal.builds (day, rollup, version, model_checksum, engine, rows,"
            " raw_events, seconds, built_at) values (%s, 'daily_app_activity', 0, 'x', 'duckdb', 0,"
            " 0, 0, %s)",
            [day, datetime.combine(day, datetime.min.time(), UTC)],
        )
    purge_due_days(database, models, KEEP)
    connection.execute("update signal.builds set built_at = now()")
    seen = {row[0] for row in connection.execute("select day from signal.seen_days").fetchall()}
    assert seen == {today(), *days, days_ago(3)}


@pytest.fixture
def older(server: str) -> Database:
    """A database of the version before signs were kept."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute("drop database if exists signal_older with (force)")
        connection.execute("create database signal_older")
    found = Database(with_database(server, "signal_older"))
    migrate_to(found, "0005")
    return found


def test_an_older_installation_is_believed_up_to_its_last_sign(
    older: Database, settings: Settings, models: Models
) -> None:
    last = days_ago(7)
    with older.connect() as connection:
        connection.execute("update signal.instance set created_at = now() - interval '100 days'")
        connection.execute(
            "insert into signal.intake (received_on, app_name, outcome, events) values (%s, 'cms',"
            " 'accepted', 1)",
            [last],
        )
        migrate(older, settings, models)
        days: list[date] = [
            row[0]
            for row in connection.execute("select day from signal.seen_days order by 1").fetchall()
        ]
    assert days == [days_ago(n) for n in range(100, 6, -1)]
