"""Keeps Dagster's own storage bounded: deletes our old logs, evaluations, runs and ticks.

The state of partitions and checks stays. Dagster itself can prune only ticks (`retention` in
`dagster.yaml`), and an instance that others own need not do so. If a run were deleted by Dagster's
own means, Dagster would forget which partitions the run materialized. So events are deleted one by
one, and a run only when none of its events and checks is left. Only our own rows are touched,
because other teams can use the same storage and keep their rows for longer.

Docs: docs/data-team.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg
from dagster_postgres import PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from signal_pipeline.dagster.runs import OwnRuns
from signal_pipeline.postgres.query import query

KINDS = ("events", "checks", "runs", "ticks")  # A run goes after its events and checks.
COUNTING_SECONDS = 60


@dataclass(frozen=True, slots=True)
class PruningResult:
    """How many rows of each kind were deleted, and how many equally old rows belong to others.

    `others` is None if counting them took too long.
    """

    deleted: Mapping[str, int]
    others: Mapping[str, int] | None


def prune_dagster_storage(
    instance: dg.DagsterInstance, ours: OwnRuns, before: datetime
) -> PruningResult | None:
    """Delete our rows that are older than `before` and that no state needs.

    A run is old if it ended before that time. A run that ended later, or has not ended, keeps all
    its rows. Returns None if the storage is not in one database of PostgreSQL.
    """
    storage = _storage(instance)
    if storage is None:
        return None
    limits = {
        # Dagster's columns have no time zone.
        "before": (before.astimezone(UTC).replace(tzinfo=None)),
        "location": ours.location,
        "locks": ours.locks,
        "jobs": sorted(ours.names.jobs),
        "assets": sorted(key.to_string() for key in ours.names.assets),
        "instigators": _own_instigators(instance, ours),
    }
    with storage.connect() as connection:
        runs = _rows(connection, "our_runs", limits)
        old = {**limits, "runs": [run_id for run_id, is_old in runs if is_old]}
        deleted = {kind: int(_rows(connection, f"prune_{kind}", old)[0][0]) for kind in KINDS}
        return PruningResult(
            deleted, _count_others(connection, {**limits, "ours": [run_id for run_id, _ in runs]})
        )


def _storage(instance: dg.DagsterInstance) -> PostgresRunStorage | None:
    """Return Dagster's storage if all of it is in one database of PostgreSQL, else None."""
    runs, events, ticks = (
        instance.run_storage,
        instance.event_log_storage,
        instance.schedule_storage,
    )
    if not isinstance(runs, PostgresRunStorage):
        return None
    if not isinstance(events, PostgresEventLogStorage) or not isinstance(
        ticks, PostgresScheduleStorage
    ):
        return None
    return runs if runs.postgres_url == events.postgres_url == ticks.postgres_url else None


def _own_instigators(instance: dg.DagsterInstance, ours: OwnRuns) -> list[str]:
    """Return the ids of our sensors and schedules in Dagster's storage."""
    return [
        state.selector_id
        for state in instance.all_instigator_state()
        if state.origin.repository_origin.get_label() == ours.location
        and state.instigator_name in ours.names.instigators
    ]


def _count_others(connection: Connection, limits: Mapping[str, object]) -> Mapping[str, int] | None:
    connection.exec_driver_sql(f"set statement_timeout = '{COUNTING_SECONDS}s'")
    try:
        return dict(zip(KINDS, _rows(connection, "count_others", limits)[0], strict=True))
    except OperationalError:
        return None
    finally:
        connection.exec_driver_sql("reset statement_timeout")


def _rows(connection: Connection, name: str, parameters: Mapping[str, object]) -> list[Any]:
    return list(connection.exec_driver_sql(query(__package__, name), dict(parameters)))
