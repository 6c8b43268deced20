"""The names of our definitions in Dagster, behind a prefix where others share the instance.

Only names belong here. `definitions.py` lists the modules that define the jobs, sensors, schedules
and assets themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

import dagster as dg

from signal_pipeline.rollups.models import load_models
from signal_pipeline.settings import load_settings

RAW_EVENTS = "raw_events"
EXPIRED_RAW_EVENTS = "expired_raw_events"
USAGE_REPORT = "usage_report"

RAW_EVENTS_JOB = "raw_events_job"
ROLLUPS_JOB = "rollups_job"
NIGHTLY_JOB = "nightly_job"
RETENTION_JOB = "retention_job"
CHECKS_JOB = "checks_job"
LEFT_CHECKS_JOB = "left_checks_job"
PRUNING_JOB = "pruning_job"
USAGE_REPORT_JOB = "usage_report_job"
JOBS = (
    RAW_EVENTS_JOB,
    ROLLUPS_JOB,
    NIGHTLY_JOB,
    RETENTION_JOB,
    CHECKS_JOB,
    LEFT_CHECKS_JOB,
    PRUNING_JOB,
    USAGE_REPORT_JOB,
)

LANDING_SENSOR = "landing_sensor"
STALE_ROLLUPS_SENSOR = "stale_rollups_sensor"
LEFT_CHECKS_SENSOR = "left_checks_sensor"
RETENTION_SENSOR = "retention_sensor"
RUN_FAILURE_SENSOR = "run_failure_sensor"
RED_CHECKS_SENSOR = "red_checks_sensor"
ALERTS_SENSOR = "alerts_sensor"
ABANDONED_RUNS_SENSOR = "abandoned_runs_sensor"
NIGHTLY_SCHEDULE = "nightly_schedule"
CHECKS_SCHEDULE = "checks_schedule"
PRUNING_SCHEDULE = "pruning_schedule"
USAGE_REPORT_SCHEDULE = "usage_report_schedule"
INSTIGATORS = (
    LANDING_SENSOR,
    STALE_ROLLUPS_SENSOR,
    LEFT_CHECKS_SENSOR,
    RETENTION_SENSOR,
    RUN_FAILURE_SENSOR,
    RED_CHECKS_SENSOR,
    ALERTS_SENSOR,
    ABANDONED_RUNS_SENSOR,
    NIGHTLY_SCHEDULE,
    CHECKS_SCHEDULE,
    PRUNING_SCHEDULE,
    USAGE_REPORT_SCHEDULE,
)

INGEST_POOL = "ingest"
ROLLUPS_POOL = "rollups"
RETENTION_POOL = "retention"


@dataclass(frozen=True, slots=True)
class Names:
    """The names of our definitions, each behind the prefix.

    `rollups` are the names of the models.
    """

    rollups: tuple[str, ...]
    prefix: tuple[str, ...] = ()

    def key(self, asset: str) -> dg.AssetKey:
        """Return the key of one of our assets."""
        return dg.AssetKey([*self.prefix, asset])

    def pool(self, name: str) -> str:
        """Return the name of one of our pools.

        It has the prefix because a pool belongs to the whole instance.
        """
        return "__".join([*self.prefix, name])

    def named(self, name: str) -> str:
        """Return the name of one of our jobs, sensors, schedules or ops.

        Dagster allows no hyphen there, so the prefix's hyphens become underscores.
        """
        return "__".join([*self.prefix, name]).replace("-", "_")

    @property
    def assets(self) -> frozenset[dg.AssetKey]:
        """Return the keys of all our assets."""
        return frozenset(
            map(self.key, (RAW_EVENTS, *self.rollups, EXPIRED_RAW_EVENTS, USAGE_REPORT))
        )

    @property
    def instigators(self) -> frozenset[str]:
        """Return the names of all our sensors and schedules."""
        return frozenset(map(self.named, INSTIGATORS))

    @property
    def jobs(self) -> frozenset[str]:
        """Return the names of all our jobs."""
        return frozenset(map(self.named, JOBS))

    @property
    def pools(self) -> frozenset[str]:
        """Return the names of all our pools."""
        return frozenset(map(self.pool, (INGEST_POOL, ROLLUPS_POOL, RETENTION_POOL)))


def load_names() -> Names:
    """Return the names for the models on disk, under `SIGNAL_ASSET_KEY_PREFIX`."""
    return Names(tuple(load_models()), load_settings().asset_key_prefix)
