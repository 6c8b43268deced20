"""Plans backfills from the command line, shows what would change, and rebuilds through Dagster."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

import dagster as dg

from signal_pipeline.dagster.liveness import execute_here
from signal_pipeline.dagster.names import ROLLUPS_JOB, load_names
from signal_pipeline.dagster.runs import materialized_days, range_tags
from signal_pipeline.days.calendar import (
    check_window,
    days_between,
    days_missing_raw_events,
    stored_start_date,
    today_utc,
    why_not_built,
)
from signal_pipeline.days.freshness import DayStatus, day_statuses
from signal_pipeline.errors import SignalError, UsageError
from signal_pipeline.postgres.database import Connection, Database, DatabaseUnreachableError
from signal_pipeline.postgres.query import query
from signal_pipeline.rollups.build import BuildRefusedError
from signal_pipeline.rollups.difference import Difference, NotComputed, day_difference
from signal_pipeline.rollups.engine import Engine
from signal_pipeline.rollups.models import Models

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 0.5
PURGED = "purged, unchanged"  # A day that is refused for this reason has not failed.


@dataclass(frozen=True, slots=True)
class BackfillPlan:
    """What a backfill would do.

    `days` are to be built. `refused` holds the days that cannot be built, each with the reason.
    `present` holds the status of each day that has one; a day without any event or build has none.
    `fresh` holds the days that are left alone because only stale days were asked for.
    """

    days: list[date]
    refused: dict[date, str]
    present: Mapping[date, DayStatus]
    fresh: list[date] = field(default_factory=list)


@dataclass(slots=True)
class BackfillResult:
    """What a backfill did."""

    built: list[date] = field(default_factory=list)
    refused: dict[date, str] = field(default_factory=dict)
    runs: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, object]:
        """Return the object that `backfill --json` prints."""
        return {
            "built": [str(day) for day in self.built],
            "refused": [{"day": str(day), "reason": why} for day, why in self.refused.items()],
            "runs": self.runs,
            "seconds": round(self.seconds, 3),
        }


def chosen_models(models: Models, names: Sequence[str]) -> Models:
    """Return the named rollups, or all of them if no name is given.

    Raises UsageError for an unknown name.
    """
    unknown = [name for name in names if name not in models]
    if unknown:
        raise UsageError(f"no rollup {unknown[0]!r}: choose from {', '.join(models)}")
    return models.only(names) if names else models


def plan_backfill(
    connection: Connection,
    models: Models,
    first: date,
    last: date,
    *,
    only_stale: bool = False,
) -> BackfillPlan:
    """Plan which days from `first` to `last` can be built, and why the others cannot.

    With `only_stale`, days whose rollups are fresh are left alone, so that an interrupted backfill
    can go on. Raises WindowError if `first` is after `last`.
    """
    check_window(first, last)
    start_date, today = stored_start_date(connection), today_utc()
    statuses = day_statuses(connection, models.checksums, first, last)
    present = {status.day: status for status in statuses}
    # Counting raw events is the cost of a plan, so days that are left alone are not counted.
    wanted = [day for day, status in present.items() if status.wants_build or not only_stale]
    missing = days_missing_raw_events(connection, wanted)
    days, refused, fresh = [], dict[date, str](), []
    for day in days_between(first, last):
        if reason := why_not_built(day, start_date, today):
            refused[day] = reason
        elif day in present and present[day].state == "purged":
            refused[day] = PURGED
        elif day in missing:
            refused[day] = f"raw events are missing: {missing[day]} fewer than the books say"
        elif only_stale and day in present and not present[day].wants_build:
            fresh.append(day)
        else:
            days.append(day)
    return BackfillPlan(days, refused, present, fresh)


def plan_differences(
    database: Database,
    engine: Engine,
    models: Models,
    plan: BackfillPlan,
    progress: Callable[[int], None],
) -> list[Difference | NotComputed]:
    """Return what would change in each rollup of the planned days; nothing stored changes.

    Each day is computed into a temporary table. A day without any event or build so far is left
    out: its rollups are empty and stay so. A day that is refused meanwhile, or that fails as a
    whole, moves from `plan.days` to `plan.refused`. Raises DatabaseUnreachableError.
    """
    differences: list[Difference | NotComputed] = []
    for day in tuple(plan.days):
        if day in plan.present:
            try:
                differences += day_difference(database, engine, models, day)
            except DatabaseUnreachableError:
                raise
            except SignalError as error:  # A fault of this day alone, as for a build.
                plan.days.remove(day)
                plan.refused[day] = (
                    error.reason if isinstance(error, BuildRefusedError) else str(error)
                )
        progress(1)
    return differences


def run_backfill(
    instance: dg.DagsterInstance,
    definitions: dg.Definitions,
    database: Database,
    plan: BackfillPlan,
    rollups: Sequence[str],
    days_per_run: int,
    progress: Callable[[int], None],
) -> BackfillResult:
    """Build the planned days in contiguous chunks, with one run for each chunk.

    `progress` is called with the number of days that were finished since its last call. If a run
    fails, the days that it built count as built, and the next chunk is run.
    """
    result = BackfillResult(refused=dict(plan.refused))
    started = time.perf_counter()
    names = load_names()
    keys = [names.key(name) for name in rollups]
    job = _job_without_checks(definitions, names.named(ROLLUPS_JOB), keys)
    for chunk in chunks(plan.days, days_per_run):
        with _progress_by_day(database, chunk, progress):
            outcome = execute_here(
                job,
                instance,
                database,
                {
                    "signal/origin": "backfill",
                    **({} if len(chunk) == 1 else range_tags(chunk[0], chunk[-1])),
                },
                partition_key=str(chunk[0]) if len(chunk) == 1 else None,
            )
        done = materialized_days(instance, outcome.run_id, keys)
        result.built += [day for day in chunk if day in done]
        with database.connect() as connection:
            statuses = day_statuses(connection, {}, chunk[0], chunk[-1])
        purged = {str(status.day): PURGED for status in statuses if status.state == "purged"}
        reasons = purged | _failure_reasons(outcome)
        result.refused.update(
            {
                day: reasons.get(str(day), f"see run {outcome.run_id}")
                for day in chunk
                if day not in done
            }
        )
        result.runs += 1
    result.seconds = time.perf_counter() - started
    return result


def _failure_reasons(outcome: dg.ExecuteInProcessResult) -> dict[str, str]:
    """Return why days were not built, by day, in the words of the failed step."""
    found: dict[str, str] = {}
    for event in outcome.all_events:
        failure = event.step_failure_data.user_failure_data if event.is_step_failure else None
        failed = failure.metadata.get("failed") if failure else None
        if isinstance(failed, dg.JsonMetadataValue) and isinstance(failed.data, Mapping):
            found.update(failed.data)
    return found


def _job_without_checks(
    definitions: dg.Definitions, name: str, rollups: Sequence[dg.AssetKey]
) -> dg.JobDefinition:
    """Return a job of only these rollups, without their checks, which the nightly job runs."""
    return dg.Definitions(
        assets=definitions.assets,
        resources=definitions.resources,
        executor=definitions.executor,
        jobs=[dg.define_asset_job(name, selection=dg.AssetSelection.assets(*rollups))],
    ).resolve_job_def(name)


def chunks(days: Sequence[date], most: int) -> list[list[date]]:
    """Split the days into contiguous stretches of at most `most` days."""
    stretches: list[list[date]] = []
    for day in days:
        if stretches and len(stretches[-1]) < most and (day - stretches[-1][-1]).days == 1:
            stretches[-1].append(day)
        else:
            stretches.append([day])
    return stretches


@contextmanager
def _progress_by_day(
    database: Database, days: Sequence[date], progress: Callable[[int], None]
) -> Iterator[None]:
    """Call `progress` with how many more days were built, and at the end with the rest.

    A thread beside the run reads `signal.builds`. If it fails, it logs a warning, and there is no
    progress until the end. The rest includes days that the run did not build.
    """
    since, over, reported = datetime.now(UTC), threading.Event(), 0

    def watch() -> None:
        try:
            report()
        except Exception as error:
            logger.warning(
                "the progress of the days %s to %s is not shown, but they are being built: %s",
                days[0],
                days[-1],
                error if isinstance(error, SignalError) else type(error).__name__,
            )

    def report() -> None:
        nonlocal reported
        with database.connect() as connection:
            while not over.wait(PROGRESS_SECONDS):
                row = connection.execute(
                    query(__package__, "days_built_since"), {"days": list(days), "since": since}
                ).fetchone()
                done = min(int(row[0]) if row else 0, len(days))
                progress(done - reported)
                reported = done

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
        progress(len(days) - reported)
