"""Finds our runs whose process is gone, and ends them, so that what they held is free again.

If a process is killed, its run stays marked as started and keeps its slot in a pool. Every later
run of the pool would wait for ever, and no sensor would ask for the run's days again. Dagster can
ask only some launchers whether a run lives. The default launcher is not among them, and Dagster
does not watch runs that a command executes itself. So each run of ours holds a lock
(`run_locks.py`) for as long as its process lives.

A run that can still be alive is not ended. Only our runs hold that lock, so only ours are looked
at. A lock can be lost for a moment, so a run is ended only if repeated looks, spread over several
seconds, all found no lock. Just before its end is written, the run is read again, because it can
have ended meanwhile.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections.abc import Mapping

import dagster as dg

from signal_pipeline.dagster.names import ABANDONED_RUNS_SENSOR, Names, load_names
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.dagster.run_locks import hold_run_lock, living_runs
from signal_pipeline.dagster.runs import (
    EVERY_LOOK_SECONDS,
    LOCK_TAG,
    OwnRuns,
    location_of,
    own_location,
)
from signal_pipeline.postgres.database import Connection, Database, safe_errors

logger = logging.getLogger(__name__)

# A run that once had its lock counts as dead after this long without the lock. A living run that
# has lost its lock takes it again within two seconds.
LOST_SECONDS = 8.0
START_SECONDS = 15.0  # A run takes its lock just after it is marked as started.
NOT_BEGUN = [dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING]
BEGUN = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
ENDED = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
# The run configuration with which Dagster prints nothing to the terminal of a command.
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def end_dead_runs(
    instance: dg.DagsterInstance,
    connection: Connection,
    ours: OwnRuns,
    suspects: Mapping[str, float],
    now: float,
) -> tuple[list[str], dict[str, float]]:
    """Take one look: end our runs whose process is gone, and free their slots in pools.

    `suspects` are the runs that had no lock at the last look, with the time of the first such look.
    `now` is a time of the same clock, in seconds. If a suspect's time is after `now`, a clock was
    ahead then, and the time counts as `now`. Returns the ids of the runs that were ended, and the
    suspects for the next look.
    """
    candidates = [*_unfinished_runs(instance, ours), *_finished_in_a_pool(instance, ours)]
    watched = {run.run_id: run for run in candidates if _should_hold_its_lock(run, ours)}
    alive = living_runs(connection, watched)
    unlocked = {
        run_id: min(suspects.get(run_id, now), now) for run_id in watched if run_id not in alive
    }
    dead = [
        run_id
        for run_id, since in unlocked.items()
        if run_id in suspects and now - since >= _patience(watched[run_id])
    ]
    ended = [run_id for run_id in dead if _end_run(instance, run_id)]
    return ended, {run_id: since for run_id, since in unlocked.items() if run_id not in dead}


def _unfinished_runs(instance: dg.DagsterInstance, ours: OwnRuns) -> list[dg.DagsterRun]:
    return [record.dagster_run for record in ours.records(instance, statuses=[*NOT_BEGUN, *BEGUN])]


def _finished_in_a_pool(instance: dg.DagsterInstance, ours: OwnRuns) -> list[dg.DagsterRun]:
    """Return runs that somebody else has ended but that still keep a slot in a pool.

    The code server that launched a run can have ended it, for example.
    """
    pools = instance.event_log_storage.get_concurrency_infos(list(ours.names.pools)).values()
    inside = set().union(
        *(pool.active_run_ids | pool.assigned_run_ids | pool.pending_run_ids for pool in pools)
    )
    if not inside:
        return []
    return [
        record.dagster_run
        for record in ours.records(instance, statuses=ENDED, run_ids=list(inside))
    ]


def _should_hold_its_lock(run: dg.DagsterRun, ours: OwnRuns) -> bool:
    """Return whether the run is ours and would hold its lock in our database if it lived."""
    tag, location = run.tags.get(LOCK_TAG), location_of(run)
    # The run's lock is in another database, where we cannot see it.
    if tag is not None and tag != ours.locks:
        return False
    if location is None:  # No code location launched it, so only its lock tells whose run it is.
        return True
    # The run can be without a process until it starts. Dagster's own monitoring bounds that time.
    if run.status in NOT_BEGUN:
        return False
    if location == ours.location:
        return tag is not None or ours.includes(run)
    return ours.location is None and tag is not None and ours.includes(run)


def _patience(run: dg.DagsterRun) -> float:
    """Return for how many seconds the run can be without its lock and still be alive.

    A retry has the tags of the run that it retries. So the tag on a retry does not show that the
    retry itself has had a lock.
    """
    had_lock = LOCK_TAG in run.tags and run.parent_run_id is None
    return LOST_SECONDS if had_lock else START_SECONDS


def _end_run(instance: dg.DagsterInstance, run_id: str) -> bool:
    """End a run and free its slots in pools; return whether it still had to be ended.

    Its record is read again, because a process writes the end of its run before it gives the lock
    back.
    """
    run = instance.get_run_by_id(run_id)
    message = "The process of this run is gone: it was killed, or lost the database."
    ended = False
    if run is not None and not run.is_finished:
        # A run that was being cancelled has not failed: nobody wants it retried.
        cancelled = run.status == dg.DagsterRunStatus.CANCELING
        report = instance.report_run_canceled if cancelled else instance.report_run_failed
        report(run, message)
        ended = True
    instance.event_log_storage.free_concurrency_slots_for_run(run_id)
    return ended


def build_abandoned_runs_sensor(names: Names) -> dg.SensorDefinition:
    """Return the sensor that ends our runs whose process is gone."""

    @dg.sensor(
        name=names.named(ABANDONED_RUNS_SENSOR),
        minimum_interval_seconds=EVERY_LOOK_SECONDS,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Ends Signal's runs whose process is gone, so that they block no pool.",
    )
    def abandoned_runs_sensor(
        context: dg.SensorEvaluationContext, postgres: PostgresResource
    ) -> dg.SkipReason:
        """End the dead runs, and ask for no run.

        If `run_retries` is on, Dagster itself retries a launched run that failed this way.
        """
        with postgres.connect() as connection:
            ours = OwnRuns.seen_by(connection, names, own_location(context))
            suspects = json.loads(context.cursor or "{}")
            ended, suspects = end_dead_runs(
                context.instance, connection, ours, suspects, time.time()
            )
        context.update_cursor(json.dumps(suspects))
        for run_id in ended:
            context.log.error("run %s was ended: its process is gone", run_id)
        return dg.SkipReason(_skip_message(len(ended), len(suspects)))

    return abandoned_runs_sensor


def _skip_message(ended: int, suspects: int) -> str:
    if ended:
        return f"{ended} run(s) were ended: their processes are gone"
    return (
        f"{suspects} run(s) seem to be dead: another look will tell"
        if suspects
        else "every started run is alive"
    )


def execute_here(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    database: Database,
    tags: Mapping[str, str],
    partition_key: str | None = None,
) -> dg.ExecuteInProcessResult:
    """Execute a job in this process, after ending the runs of processes that are gone.

    A failed run is a result, not an error.
    """
    with database.connect() as connection:
        ours = OwnRuns.seen_by(connection, load_names())
        _end_dead_runs_now(instance, connection, ours)
    run_id = str(uuid.uuid4())
    with safe_errors(), hold_run_lock(database, run_id):
        return job.execute_in_process(
            instance=instance,
            run_id=run_id,
            partition_key=partition_key,
            run_config=QUIET,
            tags={**tags, LOCK_TAG: ours.locks},
            raise_on_error=False,
        )


def _end_dead_runs_now(instance: dg.DagsterInstance, connection: Connection, ours: OwnRuns) -> None:
    """Take looks until no suspect is left, or until the longest patience is over."""
    _, suspects = end_dead_runs(instance, connection, ours, {}, time.monotonic())
    for seconds in (LOST_SECONDS, START_SECONDS - LOST_SECONDS):
        if not suspects:
            return
        logger.info(
            "%d run(s) seem to be dead: looking again in %.0f seconds", len(suspects), seconds
        )
        time.sleep(seconds)
        ended, suspects = end_dead_runs(instance, connection, ours, suspects, time.monotonic())
        for run_id in ended:
            logger.warning("run %s was ended: its process is gone", run_id)
