"""Retention: deletes whole UTC days of raw events (requirement 9).

A day goes once its rollups are proven complete. No single clock is believed. `retention_rule.py`
says which days are past their retention, `day_purge.py` how one of them is deleted, and
`purge_proof.py` what is proven.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import date

from psycopg.rows import scalar_row

from signal_pipeline.days.calendar import (
    first_kept_day,
    today_utc,
    window,
)
from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import (
    Connection,
    Database,
    DatabaseError,
    DatabaseUnreachableError,
    safe_errors,
)
from signal_pipeline.postgres.query import query
from signal_pipeline.privacy import audit_log
from signal_pipeline.privacy.day_purge import PurgedMeanwhileError, open_connection, purge_day
from signal_pipeline.privacy.partition_drop import DropRefusedError
from signal_pipeline.privacy.purge_proof import UnprovenError
from signal_pipeline.privacy.retention_rule import BY_THE_CLOCK_ALONE, Judgement, Refusal, judge
from signal_pipeline.privacy.seen_days import read_clocks, remember_days, write_confirmed_days
from signal_pipeline.rollups.models import Models

logger = logging.getLogger(__name__)

OVERDUE_DAYS = 7


class RetentionError(SignalError):
    """A purge that was asked for is refused."""


class DueByClockError(RetentionError):
    """The day to purge is past its retention by a clock alone; `refusal` says why it is kept."""

    def __init__(self, day: date, refusal: Refusal) -> None:
        super().__init__(f"day {day} was not purged: {refusal.reason}")
        self.refusal = refusal


@dataclass(slots=True)
class PurgeResult:
    """What a run of the retention did, or with `dry_run` would do.

    `kept` holds days that are due, each with the reason why it is kept: days that failed their
    proof or could not be deleted, and days that are due by a clock alone. `refusal` says why days
    that are due by a clock alone are kept; it is also set if the clocks differ and there is no such
    day. `refused` holds the days that PostgreSQL refused to purge, though nothing is wrong with
    their proof.
    """

    dry_run: bool
    purged: list[date] = field(default_factory=list)
    kept: dict[date, str] = field(default_factory=dict)
    refused: list[date] = field(default_factory=list)
    refusal: Refusal | None = None

    @property
    def fault(self) -> str | None:
        """Return what PostgreSQL refused, if no day was purged.

        PostgreSQL may then refuse every day.
        """
        if self.purged or not self.refused:
            return None
        first = self.refused[0]
        return (
            f"PostgreSQL refused to purge all {len(self.refused)} day(s) that could be purged; the"
            f" first is {first}: {self.kept[first]}"
        )

    def as_dict(self) -> dict[str, object]:
        """Return the object that `retention --json` prints."""
        return {
            "purged": [day.isoformat() for day in self.purged],
            "kept": [{"day": day.isoformat(), "reason": why} for day, why in self.kept.items()],
            "dry_run": self.dry_run,
        }


def due_days(connection: Connection, first_kept: date) -> list[date]:
    """Return the open days before `first_kept`, oldest first."""
    scalar = connection.cursor(row_factory=scalar_row)
    return scalar.execute(query(__package__, "due_days"), [first_kept]).fetchall()


def judge_due_days(connection: Connection, retention_days: int) -> tuple[Judgement, list[date]]:
    """Judge which days are past their retention now.

    Also return, oldest first, the open days that are past their retention by the clock alone.
    """
    judgement = judge(read_clocks(connection), retention_days)
    return judgement, judgement.due_by_clock_alone(due_days(connection, judgement.by_clock))


def check_as_of(as_of: date | None, *, dry_run: bool) -> None:
    """Raise RetentionError for a date after today (UTC) outside a dry run."""
    if as_of is not None and as_of > today_utc() and not dry_run:
        raise RetentionError(f"{as_of} is after today: a day to come is allowed only in a dry run")


def purge_due_days(
    database: Database,
    models: Models,
    retention_days: int,
    *,
    as_of: date | None = None,
    dry_run: bool = False,
    confirm_days: int = 0,
    actor: bytes | None = None,
    run_id: str | None = None,
) -> PurgeResult:
    """Purge every due day that passes its proof.

    A day that fails, or that PostgreSQL refuses to purge, is kept and named, and holds up no other.
    Of the errors of a day, only a lost connection ends the run (DatabaseUnreachableError). A dry
    run does not try to drop a day's table, so it cannot know whether PostgreSQL would refuse that.

    With an `as_of` before today (UTC), only days that were due on that date are purged. An `as_of`
    after today is allowed only with `dry_run`, and then the calendar alone decides. In all other
    cases, days that are due by the clock alone are kept if there are more than `confirm_days` of
    them, or if the clocks differ. Days that `as_of` leaves alone are counted too, since a
    confirmation makes them due for later runs.

    `actor` is explained in `privacy/audit_log.py`. `run_id` names the Dagster run whose config set
    `confirm_days`.
    """
    check_as_of(as_of, dry_run=dry_run)
    today = today_utc()
    result = PurgeResult(dry_run)
    with open_connection(database) as connection, open_connection(database) as proving:
        judgement, clock_only = judge_due_days(connection, retention_days)
        first_kept = judgement.first_kept
        if not dry_run:
            remember_days(connection, judgement.facts)
        if clock_only and len(clock_only) <= confirm_days and not judgement.facts.clocks_differ:
            if not dry_run:
                write_confirmed_days(connection, judgement.unseen, len(clock_only), actor, run_id)
            clock_only, first_kept = [], judgement.by_clock
        asked_for = clock_only
        if as_of is not None:
            asked = first_kept_day(as_of, retention_days)
            # A date to come has left no sign yet, so only the calendar can decide.
            first_kept = asked if as_of > today else min(first_kept, asked)
            asked_for = [day for day in clock_only if first_kept <= day < asked]
        result.refusal = judgement.refusal(clock_only if asked_for else [])
        for day in due_days(connection, first_kept):
            try:
                with safe_errors():
                    purge_day(connection, proving, day, models, actor, dry_run=dry_run)
                result.purged.append(day)
            except PurgedMeanwhileError:
                logger.info("day %s was purged by another run", day)
            except DatabaseUnreachableError:
                raise
            # A transient refusal is caught too. Days go oldest first, so a day that PostgreSQL
            # refuses each night would otherwise hold up all later days for ever.
            except (UnprovenError, DatabaseError) as why:
                result.kept[day] = str(why)
                if not isinstance(why, UnprovenError) or isinstance(why, DropRefusedError):
                    result.refused.append(day)
                logger.warning("day %s is due but kept: %s", day, why)
        # Another run that held a day for long can have purged it after this one gave up.
        still_due = due_days(connection, first_kept)
        result.kept = {day: why for day, why in result.kept.items() if day in still_due}
        result.refused = [day for day in result.refused if day in result.kept]
        result.kept |= dict.fromkeys(asked_for, BY_THE_CLOCK_ALONE)
        if not dry_run:
            connection.execute(query(__package__, "forget_landed_files"), [window(first_kept)[0]])
    return result


def purge_incomplete(
    database: Database,
    models: Models,
    day: date,
    reason: str,
    retention_days: int,
    *,
    actor: bytes | None = None,
) -> PurgeResult:
    """Delete a due day without its proof; its rollups are labelled incomplete for ever.

    Raises RetentionError if the reason is blank or the day is not due, and DueByClockError if the
    day is due by a clock alone.
    """
    if not reason.strip():
        raise RetentionError("a day that fails its proof is deleted only for a stated reason")
    with open_connection(database) as connection, open_connection(database) as proving:
        judgement, clock_only = judge_due_days(connection, retention_days)
        refusal = judgement.refusal(clock_only)
        if refusal and day in clock_only:
            raise DueByClockError(day, refusal)
        if day not in due_days(connection, judgement.first_kept):
            raise RetentionError(f"day {day} is not due for purging, or is purged already")
        try:
            forced = reason.strip()[: audit_log.MAX_REASON]
            purge_day(connection, proving, day, models, actor, forced=forced)
        except UnprovenError as unproven:
            raise RetentionError(f"day {day} was not purged by this run: {unproven}") from None
    return PurgeResult(False, purged=[day])
