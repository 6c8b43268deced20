"""The rollup assets: one per model of `dbt_like_sql/`, computed together so that a day is read once for all of them.

Belongs here: what a run of a day or a range does, and what the UI shows of it. How a day is built: `rollups/build.py`.
Docs: docs/data-team.md.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial

import dagster as dg

from signal_pipeline.assets.raw_events import RAW_EVENTS
from signal_pipeline.assets.rollup_metadata import build_metadata, definition_metadata
from signal_pipeline.partitions import backfill_policy, daily_partitions
from signal_pipeline.resources.postgres import PostgresResource
from signal_pipeline.rollups.build import BuildRefusedError, DayBuild, DayPurgedError, build_day
from signal_pipeline.rollups.models import Model
from signal_pipeline.store.freshness import day_statuses

ONLY_STALE_TAG = "signal/only_stale"


@dataclass(slots=True)
class _Range:
    """What became of the days of a run."""

    built: list[DayBuild] = field(default_factory=list)
    purged: list[date] = field(default_factory=list)
    refused: list[BuildRefusedError] = field(default_factory=list)


def rollup_specs(models: Mapping[str, Model]) -> list[dg.AssetSpec]:
    """One asset spec per model: description, columns, owner, tags and SQL file come from the model."""
    return [
        dg.AssetSpec(
            name,
            deps=[RAW_EVENTS],
            group_name="rollups",
            description=model.description,
            partitions_def=daily_partitions,
            owners=[model.owner],
            kinds={"sql", "postgres"},
            tags=dict.fromkeys(model.tags, ""),
            metadata=definition_metadata(model),
            skippable=True,
        )
        for name, model in models.items()
    ]


def rollup_assets(models: Mapping[str, Model]) -> dg.AssetsDefinition:
    """The multi-asset of all rollups; any subset can be run."""

    @dg.multi_asset(
        name="rollups",
        specs=rollup_specs(models),
        can_subset=True,
        backfill_policy=backfill_policy,
        pool="rollups",
        retry_policy=dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL),
    )
    def rollups(context: dg.AssetExecutionContext, postgres: PostgresResource) -> Iterator[dg.MaterializeResult[None]]:
        selected = {name: models[name] for name in models if dg.AssetKey(name) in context.selected_asset_keys}
        days = [date.fromisoformat(key) for key in context.partition_keys]
        if context.run.tags.get(ONLY_STALE_TAG):
            days = _stale_days(postgres, selected, days)
        database, engine = postgres.database(), postgres.engine()
        result = _Range()
        for day in days:
            build = _attempt(context, partial(build_day, database, engine, selected, day), result)
            if build is None or len(context.partition_keys) == 1:
                continue
            for name in selected:
                # Logged day by day, so that a crash at day 120 keeps 119 marked in the UI.
                context.log_event(
                    dg.AssetMaterialization(name, partition=str(day), metadata=build_metadata(build, name))
                )
        _fail_if_refused(result)
        if len(context.partition_keys) == 1:
            for build in result.built:
                for name in selected:
                    yield dg.MaterializeResult(asset_key=name, metadata=build_metadata(build, name))

    return rollups


def _stale_days(postgres: PostgresResource, models: Mapping[str, Model], days: list[date]) -> list[date]:
    checksums = {name: model.checksum for name, model in models.items()}
    with postgres.connect() as connection:
        statuses = day_statuses(connection, checksums, days[0], days[-1])
    return [status.day for status in statuses if status.wants_build]


def _attempt(
    context: dg.AssetExecutionContext, build_one_day: Callable[[], DayBuild], result: _Range
) -> DayBuild | None:
    try:
        build = build_one_day()
    except DayPurgedError as refusal:
        context.log.info("%s", refusal)
        result.purged.append(refusal.day)
        return None
    except BuildRefusedError as refusal:
        context.log.error("%s", refusal)
        result.refused.append(refusal)
        return None
    context.log.info("day %s: %d events, %.2f s", build.day, build.raw_events, build.seconds)
    result.built.append(build)
    return build


def _fail_if_refused(result: _Range) -> None:
    """A range with purged days builds the others; a run that could build nothing, or left a hole, fails."""
    if result.refused:
        raise dg.Failure(
            "; ".join(str(refusal) for refusal in result.refused[:10]),
            metadata={"refused": [str(refusal.day) for refusal in result.refused]},
            allow_retries=False,
        )
    if result.purged and not result.built:
        raise dg.Failure(
            f"{len(result.purged)} day(s) purged, unchanged: their raw events are gone, so nothing can be rebuilt",
            metadata={"purged": [str(day) for day in result.purged]},
            allow_retries=False,
        )
