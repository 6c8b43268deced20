"""The partitions by UTC day, today included. Only the weekly page has others: usage_report.py."""

from __future__ import annotations

from datetime import date

import dagster as dg
import psycopg

from signal_pipeline.days.calendar import new_start_date, today_utc
from signal_pipeline.settings import Settings

# A backfill of 180 days is three runs, and a failed run has little to repeat.
DAYS_PER_RUN = 60


def build_daily_partitions(settings: Settings) -> dg.DailyPartitionsDefinition:
    """Return the days from the start date on; `first_partition` says which date that is."""
    return dg.DailyPartitionsDefinition(
        start_date=first_partition(settings).isoformat(), timezone="UTC", end_offset=1
    )


def build_backfill_policy() -> dg.BackfillPolicy:
    """Return how Dagster splits a backfill into runs."""
    return dg.BackfillPolicy.multi_run(DAYS_PER_RUN)


def first_partition(settings: Settings) -> date:
    """Return the start date of the partitions.

    It is the date that is set, or else the one stored in a database that is up, or else the date at
    which a new database would begin. Loading definitions starts no server, and does not fail if
    there is none.
    """
    if settings.start_date is not None:
        return settings.start_date
    url = settings.database_url or _embedded_url(settings)
    stored = _stored_start_date(url) if url else None
    return stored or new_start_date(today_utc(), settings.retention_days)


def _embedded_url(settings: Settings) -> str | None:
    try:
        from signal_pipeline.postgres.embedded import running_url
    except ModuleNotFoundError:  # The extra `embedded` is not installed.
        return None
    return running_url(settings.home_path)


def _stored_start_date(url: str) -> date | None:
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            row = connection.execute("select start_date from signal.instance").fetchone()
            return row[0] if row else None
    except psycopg.Error:
        return None
