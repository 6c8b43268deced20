"""Dagster's own storage stays bounded: old event logs, check evaluations and runs are deleted, the state of partitions stays.

Dagster prunes its ticks by `dagster.yaml`, and has no setting for the rest. Deleting whole runs would forget which partitions
they materialized; so events go one by one. Docs: docs/data-team.md.
"""

from datetime import UTC, datetime, timedelta

import dagster as dg

from signal_pipeline.names import PRUNING_JOB
from signal_pipeline.settings import load_settings
from signal_pipeline.store.database import Database, safe_errors, sql

KEPT_DAYS = 7
STATEMENTS = ("prune_events", "prune_event_tags", "prune_checks", "prune_runs")  # In this order.


def prune_dagster_storage(database: Database, before: datetime) -> dict[str, int]:
    """Delete what is older than `before` and not needed for any state; returns the rows that went, by statement.

    Events of runs that have not ended stay. Raises DatabaseError.
    """
    utc = before.astimezone(UTC).replace(tzinfo=None)  # Dagster's columns have no time zone.
    with safe_errors(), database.connect() as connection:
        return {name: connection.execute(sql(f"dagster/{name}"), {"before": utc}).rowcount for name in STATEMENTS}


@dg.op(required_resource_keys={"postgres"})  # It holds the lock by which a run is known to live.
def prune_storage(context: dg.OpExecutionContext) -> None:
    """Delete events, evaluations and runs that are older than a week from Dagster's storage."""
    url = load_settings().dagster_database_url
    if url is None:
        context.log.info("Dagster's storage is not on PostgreSQL: nothing is pruned")
        return
    database = Database(url.replace("postgresql+psycopg2://", "postgresql://", 1))
    gone = prune_dagster_storage(database, datetime.now(UTC) - timedelta(days=KEPT_DAYS))
    context.log.info("pruned: %s", ", ".join(f"{name.removeprefix('prune_')} {rows}" for name, rows in gone.items()))


@dg.job(
    name=PRUNING_JOB,
    description="Deletes old event logs and runs from Dagster's storage; keeps each partition's state.",
)
def pruning_job() -> None:
    """Keep Dagster's storage bounded."""
    prune_storage()
