"""A killed run is noticed and ended, and its place in the pool is freed.

A run that could be alive is left alone, whoever owns it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from conftest import Fill
from psycopg import sql
from support.dagster import YESTERDAY, eventually

from faults import launched
from signal_pipeline.dagster import liveness
from signal_pipeline.dagster.home import open_instance
from signal_pipeline.dagster.liveness import LOST_SECONDS, START_SECONDS, end_dead_runs
from signal_pipeline.dagster.names import load_names
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.dagster.run_locks import HEARTBEAT_SECONDS, held_run, living_runs, lock_space
from signal_pipeline.dagster.runs import LOCK_TAG, Ours, running_and_failed
from signal_pipeline.days.calendar import day_lock
from signal_pipeline.postgres.database import Connection, Database, ensure_database
from signal_pipeline.postgres.urls import dagster_url
from signal_pipeline.settings import Settings

pytestmark = [pytest.mark.embedded_only, pytest.mark.timeout(600)]

Look = Callable[[], list[str]]
STARTED = dg.DagsterRunStatus.STARTED


@pytest.fixture
def stored(
    environment: Settings, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance on PostgreSQL, which other processes share."""
    name = f"dagster_liveness_{os.getpid()}"
    ensure_database(server, name)
    monkeypatch.setenv("SIGNAL_DAGSTER_DATABASE_URL", dagster_url(server, name))
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "dagster"))
    settings = environment.model_copy(update={"dagster_database_url": dagster_url(server, name)})
    with open_instance(settings) as instance:
        yield instance
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


@pytest.fixture
def ours(connection: Connection) -> Ours:
    """The names and locks that are ours in the code location `signal`."""
    return Ours(load_names(), lock_space(connection), launched.label("signal"))


@pytest.fixture
def looks(
    stored: dg.DagsterInstance, connection: Connection, ours: Ours
) -> Callable[[float], list[str]]:
    """Looks twice, with so many seconds in between; returns the runs that were ended."""

    def look_twice(seconds: float) -> list[str]:
        ended, suspects = end_dead_runs(stored, connection, ours, {}, 0.0)
        assert ended == [], "one look ends nothing"
        ended, suspects = end_dead_runs(stored, connection, ours, suspects, seconds)
        return ended

    return look_twice


def start(run: dg.DagsterRun) -> subprocess.Popen[bytes]:
    """A process that executes the run, as the daemon launches one."""
    return subprocess.Popen(
        [sys.executable, launched.__file__, run.run_id], stderr=subprocess.DEVNULL
    )


def status_of(instance: dg.DagsterInstance, run: dg.DagsterRun) -> dg.DagsterRunStatus:
    """The status in a run's record."""
    record = instance.get_run_by_id(run.run_id)
    assert record
    return record.status


def holds_its_place(instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """True if the run is in the pool of the rollups."""
    return run.run_id in instance.event_log_storage.get_concurrency_info("rollups").active_run_ids


@pytest.fixture
def victim(
    stored: dg.DagsterInstance, defs: dg.Definitions, connection: Connection, fill: Fill
) -> Iterator[tuple[dg.DagsterRun, subprocess.Popen[bytes]]]:
    """A launched run of ours and its process, which waits in the middle of its build."""
    fill(YESTERDAY)
    tags = {"dagster/partition": str(YESTERDAY)}
    run = launched.create_run(stored, defs.resolve_job_def("rollups_job"), tags=tags)
    with day_lock(connection, YESTERDAY):
        process = start(run)
        eventually(lambda: holds_its_place(stored, run), "the run has its place in the pool")
        yield run, process
    process.kill()
    process.wait()


def test_a_killed_run_is_ended_and_does_not_hold_up_the_next_one(
    stored: dg.DagsterInstance,
    victim: tuple[dg.DagsterRun, subprocess.Popen[bytes]],
    looks: Callable[[float], list[str]],
    connection: Connection,
) -> None:
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


def test_the_place_of_a_killed_run_is_freed_when_something_else_has_ended_the_run(
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


def test_a_run_that_lost_its_connection_takes_its_lock_again(
    victim: tuple[dg.DagsterRun, subprocess.Popen[bytes]],
    looks: Callable[[float], list[str]],
    connection: Connection,
) -> None:
    run, _ = victim
    holders = "select pid from pg_locks where locktype = 'advisory' and classid = 7291004"
    lost = connection.execute(holders).fetchall()
    connection.execute(f"select pg_terminate_backend(pid) from ({holders}) as h")  # type: ignore[arg-type]
    eventually(lambda: not {*lost} & {*connection.execute(holders)}, "the connections are gone")
    eventually(lambda: living_runs(connection, [run.run_id]), "it holds its lock again")
    assert looks(1000.0) == []
    assert HEARTBEAT_SECONDS < LOST_SECONDS / 2


def test_a_run_that_is_marked_as_failed_from_outside_goes_on_and_is_in_flight(
    stored: dg.DagsterInstance,
    victim: tuple[dg.DagsterRun, subprocess.Popen[bytes]],
    ours: Ours,
    connection: Connection,
) -> None:
    run, process = victim
    since = datetime.now(UTC) - timedelta(days=1)

    def known() -> tuple[list[str], list[str]]:
        running, failed = running_and_failed(stored, connection, ours, "rollups_job", since)
        return [each.run_id for each in running], [each.dagster_run.run_id for each in failed]

    stored.report_run_failed(run)
    assert status_of(stored, run) == dg.DagsterRunStatus.FAILURE
    assert known() == ([run.run_id], [])
    process.kill()
    process.wait()
    eventually(lambda: known() == ([], [run.run_id]), "its failure counts when it is over")


def test_the_sensor_ends_what_is_dead_at_a_later_tick(
    stored: dg.DagsterInstance,
    defs: dg.Definitions,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = stored.create_run_for_job(
        _empty_job, tags={LOCK_TAG: lock_space(connection)}, status=STARTED
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


def test_a_run_whose_lock_was_away_for_a_moment_begins_to_count_anew(
    stored: dg.DagsterInstance, database: Database, connection: Connection, ours: Ours
) -> None:
    run = stored.create_run_for_job(_empty_job, tags={LOCK_TAG: ours.locks}, status=STARTED)
    _, suspects = end_dead_runs(stored, connection, ours, {}, 0.0)
    with held_run(database, run.run_id):
        _, suspects = end_dead_runs(stored, connection, ours, suspects, LOST_SECONDS)
    ended, suspects = end_dead_runs(stored, connection, ours, suspects, LOST_SECONDS * 2)
    assert ended == []
    ended, suspects = end_dead_runs(stored, connection, ours, suspects, LOST_SECONDS * 3)
    assert (ended, suspects) == ([run.run_id], {})


def test_a_run_that_ends_between_the_looks_stays_as_it_ended(
    stored: dg.DagsterInstance, connection: Connection, ours: Ours
) -> None:
    """Its record is read again.

    The list of runs is older than the look at the locks.
    """
    run = stored.create_run_for_job(_empty_job, tags={LOCK_TAG: ours.locks}, status=STARTED)
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


def test_who_is_cancelled_is_not_retried(
    stored: dg.DagsterInstance, looks: Callable[[float], list[str]], ours: Ours
) -> None:
    run = stored.create_run_for_job(_empty_job, tags={LOCK_TAG: ours.locks}, status=STARTED)
    stored.report_run_canceling(run)
    assert looks(LOST_SECONDS) == [run.run_id]
    assert status_of(stored, run) == dg.DagsterRunStatus.CANCELED


def test_a_run_that_never_took_its_lock_has_longer(
    stored: dg.DagsterInstance,
    defs: dg.Definitions,
    looks: Callable[[float], list[str]],
    ours: Ours,
) -> None:
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


@dg.job
def _empty_job() -> None:
    """A job that does nothing."""


@dg.job(name="nightly_job")
def _their_nightly_job() -> None:
    """A job of another team, under a name that is ours too."""


@dg.asset(name="theirs")
def _theirs() -> None:
    """An asset of another team."""


@dg.asset(name="raw_events")
def _raw_events() -> None:
    """An asset of ours, by its key."""


_mixed_job = dg.Definitions(
    [_theirs, _raw_events], jobs=[dg.define_asset_job("mixed_job")]
).resolve_job_def("mixed_job")


def of_another_location(
    instance: dg.DagsterInstance, defs: dg.Definitions, ours: Ours
) -> dg.DagsterRun:
    return launched.create_run(instance, _their_nightly_job, "neighbour", status=STARTED)


def of_our_location_but_not_ours(
    instance: dg.DagsterInstance, defs: dg.Definitions, ours: Ours
) -> dg.DagsterRun:
    return launched.create_run(instance, _empty_job, status=STARTED)


def of_their_assets_in_our_location(
    instance: dg.DagsterInstance, defs: dg.Definitions, ours: Ours
) -> dg.DagsterRun:
    return launched.create_run(
        instance,
        _mixed_job,
        status=STARTED,
        asset_selection=_mixed_job.asset_layer.executable_asset_keys,
    )


def of_a_script(instance: dg.DagsterInstance, defs: dg.Definitions, ours: Ours) -> dg.DagsterRun:
    return instance.create_run_for_job(_their_nightly_job, status=STARTED)


def of_another_signal(
    instance: dg.DagsterInstance, defs: dg.Definitions, ours: Ours
) -> dg.DagsterRun:
    """A command's run, whose lock is in another database."""
    return instance.create_run_for_job(_empty_job, tags={LOCK_TAG: "1/1"}, status=STARTED)


def of_our_location_before_it_moved(
    instance: dg.DagsterInstance, defs: dg.Definitions, ours: Ours
) -> dg.DagsterRun:
    """A run that our location launched when it was configured for another database.

    Its lock is in that database.
    """
    return launched.create_run(
        instance, defs.resolve_job_def("rollups_job"), tags={LOCK_TAG: "1/1"}, status=STARTED
    )


def of_another_location_by_our_resource(
    instance: dg.DagsterInstance, defs: dg.Definitions, ours: Ours
) -> dg.DagsterRun:
    """A run that takes our lock only in its steps.

    Another executor runs each step in a process of its own.
    """
    return launched.create_run(
        instance, _empty_job, "neighbour", tags={LOCK_TAG: ours.locks}, status=STARTED
    )


def not_begun(instance: dg.DagsterInstance, defs: dg.Definitions, ours: Ours) -> dg.DagsterRun:
    job = defs.resolve_job_def("rollups_job")
    return launched.create_run(
        instance, job, tags={LOCK_TAG: ours.locks}, status=dg.DagsterRunStatus.STARTING
    )


NOT_TO_BE_ENDED = [
    of_another_location,
    of_our_location_but_not_ours,
    of_their_assets_in_our_location,
    of_a_script,
    of_another_signal,
    of_our_location_before_it_moved,
    of_another_location_by_our_resource,
    not_begun,
]


@pytest.mark.parametrize("located", [True, False], ids=["sensor", "command"])
def test_what_is_not_ours_or_may_live_is_never_ended(
    stored: dg.DagsterInstance,
    defs: dg.Definitions,
    connection: Connection,
    ours: Ours,
    located: bool,
) -> None:
    runs = {make.__name__: make(stored, defs, ours) for make in NOT_TO_BE_ENDED}
    before = {name: status_of(stored, run) for name, run in runs.items()}
    seen_by = ours if located else replace(ours, location=None)
    suspects: dict[str, float] = {}
    for now in range(0, 7200, 600):
        ended, suspects = end_dead_runs(stored, connection, seen_by, suspects, float(now))
        assert ended == []
    assert {name: status_of(stored, run) for name, run in runs.items()} == before


def test_a_command_ends_a_launched_run_of_ours_that_had_its_lock(
    stored: dg.DagsterInstance, defs: dg.Definitions, connection: Connection, ours: Ours
) -> None:
    """With the daemon dead too, nobody else frees the place that the run holds."""
    run = launched.create_run(
        stored, defs.resolve_job_def("rollups_job"), tags={LOCK_TAG: ours.locks}, status=STARTED
    )
    by_command = replace(ours, location=None)
    _, suspects = end_dead_runs(stored, connection, by_command, {}, 0.0)
    assert end_dead_runs(stored, connection, by_command, suspects, LOST_SECONDS)[0] == [run.run_id]
