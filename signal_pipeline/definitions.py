"""Everything that Dagster loads, listed in one place.

Belongs here: the list. What an entry is, stands in the module it comes from.
Docs: https://docs.dagster.io/guides/build/projects-and-components
"""

from __future__ import annotations

import dagster as dg

from signal_pipeline.alerts import red_checks_sensor, run_failure_sensor
from signal_pipeline.assets.expired_raw_events import expired_raw_events_asset
from signal_pipeline.assets.raw_events import raw_events
from signal_pipeline.assets.rollups import rollup_assets
from signal_pipeline.checks import checks_that_read_raw, default_checks
from signal_pipeline.jobs import default_jobs
from signal_pipeline.liveness import abandoned_runs_sensor_of
from signal_pipeline.names import load_names
from signal_pipeline.pruning import pruning_job_of
from signal_pipeline.resources.ingest import IngestResource
from signal_pipeline.resources.postgres import PostgresResource
from signal_pipeline.rollups.models import load_models
from signal_pipeline.schedules import default_schedules
from signal_pipeline.sensors import landing_sensor_of, stale_rollups_sensor_of


def build_defs() -> dg.Definitions:
    """Fresh definitions from the models on disk; raises ModelError when a model and `schema.yml` disagree."""
    models = load_models()
    names = load_names(models)
    return dg.Definitions(
        assets=[raw_events, rollup_assets(models), expired_raw_events_asset(models)],
        asset_checks=default_checks(models),
        jobs=[*default_jobs(models, checks_that_read_raw(models)), pruning_job_of(names)],
        schedules=default_schedules(models, names),
        sensors=[
            landing_sensor_of(names),
            stale_rollups_sensor_of(models, names),
            run_failure_sensor,
            red_checks_sensor,
            abandoned_runs_sensor_of(names),
        ],
        resources={"postgres": PostgresResource(), "ingest": IngestResource()},
        executor=dg.in_process_executor,
    )


defs = build_defs()
