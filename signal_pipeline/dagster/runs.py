"""What Dagster knows about our runs: days, tags, builds, and which are in flight or have failed.

This module asks the Dagster instance. Others can use the same instance, so a job's name does not
tell whose run it is. `due_builds.py` and `sensors.py` decide what follows from the answers, and
`liveness.py` finds out which runs live.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import takewhile
from typing import Any

import dagster as dg

from signal_pipeline.dagster.due_builds import FailedRun
from signal_pipeline.dagster.names import Names
from signal_pipeline.dagster.run_locks import living_runs, lock_space
from signal_pipeline.days.calendar import days_between
from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups.models import Models

# The interval of a sensor that ticks at every look. Dagster's daemon looks at the sensors every
# five seconds, in a random order. With an interval of five seconds, a sensor that came late in one
# look and comes early in the next would not be due yet, and would miss that look.
EVERY_LOOK_SECONDS = 1

RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
ONLY_STALE_TAG = "signal/only_stale"  # The run leaves the fresh days of its range alone.
CATCH_UP_TAG = "signal/catch_up"  # The run also builds what earlier nightly runs missed.
MODELS_TAG = "signal/models"  # A digest of the models at the time of the request.
FAILED_DAYS_TAG = "signal/failed_days"  # A failed run sets it to the days that it could not build.
# For days of which only some rollups failed, this tag names those rollups. Days that failed for the
# same rollups share a group: `2026-03-08,2026-03-09:daily_a,daily_b;2026-03-10:daily_c`.
FAILED_ROLLUPS_TAG = "signal/failed_rollups"
# Dagster's table of tags has an index on key and value. An entry has at most 2704 bytes.
MAX_TAG_LENGTH = 2500
# The run, or the one that it retries, has taken its lock. The value names the database of the lock.
LOCK_TAG = "signal/lock"
# Dagster's own tag: the code location of a run that the daemon or the UI launched.
REPOSITORY_TAG = ".dagster/repository"
IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
FAILED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def range_tags(first: date, last: date) -> dict[str, str]:
    """Return the tags that make one run cover the days `first` to `last`, inclusive."""
    return {RANGE_START_TAG: str(first), RANGE_END_TAG: str(last)}


def days_of(run: dg.DagsterRun) -> tuple[date, date] | None:
    """Return the first and last day of a run, or None for a run without a partition."""
    single = run.tags.get("dagster/partition")
    first, last = run.tags.get(RANGE_START_TAG, single), run.tags.get(RANGE_END_TAG, single)
    if first is None or last is None:
        return None
    return date.fromisoformat(first), date.fromisoformat(last)


def named_days(run: dg.DagsterRun) -> frozenset[date] | None:
    """Return the days that a failed run could not build, or None if it could not name them."""
    named = run.tags.get(FAILED_DAYS_TAG)
    return frozenset(map(date.fromisoformat, named.split(","))) if named else None


def named_rollups(run: dg.DagsterRun) -> dict[date, frozenset[str]]:
    """Return the days of which only some rollups failed in a run, each with these rollups.

    A day is left out if it failed as a whole, or if the run could not name its rollups.
    """
    named = {}
    for group in run.tags.get(FAILED_ROLLUPS_TAG, "").split(";"):
        days, _, rollups = group.partition(":")
        if rollups:
            for day in days.split(","):
                named[date.fromisoformat(day)] = frozenset(rollups.split(","))
    return named


def failure_tags(days: Iterable[date], rollups: Mapping[date, Iterable[str]]) -> dict[str, str]:
    """Return the tags by which a failed run names its days, and their rollups where it knows them.

    A tag that would be too long for Dagster's storage is left out: the run then counts as failed
    for all its days, or for all rollups of the days.
    """
    failed = sorted(days)
    groups = days_by_rollups({day: rollups[day] for day in failed if day in rollups})
    tags = {
        FAILED_DAYS_TAG: ",".join(map(str, failed)),
        FAILED_ROLLUPS_TAG: ";".join(
            f"{','.join(map(str, group))}:{','.join(names)}" for names, group in groups.items()
        ),
    }
    return {name: value for name, value in tags.items() if 0 < len(value) <= MAX_TAG_LENGTH}


def days_by_rollups(rollups: Mapping[date, Iterable[str]]) -> dict[tuple[str, ...], list[date]]:
    """Return the days in the order given, those with the same rollups together."""
    groups: dict[tuple[str, ...], list[date]] = {}
    for day, names in rollups.items():
        groups.setdefault(tuple(sorted(names)), []).append(day)
    return groups


def what_failed(run: dg.DagsterRun) -> dict[date, frozenset[str]]:
    """Return the days at fault, oldest first, each with its failed rollups if only some failed.

    These are the days that a failed run names, or else all its days; none for a run without a
    partition. A day that failed as a whole has no rollups here.
    """
    span, rollups = days_of(run), named_rollups(run)
    days = named_days(run) or (days_between(*span) if span else ())
    return {day: rollups.get(day, frozenset()) for day in sorted(days)}


@dataclass(frozen=True, slots=True)
class OwnRuns:
    """The rule that tells our runs from those of others.

    A run is ours if our code location launched it, or if its lock is in our database. `locks` is
    the name that `lock_space` gives. `location` is `repository@location`, or None where it is not
    known, as in a command.
    """

    names: Names
    locks: str
    location: str | None = None

    @classmethod
    def seen_by(cls, connection: Connection, names: Names, location: str | None = None) -> OwnRuns:
        """Return the rule for this connection's database, and for our code location if known."""
        return cls(names, lock_space(connection), location)

    def includes(self, run: dg.DagsterRun) -> bool:
        """Return whether a run executes one of our jobs, or builds or checks only our assets.

        If others share our code location, their runs pass the rule of the class too. So some
        callers apply that rule and then ask this method as well.
        """
        checked = {check.asset_key for check in run.asset_check_selection or ()}
        selected = checked | (run.asset_selection or frozenset())
        return run.job_name in self.names.jobs or (bool(selected) and selected <= self.names.assets)

    def records(
        self,
        instance: dg.DagsterInstance,
        limit: int | None = None,
        before: str | None = None,
        **filters: Any,
    ) -> list[dg.RunRecord]:
        """Return our runs that pass the filters of RunsFilter, newest first, at most `limit`.

        With `before`, the id of a run, return only those that were created before that run.
        """
        tags = [{LOCK_TAG: self.locks}]
        if self.location is not None:
            tags.append({REPOSITORY_TAG: self.location})
        found = {
            record.storage_id: record
            for each in tags
            for record in instance.get_run_records(
                dg.RunsFilter(tags=each, **filters), limit=limit, cursor=before
            )
        }
        return [found[number] for number in sorted(found, reverse=True)][:limit]


def location_of(run: dg.DagsterRun) -> str | None:
    """Return the `repository@location` that launched a run.

    It is None for a run that was not launched, but is executed directly by a process such as a
    command.
    """
    origin = run.remote_job_origin
    return origin.repository_origin.get_label() if origin else None


def own_location(context: dg.SensorEvaluationContext) -> str | None:
    """Return the `repository@location` that a sensor is loaded from, or None outside a daemon."""
    origin = context.code_location_origin
    return f"{context.repository_name}@{origin.location_name}" if origin else None


def running_and_failed(
    instance: dg.DagsterInstance, connection: Connection, ours: OwnRuns, job: str, since: datetime
) -> tuple[list[dg.RunRecord], list[dg.RunRecord]]:
    """Return our runs of a job that have not ended, and those that have failed since `since`.

    Cancelled runs count as failed. A run that somebody marked as failed while its process goes on
    still holds its lock, and counts as running.
    """
    running = ours.records(instance, job_name=job, statuses=IN_FLIGHT)
    ended = ours.records(instance, job_name=job, statuses=FAILED, updated_after=since)
    alive = living_runs(connection, [record.dagster_run.run_id for record in ended])
    running += [record for record in ended if record.dagster_run.run_id in alive]
    failed = [record for record in ended if record.dagster_run.run_id not in alive]
    return running, failed


def ended_at(record: dg.RunRecord) -> datetime:
    """Return when a run ended, in UTC. A tag that the run gets later does not move this time."""
    if record.end_time is None:  # The run was stored as one that has ended.
        return record.update_timestamp.astimezone(UTC)
    return datetime.fromtimestamp(record.end_time, UTC)


def failed_days(failed: Iterable[dg.RunRecord], models: Models) -> list[FailedRun]:
    """Return the days of failed runs, except of runs that were asked for with other models."""
    found = []
    for record in failed:
        run, days = record.dagster_run, days_of(record.dagster_run)
        if days is None or run.tags.get(MODELS_TAG, models.digest) != models.digest:
            continue
        found.append(FailedRun(*days, ended_at(record), named_days(run), named_rollups(run)))
    return found


def failures_in_a_row(
    instance: dg.DagsterInstance, ours: OwnRuns, job: str, most: int
) -> list[datetime]:
    """Return when our last runs of a job failed, newest first, back to one that did not fail.

    At most `most` times are returned.
    """
    newest = ours.records(instance, limit=most, job_name=job)
    failed = takewhile(lambda each: each.dagster_run.status in FAILED, newest)
    return [ended_at(each) for each in failed]


def materialized_days(
    instance: dg.DagsterInstance, run_id: str, rollups: Iterable[dg.AssetKey]
) -> set[date]:
    """Return the days for which a run built every given rollup.

    They are read from the run's log, which is kept even if the step failed. A purged day is marked
    there too, but was not built, so it is left out.
    """
    wanted = set(rollups)
    return {day for day, keys in _built_rollups(instance, run_id).items() if keys >= wanted}


def can_have_done(run: dg.DagsterRun, wanted: Mapping[date, Collection[dg.AssetKey]]) -> bool:
    """Return whether a run covers any of the wanted days, with all of the day's wanted rollups.

    If no day is wanted, return whether the run has no partition.
    """
    return bool(_covered(run, wanted)) or (not wanted and days_of(run) is None)


def has_done(
    instance: dg.DagsterInstance,
    run: dg.DagsterRun,
    wanted: Mapping[date, Collection[dg.AssetKey]],
) -> bool:
    """Return whether a successful run has done what is wanted.

    Ask only about a run that can have done it (`can_have_done`). A run counts for every day of its
    range, even for a purged day, which it left alone. At worst, people get one alert too many,
    since the next failure after a success is news again. A run with `ONLY_STALE_TAG` leaves fresh
    days alone, so it counts only for the days that it built, as its log says.
    """
    if ONLY_STALE_TAG not in run.tags:
        return can_have_done(run, wanted)
    built = _built_rollups(instance, run.run_id)
    return any(day in built and built[day] >= set(wanted[day]) for day in _covered(run, wanted))


def _covered(run: dg.DagsterRun, wanted: Mapping[date, Collection[dg.AssetKey]]) -> list[date]:
    span = days_of(run)
    return [
        day
        for day, rollups in wanted.items()
        if span is not None
        and span[0] <= day <= span[1]
        and (not run.asset_selection or run.asset_selection >= set(rollups))
    ]


def _built_rollups(instance: dg.DagsterInstance, run_id: str) -> dict[date, set[dg.AssetKey]]:
    built: dict[date, set[dg.AssetKey]] = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        event = entry.dagster_event
        if event and event.partition and event.asset_key and _was_built(event):
            built.setdefault(date.fromisoformat(event.partition), set()).add(event.asset_key)
    return built


def _was_built(event: dg.DagsterEvent) -> bool:
    state = event.step_materialization_data.materialization.metadata.get("state")
    return state is None or state.value == "open"
