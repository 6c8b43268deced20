"""The probes of the retention: whether raw events are kept for longer than they should be."""

from __future__ import annotations

from datetime import timedelta

from signal_pipeline.dagster.assets.expired_raw_events import refusal_text
from signal_pipeline.dagster.names import EXPIRED_RAW_EVENTS
from signal_pipeline.dagster.probes.probe import Finding, Probe
from signal_pipeline.days.calendar import first_kept_day, today_utc
from signal_pipeline.postgres.database import Connection
from signal_pipeline.privacy.retention import OVERDUE_DAYS, due_days, judge_due_days
from signal_pipeline.settings import Settings

# A dry run does not try to drop a day's table.
_IF_PROVEN = (
    " If the dry run calls a day due, PostgreSQL refuses to delete it: the last run of"
    f" {EXPIRED_RAW_EVENTS} says why."
)


def nothing_overdue(connection: Connection, settings: Settings) -> Finding:
    """Check that no raw day is seven days overdue, and that the retention is not refused.

    An overdue day and a refused retention are both privacy alarms (requirement 9.2). The retention
    is refused if the clocks differ, or if days are due by the clock alone (`retention_rule.py`).
    """
    judgement, clock_only = judge_due_days(connection, settings.retention_days)
    found, refusal = [], judgement.refusal(clock_only)
    overdue = due_days(connection, judgement.by_clock - timedelta(days=OVERDUE_DAYS))
    late = [day for day in overdue if not refusal or day not in clock_only]
    if refusal:
        found.append(f"THE RETENTION IS REFUSED: {refusal_text(refusal)}")
    if late:
        found.append(
            f"PRIVACY ALARM: {len(late)} raw day(s) are overdue by {OVERDUE_DAYS} days or more, the"
            f" first is {late[0]}. See `signal-pipeline retention --dry-run` for the reason;"
            " rebuild the day with `backfill`, or delete it with `signal-pipeline retention"
            f" --purge-incomplete {late[0]} --reason TEXT`.{_IF_PROVEN}"
        )
    if not found:
        return Finding(True, f"No raw day is {OVERDUE_DAYS} days overdue.")
    days = sorted({*late, *clock_only}) if refusal else late
    return Finding(False, " ".join(found), {"days": [str(day) for day in days]})


def nothing_expired(connection: Connection, settings: Settings) -> Finding:
    """Check that a run of the retention has left no raw day that is due."""
    due = due_days(connection, first_kept_day(today_utc(), settings.retention_days))
    if not due:
        return Finding(True, f"No raw event is older than {settings.retention_days} days.")
    return Finding(
        False,
        f"{len(due)} raw day(s) are due but kept, the first is {due[0]}: run `signal-pipeline"
        " retention --dry-run` for the reason, then `signal-pipeline backfill` for those days."
        f"{_IF_PROVEN}",
        {"days": [str(day) for day in due]},
    )


PROBES = [
    Probe(
        "nothing_expired",
        EXPIRED_RAW_EVENTS,
        "WARN",
        "No raw event is kept past its retention.",
        nothing_expired,
    ),
    Probe(
        "nothing_overdue",
        EXPIRED_RAW_EVENTS,
        "ERROR",
        f"No raw day is {OVERDUE_DAYS} days overdue, and the retention is not refused.",
        nothing_overdue,
    ),
]
