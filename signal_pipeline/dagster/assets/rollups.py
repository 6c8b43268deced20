"""The rollup assets, one per model of `dbt_like_sql/`.

They are computed together, so that a day is read once for all of them. This module defines the
assets and decides which days a run builds. `rollup_run.py` builds the days of a run,
`rollup_metadata.py` says what the UI shows of them, and `rollups/build.py` builds one day.

Docs: docs/data-team.md.
"""

from collections.abc import Iterator
from datetime import date

import dagster as dg

from signal_pipeline.dagster.assets.rollup_marks import RollupMarks
from signal_pipeline.dagster.assets.rollup_metadata import DayNotes, definition_metadata
from signal_pipeline.dagster.assets.rollup_run import (
    build_days,
    log_outcome,
    mark_purged_days,
    raise_for_failed_days,
)
from signal_pipeline.dagster.due_builds import nightly_days
from signal_pipeline.dagster.names import RAW_EVENTS, ROLLUPS_POOL, Names
from signal_pipeline.dagster.partitions import build_backfill_policy
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.dagster.runs import (
    CATCH_UP_TAG,
    MODELS_TAG,
    ONLY_STALE_TAG,
    materialized_days,
)
from signal_pipeline.days.calendar import first_kept_day, installed_day, today_utc
from signal_pipeline.days.freshness import day_statuses
from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups.build import DayBuild, recorded_builds
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import load_settings


def build_rollup_specs(
    models: Models, names: Names, partitions: dg.DailyPartitionsDefinition
) -> list[dg.AssetSpec]:
    """Return one asset spec per model.

    Its description, columns, owner, tags and SQL file come from the model.
    """
    return [
        dg.AssetSpec(
            names.key(name),
            deps=[names.key(RAW_EVENTS)],
            group_name="rollups",
            description=model.description,
            partitions_def=partitions,
            owners=[model.owner],
            kinds={"sql", "postgres"},
            tags=dict.fromkeys(model.tags, ""),
            metadata=definition_metadata(model),
            skippable=True,
        )
        for name, model in models.items()
    ]


def build_rollup_assets(
    models: Models, names: Names, partitions: dg.DailyPartitionsDefinition
) -> dg.AssetsDefinition:
    """Return the multi-asset of all rollups; any subset can be run."""

    @dg.multi_asset(
        name=names.named("rollups"),
        specs=build_rollup_specs(models, names, partitions),
        can_subset=True,
        backfill_policy=build_backfill_policy(),
        pool=names.pool(ROLLUPS_POOL),
        retry_policy=dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL),
    )
    def rollups(
        context: dg.AssetExecutionContext, postgres: PostgresResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        _refuse_other_models(context.run, models)
        selected = models.only(
            [name for name in models if names.key(name) in context.selected_asset_keys]
        )
        with postgres.connect() as connection:
            to_build = _days_to_build(context, connection, selected, names)
            hidden = _hidden_builds(context, connection, selected, names, to_build)
            marks = RollupMarks(context, names, DayNotes(connection, models, context.log))
            for build in hidden:
                marks.log_earlier(build)
            outcome = build_days(context, postgres, selected, to_build, marks)
            mark_purged_days(connection, selected, outcome, marks)
            log_outcome(context, connection, outcome)
            # Before a failure, so that the rollups that were built are marked as built.
            yield from marks.finish([*outcome.built, *outcome.recorded])
            raise_for_failed_days(context, outcome, marks.only_day)

    return rollups


def _refuse_other_models(run: dg.DagsterRun, models: Models) -> None:
    """Raise Failure if the models have changed since the run was asked for.

    `models` are those that this process read from the disk, and a build would record their
    checksums. A code location that still has the earlier models would take the build for stale,
    and would ask for it again and again.
    """
    if run.tags.get(MODELS_TAG, models.digest) != models.digest:
        raise dg.Failure(
            "the models have changed since this run was asked for. If the code location still has"
            " the earlier ones, reload it in the UI, or restart `signal-pipeline dev`. Do not"
            " repeat this run: `stale_rollups_sensor` asks for a new one",
            allow_retries=False,
        )


def _days_to_build(
    context: dg.AssetExecutionContext, connection: Connection, models: Models, names: Names
) -> list[date]:
    """Return the days to build, oldest first.

    These are the days of the run's partitions. A nightly run adds the days that earlier ones
    missed; a run with `ONLY_STALE_TAG` leaves out the fresh days.
    """
    tags, days = context.run.tags, list(map(date.fromisoformat, context.partition_keys))
    if CATCH_UP_TAG in tags and len(days) == 1:
        first_kept = first_kept_day(today_utc(), load_settings().retention_days)
        statuses = day_statuses(connection, models.checksums, last=days[0])
        return nightly_days(statuses, first_kept, installed_day(connection), days[0])
    if ONLY_STALE_TAG in tags:
        statuses = day_statuses(connection, models.checksums, days[0], days[-1])
        return [status.day for status in statuses if status.wants_build]
    # A retry after the database was away: the days that this run has already built are done.
    if context.retry_number:
        done = materialized_days(context.instance, context.run.run_id, map(names.key, models))
        return [day for day in days if day not in done]
    return days


def _hidden_builds(
    context: dg.AssetExecutionContext,
    connection: Connection,
    models: Models,
    names: Names,
    to_build: list[date],
) -> list[DayBuild]:
    """Return builds that Dagster does not show, of days that this run does not build.

    A killed run can commit a build and never mark it. The day is fresh, so it would be left alone,
    and the UI would show a hole for ever. The same happens to purged days if Dagster's storage was
    lost or its materializations were wiped. The builds can be outside the run's partitions.
    """
    shown = {name: context.instance.get_materialized_partitions(names.key(name)) for name in models}
    hidden = [
        status.day
        for status in day_statuses(connection, models.checksums)
        if status.day not in to_build
        and not status.wants_build
        and any(
            freshness != "unavailable" and str(status.day) not in shown[name]
            for name, freshness in status.rollups.items()
        )
    ]
    return recorded_builds(connection, models, hidden) if hidden else []
