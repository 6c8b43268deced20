"""Runs whose process is gone: they are ended, so that what they held is free again.

A killed process leaves its run marked as started, and its place in a pool taken: every later run of the pool would wait for
ever, and its days would not be asked for again. Dagster can ask only some launchers whether a run lives; the default one is
not among them, and it does not watch runs that a command executes itself. So each run holds an advisory lock
(`store/run_locks.py`) for as long as its process has a connection, and a run without its lock is dead, wherever it ran.
"""

from __future__ import annotations

import time
from typing import cast

import dagster as dg

from signal_pipeline.resources.postgres import PostgresResource
from signal_pipeline.runs import IN_FLIGHT, LOCAL_TAG
from signal_pipeline.store.database import Connection
from signal_pipeline.store.run_locks import run_lives

GRACE_SECONDS = 20.0  # A run of the daemon takes its lock just after it is marked as started.
TICK_SECONDS = 10


def end_abandoned_runs(instance: dg.DagsterInstance, connection: Connection) -> list[str]:
    """Mark each run whose process is gone as failed, and free its places; returns their ids."""
    ended = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=IN_FLIGHT)):
        run = record.dagster_run
        if not _has_its_lock_by_now(record) or run_lives(connection, run.run_id):
            continue
        instance.report_run_failed(run, "The process of this run is gone: it was killed, or lost the database.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        ended.append(run.run_id)
    return ended


def _has_its_lock_by_now(record: dg.RunRecord) -> bool:
    """Whether the run would hold its lock if it lived. A command takes the lock before it makes its run."""
    if LOCAL_TAG in record.dagster_run.tags:
        return True
    started = record.dagster_run.status == dg.DagsterRunStatus.STARTED and record.start_time is not None
    return started and time.time() - cast(float, record.start_time) >= GRACE_SECONDS


@dg.sensor(
    name="abandoned_runs_sensor",
    minimum_interval_seconds=TICK_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Ends runs whose process is gone, so that no pool waits for them.",
)
def abandoned_runs_sensor(context: dg.SensorEvaluationContext, postgres: PostgresResource) -> dg.SkipReason:
    """Asks for no run: Dagster retries a run that failed this way by itself."""
    with postgres.connect() as connection:
        ended = end_abandoned_runs(context.instance, connection)
    for run_id in ended:
        context.log.error("run %s was ended: its process is gone", run_id)
    return dg.SkipReason(f"{len(ended)} run(s) were ended" if ended else "every started run lives")
