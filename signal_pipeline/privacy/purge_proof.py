"""The proof that a day's rollups hold everything that is in its raw events, before a purge.

Requirement 9, invariants 6 and 9.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime

from psycopg import sql
from psycopg.rows import class_row

from signal_pipeline.days.calendar import window
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.model_tests import reconciliations
from signal_pipeline.rollups.models import Models


class UnprovenError(Exception):
    """The day is kept, since it fails its proof or cannot be deleted; the text says why."""


@dataclass(frozen=True, slots=True)
class PurgeFacts:
    """A day's raw events before its purge, and what the books and the builds say they should be."""

    raw_events: int
    first_event: datetime | None
    last_event: datetime | None
    keys: int
    accepted: int
    erased: int
    expected: int
    version: int
    builds: Mapping[str, Mapping[str, object]]


def read_purge_facts(connection: Connection, day: date) -> PurgeFacts:
    """Read the facts of a day in one scan. The caller holds the day's lock."""
    start, end = window(day)
    cursor = connection.cursor(row_factory=class_row(PurgeFacts))
    facts = cursor.execute(
        query(__package__, "purge_facts"), {"day": day, "start": start, "end": end}
    ).fetchone()
    assert facts is not None
    return facts


def prove(connection: Connection, day: date, models: Models, facts: PurgeFacts) -> None:
    """Raise UnprovenError unless every rollup is fresh and agrees with the raw events."""
    if facts.raw_events < facts.expected:
        raise UnprovenError(
            f"raw events are missing: {facts.raw_events} of {facts.expected} are there"
        )
    for name, model in models.items():
        build = facts.builds.get(name)
        if build is None:
            raise UnprovenError(f"{name} has no build: run `signal-pipeline backfill` for this day")
        if build["version"] != facts.version or build["checksum"] != model.checksum:
            raise UnprovenError(f"{name} is stale: run `signal-pipeline backfill` for this day")
        if build["raw_events"] != facts.raw_events:
            raise UnprovenError(
                f"{name} was built from {build['raw_events']} raw events, now there are"
                f" {facts.raw_events}"
            )
        rows = connection.execute(
            sql.SQL("select count(*) from signal.{} where activity_date = %s").format(
                sql.Identifier(name)
            ),
            [day],
        ).fetchone()
        if rows != (build["rows"],):
            raise UnprovenError(f"{name} does not hold the rows that its build wrote")
    for name in (model.name for model in models.values() if model.covers_all_events):
        total = connection.execute(
            sql.SQL(
                "select coalesce(sum(events), 0)::bigint from signal.{}"
                " where activity_date = %s and event_type = '(all)'"
            ).format(sql.Identifier(name)),
            [day],
        ).fetchone()
        if total != (facts.raw_events,):
            raise UnprovenError(f"{name} does not add up to the raw events")
    for test in reconciliations(models):
        if test.count_faults(connection, day, day):
            raise UnprovenError(
                f"{test.model} fails its test {test.name}: run `signal-pipeline backfill` for"
                " this day"
            )
