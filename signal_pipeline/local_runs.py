"""Runs inside a process of our own, such as a backfill's: each holds the lock by which `abandoned_runs.py` sees that it lives."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping

import dagster as dg

from signal_pipeline.abandoned_runs import end_abandoned_runs
from signal_pipeline.runs import LOCAL_TAG
from signal_pipeline.store.database import Database, safe_errors
from signal_pipeline.store.run_locks import held_run

logger = logging.getLogger(__name__)

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def execute_here(
    job: dg.JobDefinition,
    instance: dg.DagsterInstance,
    database: Database,
    tags: Mapping[str, str],
    partition_key: str | None = None,
) -> dg.ExecuteInProcessResult:
    """Execute a job in this process; first ends the runs of processes that are gone. A failed run is a result, not an error."""
    with safe_errors(), database.connect() as connection:
        for ended in end_abandoned_runs(instance, connection):
            logger.warning("run %s is marked as failed: its process is gone", ended)
    run_id = str(uuid.uuid4())
    with safe_errors(), held_run(database, run_id):
        return job.execute_in_process(
            instance=instance,
            run_id=run_id,
            partition_key=partition_key,
            run_config=QUIET,
            tags={**tags, LOCAL_TAG: "true"},
            raise_on_error=False,
        )
