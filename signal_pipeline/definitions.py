"""Everything that Dagster loads, listed in one place.

Only the list belongs here. Each entry is explained in the module that defines it.

Docs: https://docs.dagster.io/guides/build/projects-and-components
"""

from __future__ import annotations

from functools import cache

from signal_pipeline.system.loading import loaded_for_good

with loaded_for_good():
    import dagster as dg

    from signal_pipeline.catalogue.load import load_catalogue
    from signal_pipeline.dagster.alert_sensor import build_alerts_sensor
    from signal_pipeline.dagster.assets.expired_raw_events import build_expired_raw_events_asset
    from signal_pipeline.dagster.assets.raw_events import build_raw_events_asset
    from signal_pipeline.dagster.assets.rollups import build_rollup_assets
    from signal_pipeline.dagster.assets.usage_report import build_usage_report_asset, build_weeks
    from signal_pipeline.dagster.checks import build_checks
    from signal_pipeline.dagster.jobs import build_jobs
    from signal_pipeline.dagster.left_checks import build_left_checks_sensor
    from signal_pipeline.dagster.left_retention import build_retention_sensor
    from signal_pipeline.dagster.liveness import build_abandoned_runs_sensor
    from signal_pipeline.dagster.log_alerts import build_red_checks_sensor, build_run_failure_sensor
    from signal_pipeline.dagster.names import Names
    from signal_pipeline.dagster.partitions import build_daily_partitions
    from signal_pipeline.dagster.pruning_job import build_pruning_job
    from signal_pipeline.dagster.resources.ingest_resource import IngestResource
    from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
    from signal_pipeline.dagster.schedules import build_schedules
    from signal_pipeline.dagster.sensors import build_landing_sensor, build_stale_rollups_sensor
    from signal_pipeline.rollups.models import load_models
    from signal_pipeline.settings import Settings, load_settings

# Always the same objects. If several definitions have a resource of the same key, Dagster merges
# these definitions only if the resource is the very same object in all of them.
RESOURCES = {"postgres": PostgresResource(), "ingest": IngestResource()}


@dg.definitions
@cache  # One process of Dagster calls this more than once.
def defs() -> dg.Definitions:
    """Return the definitions for the settings in the environment."""
    with loaded_for_good():
        return build_defs(load_settings())


def build_defs(settings: Settings) -> dg.Definitions:
    """Return fresh definitions from the models on disk.

    If no start date is set, asks the database for it, unless the database is down. Raises
    ModelError if a model and `schema.yml` disagree, CatalogueError for a wrong catalogue, and
    SettingsError if alerts are wanted and Apprise, which sends them, is not installed.
    """
    models, catalogue = load_models(), load_catalogue(settings.catalogue)
    names = Names(tuple(models), settings.asset_key_prefix)
    partitions = build_daily_partitions(settings)
    weeks = build_weeks(partitions)
    checks = build_checks(models, catalogue, names)
    jobs = build_jobs(names, checks.keys, checks.hourly)
    return dg.Definitions(
        assets=[
            build_raw_events_asset(names, partitions),
            build_rollup_assets(models, names, partitions),
            build_expired_raw_events_asset(models, names),
            build_usage_report_asset(models, names, weeks),
        ],
        asset_checks=checks.definitions,
        jobs=[*jobs, build_pruning_job(names)],
        schedules=build_schedules(models, names, weeks),
        sensors=[
            build_landing_sensor(names),
            build_stale_rollups_sensor(models, names, partitions),
            build_left_checks_sensor(checks.keys, names),
            build_retention_sensor(names),
            build_run_failure_sensor(names),
            build_red_checks_sensor(names, jobs),
            build_alerts_sensor(checks.keys, names, settings),
            build_abandoned_runs_sensor(names),
        ],
        resources=RESOURCES,
        executor=dg.in_process_executor,
    )
