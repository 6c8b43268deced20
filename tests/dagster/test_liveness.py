"""A killed run is noticed and ended, and its place in the pool is freed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest
from conftest import Fill
from support.dagster import empty_job, status_of
from support.days import yesterday
from support.waits import eventually

from faults import launched
from signal_pipeline.dagster import liveness
from signal_pipeline.dagster.liveness import LOST_SECONDS, START_SECONDS, end_dead_runs
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.dagster.run_locks import (
    HEARTBEAT_SECONDS,
    hold_run_lock,
    living_runs,
    lock_space,
)
from signal_pipeline.dagster.runs import LOCK_TAG, OwnRuns, running_and_failed
from signal_pipeline.days.calendar import day_lock
from signal_pipeline.postgres.database import Connection, Database

pytestmark = pytest.mark.embedded_only
STARTED = dg.DagsterRunStatus.STARTED


def start(run: dg.DagsterRun) -> subprocess.Popen[bytes]:
    """A process that executes the run, as the daemon launches one."""
    return subprocess.Popen(
        [sys.executable, launched.__file__, run.run_id], stderr=subprocess.DEVNULL
    )


def holds_its_place(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """True if the run is in the pool of the rollups."""
    return run.run_id in instance.event_log_storage.get_concurrency_info("rollups").active_run_ids


@pytest.fixture
def victim(
    stored: dg.DagsterInstance, defs: dg.Definitions, connection: Connection, fill: Fill
) -> Iterator[tuple[dg.DagsterRun, subprocess.Popen[bytes]]]:
    """A launched run of ours and its process, which waits in the middle of its build."""
    fill(yesterday())
    tags = {"dagster/partition": str(yesterday())}
    run = launched.create_run(stored, defs.resolve_job_def("rollups_job"), tags=tags)
    with day_lock(connection, yesterday()):
        process = start(run)
        eventually(lambda: holds_its_place(stored, run), "the run has its place in the pool")
        yield run, process
    process.kill()
    process.wait()


def test_a_killed_run(
    stored: dg.DagsterInstance,
    victim: tuple[dg.DagsterRun, subprocess.Popen[bytes]],
    looks: Callable[[float], list[str]],
    connection: Connection,
) -> None:
    """A killed run is ended and does not hold up the next one."""
    run, process = victim
    assert looks(1000.0) == [], "it lives"
    process.send_signal(signal.SIGKILL)
    process.wait()
    eventually(lambda: not living_runs(connection, [run.run_id]), "PostgreSQL knows")
    assert looks(LOST_SECONDS - 0.1) == [], "too early"
    assert holds_its_place(stored, run)
    assert looks(LOST_SECONDS) == [run.run_id]
    assert status_of(stored, run) == dg.DagsterRunStatus.FAILURE
    assert not holds_its_place(stored, run)
    assert looks(1000.0) == []


def test_a_killed_run_that_was_ended(
    stored: dg.DagsterInstance,
    victim: tuple[dg.DagsterRun, subprocess.Popen[bytes]],
    looks: Callable[[float], list[str]],
    connection: Connection,
) -> None:
    """The code server that launched a run ends it, and leaves its place taken."""
    run, process = victim
    stored.report_run_failed(run)
    assert looks(1000.0) == []
    assert holds_its_place(stored, run), "it lives, whatever its record says"
    process.kill()
    process.wait()
    eventually(lambda: not living_runs(connection, [run.run_id]), "PostgreSQL knows")
    assert looks(LOST_SECONDS) == []
    assert not holds_its_place(stored, run)
    failures = stored.all_logs(run.run_id, of_type=dg.DagsterEventType.PIPELINE_FAILURE)
    assert len(failures) == 1


def test_a_lost_connection(
    victim: tuple[dg.DagsterRun, subprocess.Popen[bytes]],
    looks: Callable[[float], list[str]],
    connection: Connection,
) -> None:
    """A run that lost its connection takes its lock again."""
    run, _ = victim
    holders = "select pid from pg_locks where locktype = 'advisory' and classid = 7291004"
    lost = connection.execute(holders).fetchall()
    connection.execute(f"select pg_terminate_backend(pid) from ({holders}) as h")  # type: ignore[arg-type]
    eventually(lambda: not {*lost} & {*connection.execute(holders)}, "the connections are gone")
    eventually(lambda: living_runs(connection, [run.run_id]), "it holds its lock again")
    assert looks(1000.0) == []
    assert HEARTBEAT_SECONDS < LOST_SECONDS / 2


def test_marked_as_failed_but_alive(
    stored: dg.DagsterInstance,
    victim: tuple[dg.DagsterRun, subprocess.Popen[bytes]],
    ours: OwnRuns,
    connection: Connection,
) -> None:
    """A run that is marked as failed from outside goes on and is in flight."""
    run, process = victim
    since = datetime.now(UTC) - timedelta(days=1)

    def known() -> tuple[list[str], list[str]]:
        running, failed = running_and_failed(stored, connection, ours, "rollups_job", since)
        first, second = ([each.dagster_run.run_id for each in part] for part in (running, failed))
        return first, second

    stored.report_run_failed(run)
    assert status_of(stored, run) == dg.DagsterRunStatus.FAILURE
    assert known() == ([run.run_id], [])
    process.kill()
    process.wait()
    eventually(lambda: known() == ([], [run.run_id]), "its failure counts when it is over")


def test_the_sensor_ends_dead_runs(
    stored: dg.DagsterInstance,
    defs: dg.Definitions,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The sensor ends what is dead at a later tick."""
    run = stored.create_run_for_job(
        empty_job, tags={LOCK_TAG: lock_space(connection)}, status=STARTED
    )
    sensor, cursor, told = defs.resolve_sensor_def("abandoned_runs_sensor"), None, []
    for patience in (LOST_SECONDS, LOST_SECONDS, 0.0, 0.0):
        monkeypatch.setattr(liveness, "LOST_SECONDS", patience)
        with dg.build_sensor_context(
            stored, cursor=cursor, resources={"postgres": PostgresResource()}
        ) as context:
            told.append(str(sensor(context)))
            cursor = context.cursor
    assert ["1 run(s) were ended" in text for text in told] == [False, False, True, False]
    assert status_of(stored, run) == dg.DagsterRunStatus.FAILURE


def test_a_lock_that_was_away_for_a_moment(
    stored: dg.DagsterInstance, database: Database, connection: Connection, ours: OwnRuns
) -> None:
    """A run whose lock was away for a moment begins to count anew."""
    run = stored.create_run_for_job(empty_job, tags={LOCK_TAG: ours.locks}, status=STARTED)
    _, suspects = end_dead_runs(stored, connection, ours, {}, 0.0)
    with hold_run_lock(database, run.run_id):
        _, suspects = end_dead_runs(stored, connection, ours, suspects, LOST_SECONDS)
    ended, suspects = end_dead_runs(stored, connection, ours, suspects, LOST_SECONDS * 2)
    assert ended == []
    ended, suspects = end_dead_runs(stored, connection, ours, suspects, LOST_SECONDS * 3)
    assert (ended, suspects) == ([run.run_id], {})


def test_a_run_that_was_suspected_by_a_clock_that_was_ahead(
    stored: dg.DagsterInstance, connection: Connection, ours: OwnRuns
) -> None:
    """It is ended after the usual time, not after that of the false clock."""
    run = stored.create_run_for_job(empty_job, tags={LOCK_TAG: ours.locks}, status=STARTED)
    _, suspects = end_dead_runs(stored, connection, ours, {}, 1e9)
    ended, suspects = end_dead_runs(stored, connection, ours, suspects, 0.0)
    assert ended == []
    ended, suspects = end_dead_runs(stored, connection, ours, suspects, LOST_SECONDS)
    assert (ended, suspects) == ([run.run_id], {})


def test_a_run_that_ends_between_the_looks(
    stored: dg.DagsterInstance, connection: Connection, ours: OwnRuns
) -> None:
    """Its record is read again.

    The list of runs is older than the look at the locks.
    """
    run = stored.create_run_for_job(empty_job, tags={LOCK_TAG: ours.locks}, status=STARTED)
    _, suspects = end_dead_runs(stored, connection, ours, {}, 0.0)
    listed = stored.get_run_records

    def end_then(*arguments: object, **options: object) -> object:
        found = listed(*arguments, **options)  # type: ignore[arg-type]
        if status_of(stored, run) == STARTED:
            success = dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=run.job_name)
            stored.report_dagster_event(success, run_id=run.run_id)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored, "get_run_records", end_then)
        ended, _ = end_dead_runs(stored, connection, ours, suspects, 1000.0)
    assert ended == []
    assert status_of(stored, run) == dg.DagsterRunStatus.SUCCESS


def test_a_cancelled_run_is_not_retried(
    stored: dg.DagsterInstance, looks: Callable[[float], list[str]], ours: OwnRuns
) -> None:
    """Who is cancelled is not retried."""
    run = stored.create_run_for_job(empty_job, tags={LOCK_TAG: ours.locks}, status=STARTED)
    stored.report_run_canceling(run)
    assert looks(LOST_SECONDS) == [run.run_id]
    assert status_of(stored, run) == dg.DagsterRunStatus.CANCELED


def test_a_run_that_never_took_its_lock(
    stored: dg.DagsterInstance,
    defs: dg.Definitions,
    looks: Callable[[float], list[str]],
    ours: OwnRuns,
) -> None:
    """A run that never took its lock has longer."""
    job = defs.resolve_job_def("rollups_job")
    run = launched.create_run(stored, job, status=STARTED)
    retry = launched.create_run(
        stored,
        job,
        status=STARTED,
        tags={LOCK_TAG: ours.locks},
        parent_run_id=run.run_id,
        root_run_id=run.run_id,
    )
    assert looks(START_SECONDS - 0.1) == []
    assert set(looks(START_SECONDS)) == {run.run_id, retry.run_id}


def test_a_run_of_checks_that_the_ui_started(
    stored: dg.DagsterInstance, defs: dg.Definitions, looks: Callable[[float], list[str]]
) -> None:
    """It has no job of ours and selects no asset; here it died before it took its lock."""
    job = defs.resolve_implicit_global_asset_job_def()
    check = frozenset([dg.AssetCheckKey(dg.AssetKey("daily_app_activity"), "grain_is_unique")])
    run, _ = launched.create_run_of_checks(stored, job, check, status=STARTED)
    assert looks(START_SECONDS) == [run.run_id]


def test_a_command_ends_a_dead_retry_too(
    stored: dg.DagsterInstance,
    defs: dg.Definitions,
    database: Database,
    ours: OwnRuns,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A command has no next tick, so it waits for as long as a retry can be without its lock."""
    monkeypatch.setattr(liveness, "LOST_SECONDS", 0.2)
    monkeypatch.setattr(liveness, "START_SECONDS", 0.5)
    job, tags = defs.resolve_job_def("rollups_job"), {LOCK_TAG: ours.locks}
    run = launched.create_run(stored, job, status=dg.DagsterRunStatus.FAILURE, tags=tags)
    retry = launched.create_run(
        stored, job, status=STARTED, tags=tags, parent_run_id=run.run_id, root_run_id=run.run_id
    )
    assert liveness.execute_here(empty_job, stored, database, {}).success
    assert status_of(stored, retry) == dg.DagsterRunStatus.FAILURE
