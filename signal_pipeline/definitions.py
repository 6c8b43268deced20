"""Everything that Dagster loads, listed in one place.

Only the list belongs here. Each entry is explained in the module that defines it.

Docs: https://docs.dagster.io/guides/build/projects-and-components
"""

from __future__ import annotations

import dagster as dg

from signal_pipeline.dagster.alert_sensor import build_alerts_sensor
from signal_pipeline.dagster.assets.expired_raw_events import build_expired_raw_events_asset
from signal_pipeline.dagster.assets.raw_events import build_raw_events_asset
from signal_pipeline.dagster.assets.rollups import build_rollup_assets
from signal_pipeline.dagster.checks import checks_that_read_raw, build_checks
from signal_pipeline.dagster.jobs import build_jobs
from signal_pipeline.dagster.left_checks import build_left_checks_sensor
from signal_pipeline.dagster.liveness import build_abandoned_runs_sensor
from signal_pipeline.dagster.log_alerts import build_red_checks_sensor, build_run_failure_sensor
from signal_pipeline.dagster.names import load_names
from signal_pipeline.dagster.pruning import build_pruning_job
from signal_pipeline.dagster.resources.ingest_resource import IngestResource
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.dagster.schedules import build_schedules
from signal_pipeline.dagster.sensors import build_landing_sensor, build_stale_rollups_sensor
from signal_pipeline.rollups.models import load_models

# Always the same objects: Dagster merges definitions only if equal keys are one object.
RESOURCES = {"postgres": PostgresResource(), "ingest": IngestResource()}


def build_defs() -> dg.Definitions:
    """Return fresh definitions from the models on disk.

    Raises ModelError if a model and `schema.yml` disagree.
    """
    models = load_models()
    names = load_names(models)
    checks = build_checks(models, names)
    check_keys = {key for check in checks for key in check.check_keys}
    hourly_checks = check_keys - {*checks_that_read_raw(models, names)}
    return dg.Definitions(
        assets=[
            build_raw_events_asset(names),
            build_rollup_assets(models, names),
            build_expired_raw_events_asset(models, names),
        ],
        asset_checks=checks,
        jobs=[*build_jobs(names, check_keys, hourly_checks), build_pruning_job(names)],
        schedules=build_schedules(models, names),
        sensors=[
            build_landing_sensor(names),
            build_stale_rollups_sensor(models, names),
            build_left_checks_sensor(check_keys, names),
            build_run_failure_sensor(names),
            build_red_checks_sensor(names),
            build_alerts_sensor(checks, names),
            build_abandoned_runs_sensor(names),
        ],
        resources=RESOURCES,
        executor=dg.in_process_executor,
    )


defs = build_defs()
