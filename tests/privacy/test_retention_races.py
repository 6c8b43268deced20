"""Retention beside others.

A purge waits for writers, gives way to readers, and leaves no half of a day to builders.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import date, datetime, timedelta
from functools import partial

import pytest
from conftest import Build, Fill
from support.days import days_ago, due_day
from support.reports import frame
from support.stored import count
from support.traffic import line

from signal_pipeline.days.calendar import day_lock
from signal_pipeline.days.coverage import Coverage
from signal_pipeline.days.receipts import list_receipts
from signal_pipeline.ingest.pipeline import Counts, Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy import day_purge, partition_drop, retention
from signal_pipeline.privacy.retention import purge_due_days
from signal_pipeline.reports import of_raw_events as raw_reports
from signal_pipeline.rollups.build import DayPurgedError
from signal_pipeline.rollups.models import Models

KEEP = 180


def test_a_purge_waits_for_a_writer_that_holds_the_day(
    database: Database, connection: Connection, models: Models, fill: Fill, build: Build
) -> None:
    """The writer decided before the purge.

    The proof must see its event, and then fails.
    """
    fill(due_day())
    build(due_day())
    with database.connect() as writer:
        with writer.transaction():
            writer.execute("select from signal.days where day = %s for key share", [due_day()])
            purging = _in_thread(lambda: purge_due_days(database, models, KEEP))
            time.sleep(0.5)
            assert purging.is_alive()
            writer.execute(
                "update signal.days set version = version + 1 where day = %s", [due_day()]
            )
        purging.join(60)
    assert not purging.is_alive()
    assert count(connection, "select count(*) from signal.events") == 25
    assert list_receipts(connection) == []


def test_an_event_between_the_proof_and_the_drop_waits_and_is_too_late(
    database: Database,
    connection: Connection,
    models: Models,
    fill: Fill,
    build: Build,
    ingest_at: Callable[[datetime], Ingest],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The day's row is locked before it is counted, and every writer asks for that row first."""
    fill(due_day())
    build(due_day())
    then = datetime.fromisoformat(f"{due_day()}T12:00:00+00:00")
    late, drop, came, blocked = (
        ingest_at(then),
        day_purge.drop_partition,
        list[Counts](),
        list[int](),
    )

    def drop_with_a_writer_at_the_door(purging: Connection, day: date) -> None:
        writers.append(_in_thread(lambda: came.append(late.ingest_lines([line(then)]))))
        waiting = (
            "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like"
            " '%%execute lock_days%%'"
        )
        give_up = time.monotonic() + 20
        while not count(connection, waiting) and time.monotonic() < give_up:
            time.sleep(0.05)
        blocked.append(count(connection, waiting))
        drop(purging, day)

    writers: list[threading.Thread] = []
    monkeypatch.setattr(day_purge, "drop_partition", drop_with_a_writer_at_the_door)
    assert purge_due_days(database, models, KEEP).purged == [due_day()]
    writers[0].join(20)
    assert blocked == [1]
    assert [dict(counts.dropped) for counts in came] == [{"too_late": 1}]
    assert [receipt.raw_events for receipt in list_receipts(connection)] == [25]


def test_a_purge_gives_way_to_a_long_reader_and_then_goes_on(
    database: Database, connection: Connection, models: Models, fill: Fill, build: Build
) -> None:
    fill(due_day())
    build(due_day())
    fill(days_ago(1))
    with database.connect() as reader:
        with reader.transaction():
            reader.execute("select count(*) from signal.events")
            purging = _in_thread(lambda: purge_due_days(database, models, KEEP))
            time.sleep(1)
            assert purging.is_alive()
            fill(days_ago(2))  # A writer goes on meanwhile.
        purging.join(60)
    assert [receipt.day for receipt in list_receipts(connection)] == [due_day()]


def test_a_purge_gives_up_on_a_partition_in_use_and_names_the_day(
    database: Database,
    connection: Connection,
    models: Models,
    fill: Fill,
    build: Build,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(due_day())
    build(due_day())
    monkeypatch.setattr(partition_drop, "DROP_PATIENCE_SECONDS", 0.5)
    with closing(database.connect()) as reader, reader.transaction():
        reader.execute("select count(*) from signal.events")
        result = purge_due_days(database, models, KEEP)
    assert "in use" in result.kept[due_day()]
    assert count(connection, "select count(*) from signal.event_keys") == 25
    assert purge_due_days(database, models, KEEP).purged == [due_day()]


def test_a_purge_whose_proof_cannot_read_gives_up(
    database: Database,
    connection: Connection,
    models: Models,
    fill: Fill,
    build: Build,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The proof reads on another connection.

    PostgreSQL sees no deadlock where a change of a table waits for the purge, and the proof for it.
    """
    fill(due_day())
    build(due_day())
    monkeypatch.setattr(day_purge, "PATIENCE_SECONDS", 1)
    with closing(database.connect()) as changing, changing.transaction():
        changing.execute("lock table signal.event_keys in access exclusive mode")
        result = purge_due_days(database, models, KEEP)
    assert "a table that its proof reads was in use" in result.kept[due_day()]
    assert count(connection, "select count(*) from signal.event_keys") == 25
    assert list_receipts(connection) == []
    assert purge_due_days(database, models, KEEP).purged == [due_day()]


@pytest.mark.parametrize("by", ["a writer", "a build"])
def test_a_day_that_stays_in_use_is_kept_and_holds_up_no_other(
    database: Database,
    connection: Connection,
    models: Models,
    fill: Fill,
    build: Build,
    monkeypatch: pytest.MonkeyPatch,
    by: str,
) -> None:
    """A session can hang while it holds the day."""
    days = [due_day() - timedelta(days=1), due_day()]
    for day in days:
        fill(day)
        build(day)
    monkeypatch.setattr(day_purge, "PATIENCE_SECONDS", 1)
    results = list[retention.PurgeResult]()
    with closing(database.connect()) as hanging, ExitStack() as held:
        if by == "a writer":
            held.enter_context(hanging.transaction())
            hanging.execute("select from signal.days where day = %s for key share", [days[0]])
        else:
            held.enter_context(day_lock(hanging, days[0]))
        purging = _in_thread(lambda: results.append(purge_due_days(database, models, KEEP)))
        purging.join(20)
        assert not purging.is_alive()
    assert results[0].purged == [days[1]]
    assert list(results[0].kept) == [days[0]]
    assert "in use for 1 s" in results[0].kept[days[0]]
    assert purge_due_days(database, models, KEEP).purged == [days[0]]


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_day_that_another_run_purges_meanwhile_is_not_reported_as_kept(
    database: Database,
    connection: Connection,
    models: Models,
    fill: Fill,
    build: Build,
    dry_run: bool,
) -> None:
    fill(due_day())
    build(due_day())
    results = dict[str, retention.PurgeResult]()

    def purge(name: str, dry_run: bool) -> None:
        results[name] = purge_due_days(database, models, KEEP, dry_run=dry_run)

    threads = []
    with closing(database.connect()) as building, day_lock(building, due_day()):
        for number, (name, dry) in enumerate([("first", False), ("second", dry_run)], 1):
            threads.append(_in_thread(partial(purge, name, dry)))
            _wait_for_waiters(connection, number)
    for thread in threads:
        thread.join(60)
    assert results["first"].purged == [due_day()]
    assert (results["second"].purged, results["second"].kept) == ([], {})


def test_a_day_that_another_run_purges_after_this_one_gave_up_is_not_reported_as_kept(
    database: Database,
    models: Models,
    fill: Fill,
    build: Build,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    days = [due_day() - timedelta(days=1), due_day()]
    for day in days:
        fill(day)
        build(day)
    purge, results = retention.purge_day, list[retention.PurgeResult]()

    def purge_after_another_run(  # The other run waits for nothing, and this one gave up on a day.
        connection: Connection, proving: Connection, day: date, *rest: object, **options: object
    ) -> None:
        monkeypatch.setattr(retention, "purge_day", purge)
        monkeypatch.setattr(day_purge, "PATIENCE_SECONDS", 1)
        connection.execute("set lock_timeout = '1s'")
        with closing(database.connect()) as holding, day_lock(holding, day):
            give_up = pytest.raises(retention.UnprovenError, match="in use")
            with give_up as error:
                purge(connection, proving, day, *rest, **options)  # type: ignore[arg-type]
        results.append(purge_due_days(database, models, KEEP))
        raise error.value

    monkeypatch.setattr(retention, "purge_day", purge_after_another_run)
    second = purge_due_days(database, models, KEEP)
    assert results[0].purged == days
    assert (second.purged, second.kept) == ([], {})


def _wait_for_waiters(connection: Connection, number: int) -> None:
    """Wait until so many sessions wait for an advisory lock."""
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    give_up = time.monotonic() + 20
    while count(connection, waiting) < number:
        assert time.monotonic() < give_up
        time.sleep(0.05)


def test_two_builders_and_a_purge_of_one_day_leave_it_whole(
    database: Database, connection: Connection, models: Models, fill: Fill, build: Build
) -> None:
    fill(due_day())
    build(due_day())
    expected = connection.execute(
        "select r::text from signal.daily_app_activity as r order by 1"
    ).fetchall()

    def keep_building() -> None:
        for _ in range(5):
            try:
                build(due_day())
            except DayPurgedError:
                return

    threads = [_in_thread(keep_building), _in_thread(keep_building)]
    while not purge_due_days(database, models, KEEP).purged:
        time.sleep(0.01)
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    assert (
        connection.execute(
            "select r::text from signal.daily_app_activity as r order by 1"
        ).fetchall()
        == expected
    )


def _in_thread(task: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=task, daemon=True)
    thread.start()
    return thread


def test_a_report_counts_a_day_that_a_purge_takes_while_it_reads(
    database: Database,
    models: Models,
    fill: Fill,
    build: Build,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The report has read that the day is open.

    Its partition must not be dropped before the events are counted.
    """
    fill(due_day())
    build(due_day())
    read, purged = raw_reports.read_coverage, list[retention.PurgeResult]()

    def read_with_a_purge_behind_it(connection: Connection, first: date, last: date) -> Coverage:
        coverage = read(connection, first, last)
        purged.append(purge_due_days(database, models, KEEP))
        return coverage

    monkeypatch.setattr(raw_reports, "read_coverage", read_with_a_purge_behind_it)
    monkeypatch.setattr(partition_drop, "DROP_PATIENCE_SECONDS", 1.0)
    report = raw_reports.raw_report(database, ["day"], {}, due_day(), due_day())
    assert [int(events) for events in frame(report)["events"]] == [25]
    assert purged[0].purged == []
    assert list(purged[0].kept) == [due_day()]
    assert purge_due_days(database, models, KEEP).purged == [due_day()]
