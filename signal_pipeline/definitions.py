"""Everything that Dagster loads, listed in one place.

Only the list belongs here. Each entry is explained in the module that defines it.

Docs: https://docs.dagster.io/guides/build/projects-and-components
"""

from __future__ import annotations

import dagster as dg

from signal_pipeline.dagster.alert_sensor import alerts_sensor_of
from signal_pipeline.dagster.assets.expired_raw_events import expired_raw_events_asset
from signal_pipeline.dagster.assets.raw_events import raw_events_asset
from signal_pipeline.dagster.assets.rollups import rollup_assets
from signal_pipeline.dagster.assets.usage_report import usage_report_asset, weekly_partitions
from signal_pipeline.dagster.checks import checks_that_read_raw, default_checks
from signal_pipeline.dagster.jobs import default_jobs
from signal_pipeline.dagster.left_checks import left_checks_sensor_of
from signal_pipeline.dagster.liveness import abandoned_runs_sensor_of
from signal_pipeline.dagster.log_alerts import red_checks_sensor_of, run_failure_sensor_of
from signal_pipeline.dagster.names import load_names
from signal_pipeline.dagster.partitions import daily_partitions
from signal_pipeline.dagster.pruning import pruning_job_of
from signal_pipeline.dagster.resources.ingest_resource import IngestResource
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.dagster.schedules import default_schedules
from signal_pipeline.dagster.sensors import landing_sensor_of, stale_rollups_sensor_of
from signal_pipeline.rollups.models import load_models

# Always the same objects: Dagster merges definitions only if equal keys are one object.
RESOURCES = {"postgres": PostgresResource(), "ingest": IngestResource()}


def build_defs() -> dg.Definitions:
    """Return fresh definitions from the models on disk.

    Raises ModelError if a model and `schema.yml` disagree.
    """
    models = load_models()
    names = load_names(models)
    weeks = weekly_partitions(daily_partitions)
    checks = default_checks(models, names)
    check_keys = {key for check in checks for key in check.check_keys}
    hourly_checks = check_keys - {*checks_that_read_raw(models, names)}
    return dg.Definitions(
        assets=[
            raw_events_asset(names),
            rollup_assets(models, names),
            expired_raw_events_asset(models, names),
            usage_report_asset(models, names, weeks),
        ],
        asset_checks=checks,
        jobs=[*default_jobs(names, check_keys, hourly_checks), pruning_job_of(names)],
        schedules=default_schedules(models, names, weeks),
        sensors=[
            landing_sensor_of(names),
            stale_rollups_sensor_of(models, names),
            left_checks_sensor_of(check_keys, names),
            run_failure_sensor_of(names),
            red_checks_sensor_of(names),
            alerts_sensor_of(checks, names),
            abandoned_runs_sensor_of(names),
        ],
        resources=RESOURCES,
        executor=dg.in_process_executor,
    )


defs = build_defs()
