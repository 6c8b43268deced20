"""Builds the days of a run of the rollups, and reports what became of each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial

import dagster as dg

from signal_pipeline.concurrency import short_switch_interval, submit_ahead
from signal_pipeline.dagster.assets.rollup_marks import RollupMarks
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.dagster.runs import failure_tags
from signal_pipeline.days.calendar import DayInUseError, stored_start_date, today_utc
from signal_pipeline.days.coverage import days_note
from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import Connection, DatabaseUnreachableError
from signal_pipeline.rollups.build import (
    BuildRefusedError,
    DayBuild,
    DayPurgedError,
    RollupsFailedError,
    build_day,
    recorded_builds,
)
from signal_pipeline.rollups.models import Models

DAY_ATTEMPTS = 2
BUILDERS = 2
MOST_REASONS = 10


@dataclass(slots=True)
class RunOutcome:
    """What became of the days of a run.

    `recorded` holds the builds of the purged days, which no build can change any more. `failed`
    holds the reason for each day that failed, as a whole or in part. `without` names the rollups
    that failed, unless the day failed as a whole.
    """

    built: list[DayBuild] = field(default_factory=list)
    purged: list[date] = field(default_factory=list)
    recorded: list[DayBuild] = field(default_factory=list)
    failed: dict[date, str] = field(default_factory=dict)
    without: dict[date, frozenset[str]] = field(default_factory=dict)

    def fail(self, day: date, reason: str, rollups: Iterable[str] = ()) -> None:
        """Record that a day, or only these of its rollups, failed."""
        self.failed[day] = reason
        if rollups:
            self.without[day] = frozenset(rollups)

    def forgive(self, day: date) -> None:
        """Forget that an earlier attempt at a day failed."""
        self.failed.pop(day, None)
        self.without.pop(day, None)


def build_days(
    context: dg.AssetExecutionContext,
    postgres: PostgresResource,
    models: Models,
    days: Sequence[date],
    marks: RollupMarks,
) -> RunOutcome:
    """Build day by day. A day that fails holds up no other, and is tried again at the end.

    Of a day that failed in part, only the failed rollups are tried again. A day that was refused,
    or whose lock another session held, is not tried again. Raises DatabaseUnreachableError at
    once, so that Dagster retries the step.
    """
    outcome = RunOutcome()
    database, engine = postgres.database(), postgres.engine(many_days=len(days) > 1)
    build_one = partial(build_day, database, engine)
    left = dict.fromkeys(days, models)
    for attempt in range(1, DAY_ATTEMPTS + 1):
        again: dict[date, Models] = {}
        for day, result in _builds_in_order(build_one, left):
            try:
                build = result.result()
            except DayPurgedError as refusal:
                context.log.info("%s", refusal)
                outcome.purged.append(day)
                outcome.forgive(day)
                # The first attempt can have built some rollups. `mark_purged_days` reads the record
                # of these.
                outcome.built = [build for build in outcome.built if build.day != day]
            except BuildRefusedError as refusal:
                context.log.error("%s", refusal)
                outcome.fail(day, refusal.reason)
            except RollupsFailedError as error:
                context.log.error("%s, attempt %d of %d", error, attempt, DAY_ATTEMPTS)
                outcome.fail(day, error.reason, error.failed)
                again[day] = models.only(error.failed)
                if error.build:
                    _take(context, outcome, error.build, marks)
            except DatabaseUnreachableError:
                raise
            except DayInUseError as error:  # Another try would hold up the other days again.
                context.log.error("%s", error)
                outcome.fail(day, str(error))
            except SignalError as error:
                context.log.error("day %s, attempt %d of %d: %s", day, attempt, DAY_ATTEMPTS, error)
                outcome.fail(day, str(error))
                again[day] = left[day]
            else:
                outcome.forgive(day)
                _take(context, outcome, build, marks)
        left = again
    return outcome


def _take(
    context: dg.AssetExecutionContext, outcome: RunOutcome, build: DayBuild, marks: RollupMarks
) -> None:
    """Note a committed build, of a whole day or of some of its rollups."""
    context.log.info("day %s: %d events, %.2f s", build.day, build.raw_events, build.seconds)
    outcome.built.append(build)
    marks.log(build)


def _builds_in_order(
    build: Callable[[Models, date], DayBuild], days: Mapping[date, Models]
) -> Iterator[tuple[date, Future[DayBuild]]]:
    """Yield each day with its build, in order, while the builds of the next days are under way.

    One day is therefore read while another is computed or marked.
    """
    wanted = [(models, day) for day, models in days.items()]
    with (
        short_switch_interval(),
        ThreadPoolExecutor(BUILDERS, thread_name_prefix="signal-build") as pool,
    ):
        builds = submit_ahead(pool, (partial(build, *each) for each in wanted), ahead=BUILDERS)
        try:
            yield from zip(days, builds, strict=True)
        finally:
            pool.shutdown(cancel_futures=True)


def mark_purged_days(
    connection: Connection, models: Models, outcome: RunOutcome, marks: RollupMarks
) -> None:
    """Mark purged days with their recorded builds: Dagster counts a day without a mark as failed.

    If a day was purged before one of the rollups was ever built, there is nothing to mark for that
    rollup, and the day counts as failed.
    """
    if not outcome.purged:
        return
    outcome.recorded = recorded_builds(connection, models, outcome.purged)
    found = {build.day: build.rows for build in outcome.recorded}
    for day in outcome.purged:
        if absent := [name for name in models if name not in found.get(day, ())]:
            outcome.failed[day] = (
                f"purged before {', '.join(absent)} was built: nothing is left to build it from"
            )
    for build in outcome.recorded:
        marks.log(build)


def log_outcome(
    context: dg.AssetExecutionContext, connection: Connection, outcome: RunOutcome
) -> None:
    """Log what became of the run's days.

    Dagster silently leaves out days before the start date and after today, so the log names them.
    """
    lines = [
        *days_note({build.day for build in outcome.built}, "built"),
        *days_note((build.day for build in outcome.recorded), "purged, kept as they were"),
    ]
    today, start = today_utc(), stored_start_date(connection)
    requested = {date.fromisoformat(key) for key in context.partition_keys}
    if len(requested) > 1 and start in requested:
        lines.append(f"earlier days, which cannot be built, are left out: {start} is the first")
    if today in requested:
        lines.append(
            f"today, {today}, is not over: its numbers are partial, and days to come cannot be"
            " built"
        )
    if lines:
        context.log.info("%s", "; ".join(lines))


def raise_for_failed_days(
    context: dg.AssetExecutionContext, outcome: RunOutcome, only_day: date | None
) -> None:
    """Raise Failure, with the days and reasons in its text, if the run failed to build a day.

    A purged day that is left alone has not failed. A nightly run fails only for its own day
    (`only_day`): an earlier day that it failed to build turns a check red, and holds up neither
    checks nor retention.
    """
    failed = outcome.failed if only_day is None or only_day in outcome.failed else {}
    if not failed:
        return
    context.instance.add_run_tags(context.run.run_id, failure_tags(failed, outcome.without))
    raise dg.Failure(
        _group_by_reason(failed, {build.day for build in outcome.built}),
        metadata={"failed": {str(day): reason for day, reason in failed.items()}},
        allow_retries=False,
    )


def _group_by_reason(failed: Mapping[date, str], built: Collection[date]) -> str:
    """Return the days that were not built, or only in part, grouped by reason, as one text."""
    days: dict[str, list[date]] = {}
    for day, reason in sorted(failed.items()):
        what = "built only in part" if day in built else "not built"
        days.setdefault(f"{what}, {reason}", []).append(day)
    shown = list(days.items())[:MOST_REASONS]
    return "; ".join(line for reason, each in shown for line in days_note(each, reason))
