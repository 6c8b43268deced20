"""A Dagster code location beside Signal's: the dbt project in this folder, as assets.

The sources of `models/signal_sources.yml` name Signal's asset keys, so that Dagster draws one
lineage from `raw_events` to `weekly_app_activity`. See docs/dbt.md.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_dbt import (
    DagsterDbtTranslator,
    DagsterDbtTranslatorSettings,
    DbtCliResource,
    DbtProject,
    dbt_assets,
)

project = DbtProject(Path(__file__).parent)
# Runs `dbt parse` in `dagster dev`. A deployment runs it once; it needs no database.
project.prepare_if_dev()

# Two views of one rollup are two sources of dbt and one asset of Signal. Without this setting,
# dagster-dbt refuses a project that uses both.
translator = DagsterDbtTranslator(
    DagsterDbtTranslatorSettings(enable_duplicate_source_asset_keys=True)
)


# Models only: otherwise all tests of the sources run too, which Signal's own checks do already.
@dbt_assets(
    manifest=project.manifest_path,
    select="resource_type:model",
    dagster_dbt_translator=translator,
)
def weekly_models(context: dg.AssetExecutionContext, dbt: DbtCliResource) -> Iterator[Any]:
    """Build and test the models, unless a rollup that they read is more than three hours late."""
    dbt.cli(["source", "freshness", "--select", "source:signal.daily_app_activity"]).wait()
    yield from dbt.cli(["build"], context=context).stream()


# Signal's nightly run begins at 00:30 UTC, and builds yesterday before it runs its checks.
every_night = dg.ScheduleDefinition(
    "weekly_models_schedule",
    cron_schedule="30 1 * * *",
    execution_timezone="UTC",
    target=dg.AssetSelection.assets(weekly_models),
    default_status=dg.DefaultScheduleStatus.RUNNING,
)

defs = dg.Definitions(
    assets=[weekly_models],
    schedules=[every_night],
    resources={"dbt": DbtCliResource(project)},
)
