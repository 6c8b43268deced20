"""Backfills from the command line: plan which days can be rebuilt, then rebuild them through Dagster, run by run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import dagster as dg

from signal_pipeline.errors import SignalError
from signal_pipeline.rollups.models import Model, load_models
from signal_pipeline.runs import materialized_days, range_tags
from signal_pipeline.store.database import Connection, sql
from signal_pipeline.store.days import days_between, stored_start_date, today_utc
from signal_pipeline.store.freshness import DayStatus, day_statuses

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class BackfillError(SignalError):
    """A backfill that cannot be started."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a backfill would do. `present`: each buildable day's status, absent for a day without any event."""

    days: list[date]
    refused: dict[date, str]
    present: Mapping[date, DayStatus]


@dataclass(slots=True)
class Backfilled:
    """What a backfill did."""

    built: list[date] = field(default_factory=list)
    refused: dict[date, str] = field(default_factory=dict)
    runs: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, object]:
        """The object that `backfill --json` prints."""
        return {
            "built": [str(day) for day in self.built],
            "refused": [{"day": str(day), "reason": why} for day, why in self.refused.items()],
            "runs": self.runs,
            "seconds": round(self.seconds, 3),
        }


def chosen_models(models: Mapping[str, Model], names: Sequence[str]) -> Mapping[str, Model]:
    """The named rollups, all of them for no names; raises BackfillError for an unknown name."""
    unknown = [name for name in names if name not in models]
    if unknown:
        raise BackfillError(f"no rollup {unknown[0]!r}: choose from {', '.join(models)}")
    return {name: models[name] for name in names} if names else models


def plan_backfill(connection: Connection, models: Mapping[str, Model], first: date, last: date) -> Plan:
    """Which days from `first` to `last` can be built, and why the others cannot."""
    if first > last:
        raise BackfillError(f"--from {first} is after --to {last}")
    start_date, today = stored_start_date(connection), today_utc()
    checksums = {name: model.checksum for name, model in models.items()}
    present = {status.day: status for status in day_statuses(connection, checksums, first, last)}
    rows = connection.execute(sql("days_missing_raw_events"), {"first": first, "last": last})
    missing = {day: count for day, count in rows}  # noqa: C416 - a row is not typed as a pair
    days, refused = [], dict[date, str]()
    for day in days_between(first, last):
        if day < start_date:
            refused[day] = f"before the start date {start_date}"
        elif day > today:
            refused[day] = "after today"
        elif day in present and present[day].state == "purged":
            refused[day] = "purged, unchanged"
        elif day in missing:
            refused[day] = f"raw events are missing: {missing[day]} by the books are not there"
        else:
            days.append(day)
    return Plan(days, refused, present)


def run_backfill(
    instance: dg.DagsterInstance,
    definitions: dg.Definitions,
    plan: Plan,
    rollups: Sequence[str],
    days_per_run: int,
    progress: Callable[[int], None],
) -> Backfilled:
    """Run the planned days in contiguous chunks, one run each; `progress` is told the days of each finished run.

    A failed run is counted by what it built; the next chunk goes on.
    """
    result = Backfilled(refused=dict(plan.refused))
    started = time.perf_counter()
    job = definitions.resolve_job_def("rollups_job")
    everything = len(rollups) == len(load_models())
    for chunk in chunks(plan.days, days_per_run):
        outcome = job.execute_in_process(
            instance=instance,
            # The whole job as it stands has no checks: they belong to the night.
            asset_selection=None if everything else [dg.AssetKey(name) for name in rollups],
            partition_key=str(chunk[0]) if len(chunk) == 1 else None,
            run_config=QUIET,
            tags={
                "signal/origin": "backfill",
                **({} if len(chunk) == 1 else range_tags(chunk[0], chunk[-1])),
            },
            raise_on_error=False,
        )
        done = materialized_days(instance, outcome.run_id, rollups)
        result.built += [day for day in chunk if day in done]
        result.refused.update({day: f"see run {outcome.run_id}" for day in chunk if day not in done})
        result.runs += 1
        progress(len(chunk))
    result.seconds = time.perf_counter() - started
    return result


def chunks(days: Sequence[date], most: int) -> list[list[date]]:
    """Contiguous stretches of days, each of at most `most` days."""
    stretches: list[list[date]] = []
    for day in days:
        if stretches and len(stretches[-1]) < most and (day - stretches[-1][-1]).days == 1:
            stretches[-1].append(day)
        else:
            stretches.append([day])
    return stretches
