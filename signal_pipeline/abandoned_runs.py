"""Runs whose process is gone: they are ended, so that what they held is free again.

A killed process leaves its run marked as started, and its place in a pool taken: every later run of the pool would wait for
ever. Dagster can ask only some launchers whether a run lives. So each run holds an advisory lock for as long as its
process has a connection (`PostgresResource`), and a started run without its lock is dead, wherever it ran.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from signal_pipeline.errors import SignalError
from signal_pipeline.resources.postgres import PostgresResource
from signal_pipeline.store.database import Connection, Database, safe_errors
from signal_pipeline.store.run_locks import run_lives

GRACE_SECONDS = 20.0  # A run takes its lock just after it is marked as started.
TICK_SECONDS = 10


def end_abandoned_runs(instance: dg.DagsterInstance, connection: Connection) -> list[str]:
    """Mark each started run whose process is gone as failed, and free its places; returns their ids."""
    ended = []
    for record in instance.get_run_records(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        run = record.dagster_run
        young = record.start_time is None or time.time() - record.start_time < GRACE_SECONDS
        if young or run_lives(connection, run.run_id):
            continue
        instance.report_run_failed(run, "The process of this run is gone: it was killed, or lost the database.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        ended.append(run.run_id)
    return ended


@contextmanager
def ending_abandoned_runs(instance: dg.DagsterInstance, database: Database) -> Iterator[None]:
    """Do so every few seconds, beside a run that may have to wait for a dead one's place where no daemon runs."""
    over = threading.Event()

    def watch() -> None:
        while True:
            try:
                with safe_errors(), database.connect() as connection:
                    end_abandoned_runs(instance, connection)
            except SignalError:
                pass  # The run itself says what is wrong with the database.
            if over.wait(TICK_SECONDS):
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


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
