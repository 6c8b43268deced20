"""The seen days, and what the clocks say.

A seen day is a UTC date on which Signal was at work, from which it has events, or which a person
has confirmed. The retention counts a day's age in seen days: see `retention_rule.py`. Seen days are
kept for ever.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime

from signal_pipeline.days.calendar import NotMigratedError
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query
from signal_pipeline.privacy import audit_log
from signal_pipeline.privacy.retention_rule import ClockFacts


def read_clocks(connection: Connection) -> ClockFacts:
    """Read the clocks of this machine and of PostgreSQL, and the seen UTC dates.

    Raises NotMigratedError if the database has no start date.
    """
    row = connection.execute(query(__package__, "clock_facts")).fetchone()
    if row is None:
        raise NotMigratedError("the database has no start date: run `signal-pipeline migrate`")
    database, installed, seen = row
    return ClockFacts(datetime.now(UTC), database, installed, frozenset(seen))


def remember_days(connection: Connection, facts: ClockFacts) -> None:
    """Store the seen dates, and today.

    The time of a build is one of the signs of a date, and a rebuild overwrites it. So the dates
    have to be stored.
    """
    _add(connection, [*facts.seen, facts.today], confirmed=False)


def write_confirmed_days(
    connection: Connection,
    unseen: list[date],
    raw_days: int,
    actor: bytes | None,
    run_id: str | None = None,
) -> None:
    """Store dates that a person has confirmed as passed, and write an entry in the audit log.

    `raw_days` is how many days of raw events can be purged because of the confirmation. Without an
    `actor`, `run_id` names the Dagster run whose configuration confirmed the dates: Dagster knows
    who launched the run.
    """
    with connection.transaction():
        _add(connection, unseen, confirmed=True)
        details: dict[str, object] = {
            "first": str(unseen[0]),
            "last": str(unseen[-1]),
            "days": len(unseen),
            "raw_days": raw_days,
        }
        if run_id is not None:
            details["run"] = run_id
        audit_log.record(connection, "confirm_days", actor=actor, details=details)


def _add(connection: Connection, days: Iterable[date], *, confirmed: bool) -> None:
    connection.execute(
        "insert into signal.seen_days (day, confirmed) select unnest(%s::date[]), %s on conflict do"
        " nothing",
        [sorted(days), confirmed],
    )
