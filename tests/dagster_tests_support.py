"""Small helpers of the tests that drive real runs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta

import dagster as dg
from psycopg import sql

from signal_pipeline.rollups.models import Model
from signal_pipeline.store.database import Connection, Database
from signal_pipeline.store.retention import purge_due_days

TODAY = date.today()
YESTERDAY = TODAY - timedelta(days=1)
RETENTION_DAYS = 180
Run = Callable[..., dg.ExecuteInProcessResult]


def due_day(overdue: int = 1) -> date:
    """A day that is due for purging since `overdue` days."""
    return TODAY - timedelta(days=RETENTION_DAYS + overdue)


def purge(database: Database, models: dict[str, Model], day: date) -> None:
    """Purge a due day for real."""
    assert purge_due_days(database, models, RETENTION_DAYS).purged == [day]


def rows_of(connection: Connection, rollup: str, day: date) -> list[tuple[object, ...]]:
    """All rows of a rollup's day, in a stable order."""
    query = sql.SQL("select r::text from signal.{} as r where activity_date = %s order by 1")
    return connection.execute(query.format(sql.Identifier(rollup)), [day]).fetchall()


def materialized(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> dict[str, set[str | None]]:
    """The partitions that a run materialized, by asset."""
    found: dict[str, set[str | None]] = {}
    for entry in instance.all_logs(result.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        event = entry.dagster_event
        assert event
        assert event.asset_key
        found.setdefault(event.asset_key.to_user_string(), set()).add(event.partition)
    return found
