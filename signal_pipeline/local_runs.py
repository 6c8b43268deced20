"""Runs inside a process of our own, such as a backfill's: known to be alive by a lock that dies with the process.

Dagster watches the runs that its daemon launches. One that a command executes itself stays "started" for ever when the command is
killed, holds its pool, and would keep its days from ever being asked for again.
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping

import dagster as dg

from signal_pipeline.runs import IN_FLIGHT
from signal_pipeline.store.database import Connection, Database, safe_errors

logger = logging.getLogger(__name__)

RUN_LOCK = 7_291_003  # The class of the advisory locks on such runs.
LOCAL_TAG = "signal/local"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def execute_here(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    database: Database,
    tags: Mapping[str, str],
    partition_key: str | None = None,
) -> dg.ExecuteInProcessResult:
    """Execute a job in this process; first ends the runs of processes that are gone. A failed run is a result, not an error."""
    run_id = str(uuid.uuid4())
    with safe_errors(), database.connect() as connection:
        end_orphans(instance, connection)
        connection.execute("select pg_advisory_lock(%s, hashtext(%s))", [RUN_LOCK, run_id])
        return job.execute_in_process(
            instance=instance,
            run_id=run_id,
            partition_key=partition_key,
            run_config=QUIET,
            tags={**tags, LOCAL_TAG: "true"},
            raise_on_error=False,
        )


def end_orphans(instance: dg.DagsterInstance, connection: Connection) -> list[str]:
    """Mark as failed, and give back the pools of, local runs whose process is gone; returns their ids."""
    ended = []
    for run in instance.get_runs(dg.RunsFilter(tags={LOCAL_TAG: "true"}, statuses=IN_FLIGHT)):
        key = [RUN_LOCK, run.run_id]
        if connection.execute("select pg_try_advisory_lock(%s, hashtext(%s))", key).fetchone() != (True,):
            continue  # Its process holds the lock.
        connection.execute("select pg_advisory_unlock(%s, hashtext(%s))", key)
        instance.report_run_failed(run, "The process that executed this run is gone.")
        instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        logger.warning("run %s is marked as failed: its process is gone", run.run_id)
        ended.append(run.run_id)
    return ended
