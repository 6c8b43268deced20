"""The rollup assets, one per model of `dbt_like_sql/`.

They are computed together, so that a day is read once for all of them. What a run of a day or a
range does belongs here. What the UI shows of it is in `rollup_metadata.py`; how a day is built is
in `rollups/build.py`.

Docs: docs/data-team.md.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial

import dagster as dg

from signal_pipeline.concurrency import short_switch_interval
from signal_pipeline.dagster.assets.rollup_metadata import DayNotes, definition_metadata
from signal_pipeline.dagster.due_builds import nightly_days
from signal_pipeline.dagster.names import RAW_EVENTS, ROLLUPS_POOL, Names
from signal_pipeline.dagster.partitions import backfill_policy, daily_partitions
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.dagster.runs import (
    CATCH_UP_TAG,
    FAILED_DAYS_TAG,
    ONLY_STALE_TAG,
    materialized_days,
)
from signal_pipeline.days.calendar import first_kept_day, stored_start_date, today_utc
from signal_pipeline.days.coverage import days_note
from signal_pipeline.days.freshness import day_statuses
from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import Connection, DatabaseUnreachableError
from signal_pipeline.rollups.build import (
    BuildRefusedError,
    DayBuild,
    DayPurgedError,
    build_day,
    recorded_builds,
)
from signal_pipeline.rollups.models import Model
from signal_pipeline.settings import load_settings

DAY_ATTEMPTS = 2
BUILDERS = 2
MOST_REASONS = 10


@dataclass(slots=True)
class _Outcome:
    """What became of the days of a run.

    `kept`: purged days, as they were once built; nothing can change them. `failed`: days that were
    refused, or not built by a second attempt, with the reason.
    """

    built: list[DayBuild] = field(default_factory=list)
    purged: list[date] = field(default_factory=list)
    kept: list[DayBuild] = field(default_factory=list)
    failed: dict[date, str] = field(default_factory=dict)


def rollup_specs(models: Mapping[str, Model], names: Names) -> list[dg.AssetSpec]:
    """Return one asset spec per model.

    Its description, columns, owner, tags and SQL file come from the model.
    """
    return [
        dg.AssetSpec(
            names.key(name),
            deps=[names.key(RAW_EVENTS)],
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


def rollup_assets(models: Mapping[str, Model], names: Names) -> dg.AssetsDefinition:
    """Return the multi-asset of all rollups; any subset can be run."""

    @dg.multi_asset(
        name=names.named("rollups"),
        specs=rollup_specs(models, names),
        can_subset=True,
        backfill_policy=backfill_policy,
        pool=names.pool(ROLLUPS_POOL),
        retry_policy=dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL),
    )
    def rollups(
        context: dg.AssetExecutionContext, postgres: PostgresResource
    ) -> Iterator[dg.MaterializeResult[None]]:
        selected = {
            name: models[name] for name in models if names.key(name) in context.selected_asset_keys
        }
        keys = [date.fromisoformat(key) for key in context.partition_keys]
        only = keys[0] if len(keys) == 1 else None
        with postgres.connect() as connection:
            days = _days_of_run(context, connection, selected, names, keys)
            hidden = _hidden_builds(context, connection, selected, names, days)
            notes = DayNotes(connection, selected, [*days, *(build.day for build in hidden)])
            for build in hidden:
                _mark(context, build, names, None, notes)
            outcome = _build(context, postgres, selected, names, days, only, notes)
            _keep(context, connection, selected, names, only, notes, outcome)
            _tell(context, connection, outcome)
            yield from _result(context, outcome, names, only, notes)

    return rollups


def _days_of_run(
    context: dg.AssetExecutionContext,
    connection: Connection,
    models: Mapping[str, Model],
    names: Names,
    keys: list[date],
) -> list[date]:
    """Return the days to build, oldest first.

    These are the days that were asked for, as the run's tags narrow or widen them.
    """
    tags = context.run.tags
    if CATCH_UP_TAG in tags and len(keys) == 1:
        first_kept = first_kept_day(today_utc(), load_settings().retention_days)
        return nightly_days(
            day_statuses(connection, _checksums(models), last=keys[0]), first_kept, keys[0]
        )
    if ONLY_STALE_TAG in tags:
        statuses = day_statuses(connection, _checksums(models), keys[0], keys[-1])
        return [status.day for status in statuses if status.wants_build]
    # The database was away. What this run has already built stays as it is.
    if context.retry_number:
        done = materialized_days(context.instance, context.run.run_id, map(names.key, models))
        return [day for day in keys if day not in done]
    return keys


def _hidden_builds(
    context: dg.AssetExecutionContext,
    connection: Connection,
    models: Mapping[str, Model],
    names: Names,
    days: list[date],
) -> list[DayBuild]:
    """Return builds that Dagster does not show, of days other than `days`, which are built now.

    A killed run can commit a build and never mark it. The day is fresh, so it would be left alone,
    and the UI would show a hole for ever. The same happens to purged days if Dagster's storage was
    lost or its materializations were wiped. The builds can be outside the run's partitions.
    """
    shown = {name: context.instance.get_materialized_partitions(names.key(name)) for name in models}
    hidden = [
        status.day
        for status in day_statuses(connection, _checksums(models))
        if status.day not in days
        and not status.wants_build
        and any(
            freshness != "unavailable" and str(status.day) not in shown[name]
            for name, freshness in status.rollups.items()
        )
    ]
    return recorded_builds(connection, models, hidden) if hidden else []


def _checksums(models: Mapping[str, Model]) -> dict[str, str]:
    return {name: model.checksum for name, model in models.items()}


def _build(
    context: dg.AssetExecutionContext,
    postgres: PostgresResource,
    models: Mapping[str, Model],
    names: Names,
    days: list[date],
    only: date | None,
    notes: DayNotes,
) -> _Outcome:
    """Build day by day; a day that fails is tried again at the end, and holds up no other."""
    outcome = _Outcome()
    database, engine = postgres.database(), postgres.engine(many_days=len(days) > 1)
    left = days
    for attempt in range(1, DAY_ATTEMPTS + 1):
        again: list[date] = []
        for day, building in _ahead(partial(build_day, database, engine, models), left):
            try:
                build = building.result()
            except DayPurgedError as refusal:
                context.log.info("%s", refusal)
                outcome.purged.append(day)
            except BuildRefusedError as refusal:
                context.log.error("%s", refusal)
                outcome.failed[day] = refusal.reason
            except DatabaseUnreachableError:
                raise
            except SignalError as error:
                context.log.error("day %s, attempt %d of %d: %s", day, attempt, DAY_ATTEMPTS, error)
                outcome.failed[day] = str(error)
                again.append(day)
            else:
                context.log.info("day %s: %d events, %.2f s", day, build.raw_events, build.seconds)
                outcome.built.append(build)
                outcome.failed.pop(day, None)
                _mark(context, build, names, only, notes)
        left = again
    return outcome


def _ahead(
    build: Callable[[date], DayBuild], days: Sequence[date]
) -> Iterator[tuple[date, Future[DayBuild]]]:
    """Yield each day with its build, in order, while the builds of the next days are under way.

    So one day is read while another is computed or marked.
    """
    with (
        short_switch_interval(),
        ThreadPoolExecutor(BUILDERS, thread_name_prefix="signal-build") as pool,
    ):
        coming = deque[tuple[date, Future[DayBuild]]]()
        try:
            for day in days:
                coming.append((day, pool.submit(build, day)))
                if len(coming) > BUILDERS:
                    yield coming.popleft()
            yield from coming
        finally:
            pool.shutdown(cancel_futures=True)


def _keep(
    context: dg.AssetExecutionContext,
    connection: Connection,
    models: Mapping[str, Model],
    names: Names,
    only: date | None,
    notes: DayNotes,
    outcome: _Outcome,
) -> None:
    """Mark purged days as they were once built: Dagster counts a day without a mark as failed.

    A day that was purged before a rollup was ever built has nothing to mark there, and is a
    failure.
    """
    if not outcome.purged:
        return
    outcome.kept = recorded_builds(connection, models, outcome.purged)
    found = {build.day: build.rows for build in outcome.kept}
    for day in outcome.purged:
        if absent := [name for name in models if name not in found.get(day, ())]:
            outcome.failed[day] = (
                f"purged before {', '.join(absent)} was built: nothing is left to build it from"
            )
    for build in outcome.kept:
        _mark(context, build, names, only, notes)


def _tell(context: dg.AssetExecutionContext, connection: Connection, outcome: _Outcome) -> None:
    """Log what became of the run's days, and which days around them Dagster leaves out silently."""
    lines = [
        *days_note((build.day for build in outcome.built), "built"),
        *days_note((build.day for build in outcome.kept), "purged, kept as they were"),
    ]
    today, start = today_utc(), stored_start_date(connection)
    asked = {date.fromisoformat(key) for key in context.partition_keys}
    if len(asked) > 1 and start in asked:
        lines.append(f"days before the start date {start} cannot be built, and none was asked for")
    if today in asked:
        lines.append(
            f"today, {today}, is not over: its numbers are partial, and days to come cannot be"
            " built"
        )
    if lines:
        context.log.info("%s", "; ".join(lines))


def _mark(
    context: dg.AssetExecutionContext,
    build: DayBuild,
    names: Names,
    only: date | None,
    notes: DayNotes,
) -> None:
    """Log a day's materializations as soon as it is built.

    So a crash at day 120 keeps 119 days marked in the UI.
    """
    day = str(build.day)
    if build.state == "open":
        raw_events = names.key(RAW_EVENTS)
        context.log_event(
            dg.AssetMaterialization(raw_events, partition=day, metadata=notes.of_raw_events(build))
        )
    if build.day == only:  # The result of the step marks this day.
        return
    for name in build.rows:
        metadata = notes.of_rollup(build, name)
        context.log_event(
            dg.AssetMaterialization(names.key(name), partition=day, metadata=metadata)
        )


def _result(
    context: dg.AssetExecutionContext,
    outcome: _Outcome,
    names: Names,
    only: date | None,
    notes: DayNotes,
) -> Iterator[dg.MaterializeResult[None]]:
    """Yield the result of the step, or raise Failure if the run left a hole.

    Purged days are left alone, which is no failure. The Failure names the days in one sentence. A
    nightly run fails only for its own day: a hole of an earlier day turns that day's check red, and
    holds up neither checks nor retention.
    """
    failed = outcome.failed if only is None or only in outcome.failed else {}
    if failed:
        context.instance.add_run_tags(
            context.run.run_id, {FAILED_DAYS_TAG: ",".join(map(str, sorted(failed)))}
        )
        raise dg.Failure(
            _by_reason(failed),
            metadata={"failed": {str(day): reason for day, reason in failed.items()}},
            allow_retries=False,
        )
    for build in (*outcome.built, *outcome.kept):
        if build.day == only:
            for name in build.rows:
                yield dg.MaterializeResult(
                    asset_key=names.key(name), metadata=notes.of_rollup(build, name)
                )


def _by_reason(failed: Mapping[date, str]) -> str:
    """Return the days that were not built, grouped by reason, as one text."""
    days: dict[str, list[date]] = {}
    for day, reason in sorted(failed.items()):
        days.setdefault(reason, []).append(day)
    shown = list(days.items())[:MOST_REASONS]
    return "; ".join(
        line for reason, each in shown for line in days_note(each, f"not built, {reason}")
    )
