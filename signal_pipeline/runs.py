"""What Dagster knows about runs: their days, which are in flight, which failed, what they built; and the tags they carry.

Belongs here: questions to the Dagster instance. What follows from the answers: `staleness.py`, `sensors.py`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime

import dagster as dg

from signal_pipeline.rollups.models import Model
from signal_pipeline.staleness import FailedRun

RANGE_START_TAG = "dagster/asset_partition_range_start"
RANGE_END_TAG = "dagster/asset_partition_range_end"
ONLY_STALE_TAG = "signal/only_stale"  # The run leaves fresh days of its range alone.
CATCH_UP_TAG = "signal/catch_up"  # The run also builds what earlier nights have missed.
MODELS_TAG = "signal/models"  # The models that the run was asked for with.
FAILED_DAYS_TAG = "signal/failed_days"  # Set by a run that failed: the days it could not build.
LOCAL_TAG = "signal/local"  # The run is executed by a command in its own process: `local_runs.py`.
IN_FLIGHT = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
FAILED = [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


def range_tags(first: date, last: date) -> dict[str, str]:
    """The tags by which one run covers the days `first` to `last`, inclusive."""
    return {RANGE_START_TAG: str(first), RANGE_END_TAG: str(last)}


def days_of(run: dg.DagsterRun) -> tuple[date, date] | None:
    """The first and last day of a run; None for a run without a partition."""
    single = run.tags.get("dagster/partition")
    first, last = run.tags.get(RANGE_START_TAG, single), run.tags.get(RANGE_END_TAG, single)
    if first is None or last is None:
        return None
    return date.fromisoformat(first), date.fromisoformat(last)


def in_flight(instance: dg.DagsterInstance, job: str) -> list[dg.DagsterRun]:
    """The runs of a job that have not ended."""
    return list(instance.get_runs(dg.RunsFilter(job_name=job, statuses=IN_FLIGHT)))


def failed_runs(
    instance: dg.DagsterInstance, job: str, models: Mapping[str, Model], since: datetime
) -> list[FailedRun]:
    """The failed and cancelled runs of a job since then, without those that were asked for with other models."""
    records = instance.get_run_records(dg.RunsFilter(job_name=job, statuses=FAILED, updated_after=since))
    present = models_digest(models)
    found = []
    for record in records:
        run, days = record.dagster_run, days_of(record.dagster_run)
        if days is None or run.tags.get(MODELS_TAG, present) != present:
            continue
        named = run.tags.get(FAILED_DAYS_TAG)
        failed = frozenset(map(date.fromisoformat, named.split(","))) if named else None
        found.append(FailedRun(*days, record.update_timestamp.astimezone(UTC), failed))
    return found


def failures_in_a_row(instance: dg.DagsterInstance, job: str, most: int) -> list[datetime]:
    """When the last runs of a job failed, newest first, up to its last success; at most `most`."""
    ends: list[datetime] = []
    for record in instance.get_run_records(dg.RunsFilter(job_name=job), limit=most):
        if record.dagster_run.status not in FAILED:
            break
        ends.append(record.update_timestamp.astimezone(UTC))
    return ends


def materialized_days(instance: dg.DagsterInstance, run_id: str, rollups: Collection[str]) -> set[date]:
    """The days for which a run materialized every given rollup; read from its log, which a failed step keeps."""
    built: dict[date, set[str]] = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        event = entry.dagster_event
        if event and event.partition and event.asset_key:
            built.setdefault(date.fromisoformat(event.partition), set()).add(event.asset_key.to_user_string())
    return {day for day, names in built.items() if names >= set(rollups)}


def models_digest(models: Mapping[str, Model]) -> str:
    """A short text that changes when any model does."""
    checksums = sorted((name, model.checksum) for name, model in models.items())
    return hashlib.sha256(repr(checksums).encode()).hexdigest()[:12]
