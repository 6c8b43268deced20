"""Retention: deletes whole UTC days of raw events (requirement 9).

A day goes once its rollups are proven complete. A purge proves, writes the receipt and deletes in
one transaction, under the day's lock (invariants 6 and 9). No single clock is believed:
`retention_rule.py` says which days are past their retention.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import cast

from psycopg import errors, sql
from psycopg.types.json import Jsonb

from signal_pipeline.days.calendar import day_lock, first_kept_day, today_utc, window
from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import Connection, Database, retried, safe_errors
from signal_pipeline.postgres.query import query
from signal_pipeline.privacy import audit_log as audit
from signal_pipeline.privacy.retention_rule import BY_THE_CLOCK_ALONE, Judgement, judge
from signal_pipeline.privacy.seen_days import confirm_days as write_confirmed
from signal_pipeline.privacy.seen_days import read_clocks, remember_days
from signal_pipeline.rollups.model_tests import reconciliations
from signal_pipeline.rollups.models import Models

logger = logging.getLogger(__name__)

OVERDUE_DAYS = 7
DROP_PATIENCE_SECONDS = 60.0


class RetentionError(SignalError):
    """A purge that was asked for is refused."""


class _Unproven(Exception):
    """The day fails its proof; the text says why."""


@dataclass(slots=True)
class Purged:
    """What a run of the retention did, or with `dry_run` would do.

    `kept`: days that are due and failed their proof, or that are due only by a clock. `refusal`:
    why no clock is believed for the latter, and what to do.
    """

    dry_run: bool
    purged: list[date] = field(default_factory=list)
    kept: dict[date, str] = field(default_factory=dict)
    refusal: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Return the object that `retention --json` prints."""
        return {
            "purged": [day.isoformat() for day in self.purged],
            "kept": [{"day": day.isoformat(), "reason": why} for day, why in self.kept.items()],
            "dry_run": self.dry_run,
        }


def due_days(connection: Connection, first_kept: date) -> list[date]:
    """Return the open days before `first_kept`, oldest first."""
    rows = connection.execute(query(__package__, "due_days"), [first_kept]).fetchall()
    return [cast(date, row[0]) for row in rows]


def judge_due_days(connection: Connection, retention_days: int) -> tuple[Judgement, list[date]]:
    """Judge what is past its retention now, and find the open days that are so only by a clock.

    Those days are returned oldest first.
    """
    judgement = judge(read_clocks(connection), retention_days)
    return judgement, judgement.held(due_days(connection, judgement.by_clock))


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
) -> Purged:
    """Purge every due day that passes its proof.

    A day that fails is kept and named, and holds up no other. `as_of` replaces today's UTC date; a
    date after today is allowed only with `dry_run`. Days that are due only by a clock are kept too,
    unless a person confirms with `confirm_days` that up to so many may go. `actor`: see
    `privacy/audit_log.py`. `run_id` is the Dagster run in which somebody confirmed, if it was one.
    """
    today = today_utc()
    if as_of is not None and as_of > today and not dry_run:
        raise RetentionError(f"--as-of {as_of} is after today: only with --dry-run")
    result = Purged(dry_run)
    with safe_errors(), database.connect() as connection:
        judgement, held = judge_due_days(connection, retention_days)
        first_kept = judgement.first_kept
        if not dry_run:
            remember_days(connection, judgement.facts)
        if held and len(held) <= confirm_days and not judgement.facts.apart:
            if not dry_run:
                write_confirmed(connection, judgement.unseen, len(held), actor, run_id)
            held, first_kept = [], judgement.by_clock
        if as_of is not None:
            asked = first_kept_day(as_of, retention_days)
            # What would be due on a future day is not judged: nothing can have been seen of that
            # day.
            first_kept = asked if as_of > today else min(first_kept, asked)
            held = [day for day in held if first_kept <= day < asked]
        result.refusal = judgement.refusal(held)
        for day in due_days(connection, first_kept):
            try:
                _purge(connection, day, models, actor, dry_run=dry_run)
                result.purged.append(day)
            except _Unproven as unproven:
                result.kept[day] = str(unproven)
                logger.warning("day %s is due but kept: %s", day, unproven)
        result.kept |= dict.fromkeys(held, BY_THE_CLOCK_ALONE)
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
) -> Purged:
    """Delete a due day that cannot pass its proof; its rollups are labelled incomplete for ever.

    Raises RetentionError for a day that is not due, or without a reason.
    """
    if not reason.strip():
        raise RetentionError("--purge-incomplete needs --reason TEXT")
    with safe_errors(), database.connect() as connection:
        judgement, held = judge_due_days(connection, retention_days)
        if day in held:
            raise RetentionError(f"day {day} was not purged: {judgement.refusal(held)}")
        if day not in due_days(connection, judgement.first_kept):
            raise RetentionError(f"day {day} is not due for purging, or is purged already")
        try:
            _purge(connection, day, models, actor, forced=reason.strip()[: audit.MAX_REASON])
        except _Unproven as unproven:
            raise RetentionError(f"day {day} was not purged: {unproven}") from None
    return Purged(False, purged=[day])


def _purge(
    connection: Connection,
    day: date,
    models: Models,
    actor: bytes | None,
    *,
    dry_run: bool = False,
    forced: str | None = None,
) -> None:
    with day_lock(connection, day):
        if dry_run:
            with connection.transaction():
                _prove(connection, day, models, _facts(connection, day))
            return
        retried(lambda: _purge_locked(connection, day, models, actor, forced))


@dataclass(frozen=True, slots=True)
class _Facts:
    raw_events: int
    first_event: datetime | None
    last_event: datetime | None
    keys: int
    accepted: int
    erased: int
    expected: int
    version: int
    builds: Mapping[str, Mapping[str, object]]


def _purge_locked(
    connection: Connection,
    day: date,
    models: Models,
    actor: bytes | None,
    forced: str | None,
) -> None:
    with connection.transaction():
        # From here no writer can touch the day: each takes FOR KEY SHARE on this row first.
        locked = connection.execute(
            "select state from signal.days where day = %s for update", [day]
        ).fetchone()
        if locked != ("open",):
            raise _Unproven("the day is not open")
        facts = _facts(connection, day)
        if forced is None:
            _prove(connection, day, models, facts)
        connection.execute(
            query(__package__, "write_receipt"),
            {
                "day": day,
                "raw_events": facts.raw_events,
                "first_event": facts.first_event,
                "last_event": facts.last_event,
                "keys": facts.keys,
                "accepted": facts.accepted,
                "erased": facts.erased,
                "version": facts.version,
                "incomplete": forced is not None,
                "reason": forced,
                "rollups": Jsonb(facts.builds),
                "partition": f"signal.events_{day:%Y%m%d}",
            },
        )
        audit.record(
            connection,
            "purge" if forced is None else "purge_incomplete",
            day=day,
            actor=actor,
            details={"raw_events": facts.raw_events, "keys": facts.keys, "reason": forced},
        )
        connection.execute("delete from signal.event_keys where day = %s", [day])
        connection.execute(
            "update signal.days set state = 'purged', incomplete = %s where day = %s",
            [forced is not None, day],
        )
        _drop_partition(connection, day)


def _facts(connection: Connection, day: date) -> _Facts:
    start, end = window(day)
    row = connection.execute(
        query(__package__, "purge_facts"), {"day": day, "start": start, "end": end}
    ).fetchone()
    assert row is not None
    return _Facts(
        *cast(
            "tuple[int, datetime | None, datetime | None, int, int, int, int, int, dict[str,"
            " dict[str, object]]]",
            row,
        )
    )


def _prove(connection: Connection, day: date, models: Models, facts: _Facts) -> None:
    """Raise _Unproven unless every rollup is fresh and agrees with the raw events."""
    if facts.raw_events < facts.expected:
        raise _Unproven(
            f"raw events are missing: {facts.raw_events} of {facts.expected} by the books"
        )
    for name, model in models.items():
        build = facts.builds.get(name)
        if build is None:
            raise _Unproven(f"{name} has no build: run `signal-pipeline backfill` for this day")
        if build["version"] != facts.version or build["checksum"] != model.checksum:
            raise _Unproven(f"{name} is stale: run `signal-pipeline backfill` for this day")
        if build["raw_events"] != facts.raw_events:
            raise _Unproven(f"{name} was built from other raw events than are there now")
        rows = connection.execute(
            sql.SQL("select count(*) from signal.{} where activity_date = %s").format(
                sql.Identifier(name)
            ),
            [day],
        ).fetchone()
        if rows != (build["rows"],):
            raise _Unproven(f"{name} does not hold the rows that its build wrote")
    for name in (model.name for model in models.values() if model.covers_all_events):
        total = connection.execute(
            sql.SQL(
                "select coalesce(sum(events), 0)::bigint from signal.{}"
                " where activity_date = %s and event_type = '(all)'"
            ).format(sql.Identifier(name)),
            [day],
        ).fetchone()
        if total != (facts.raw_events,):
            raise _Unproven(f"{name} does not add up to the raw events")
    for test in reconciliations(models):
        if test.count_faults(connection, day, day):
            raise _Unproven(
                f"{test.model} fails its test {test.name}: run `signal-pipeline backfill` for"
                " this day"
            )


def _drop_partition(connection: Connection, day: date) -> None:
    """Drop the day's partition, waiting for the lock in short tries.

    A DROP that queues would stall every writer behind it.
    """
    connection.execute("set local lock_timeout = '100ms'")
    give_up = time.monotonic() + DROP_PATIENCE_SECONDS
    while True:
        try:
            with (
                connection.transaction()
                # A savepoint, so that the deletes above are not repeated.
            ):
                connection.execute("select signal.drop_partition(%s)", [day])
            return
        except errors.LockNotAvailable:
            if time.monotonic() > give_up:
                raise _Unproven(
                    f"its partition was in use for {DROP_PATIENCE_SECONDS:.0f} s; the next run"
                    " tries again"
                ) from None
            time.sleep(0.1)
