"""The asset `raw_events`: the stored events of a day. A run drains the landing first.

This module decides what a run does if the drain fails, and what the UI shows of a day. `ingest/`
writes the events.

Docs: docs/data-team.md.
"""

from datetime import date, timedelta
from logging import Logger
from typing import Any

import dagster as dg

from signal_pipeline.dagster.assets.charts import BLUE, GREEN, ORANGE, bar_chart, markdown_table
from signal_pipeline.dagster.assets.pictures import drawn
from signal_pipeline.dagster.names import INGEST_POOL, RAW_EVENTS, Names
from signal_pipeline.dagster.partitions import build_backfill_policy
from signal_pipeline.dagster.resources.ingest_resource import IngestResource
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.dagster.runs import CATCH_UP_TAG
from signal_pipeline.days.calendar import today_utc
from signal_pipeline.days.coverage import read_coverage
from signal_pipeline.days.profile import DayProfile, day_profile, outcomes_by_day
from signal_pipeline.errors import SignalError
from signal_pipeline.ingest.landing import DrainResult, LandingError
from signal_pipeline.postgres.database import Connection, DatabaseUnreachableError
from signal_pipeline.rollups.models import event_columns

EVENT_COLUMNS = dg.TableSchema(
    [
        dg.TableColumn(column.name, type=column.data_type, description=column.description)
        for column in event_columns()
    ]
)
BOOKS_DAYS = 21
UNKNOWN_NOTE = (
    "unknown: Signal was not installed yet, and no event of this day was replayed; it is not zero"
)
OUTCOME_COLOURS = {"accepted": GREEN, "duplicate": BLUE, "dropped": ORANGE}


def build_raw_events_asset(
    names: Names, partitions: dg.DailyPartitionsDefinition
) -> dg.AssetsDefinition:
    """Return the asset of the raw events."""
    key = names.key(RAW_EVENTS)

    @dg.asset(
        key=key,
        group_name="ingest",
        partitions_def=partitions,
        backfill_policy=build_backfill_policy(),
        owners=["team:data"],
        kinds={"postgres", "python"},
        metadata={"dagster/table_name": "signal.events", "dagster/column_schema": EVENT_COLUMNS},
        pool=names.pool(INGEST_POOL),
        retry_policy=dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL),
    )
    def raw_events(
        context: dg.AssetExecutionContext, ingest: IngestResource, postgres: PostgresResource
    ) -> dg.MaterializeResult[None]:
        """The raw events of one UTC day: checked, hashed, without address or user agent.

        They are kept until their retention ends. A run first drains the landing (files of a trusted
        replay), which can bring events of any day. Then it profiles its days. If something in the
        landing cannot be drained, the nightly run goes on without it, and any other run fails. The
        check `landing_moves` reports files that stay.
        """
        try:
            drained = ingest.drain_landing()
        except SignalError as error:
            if isinstance(error, LandingError) and error.drained:
                _log_drain(context, error.drained)
            if CATCH_UP_TAG not in context.run.tags or isinstance(error, DatabaseUnreachableError):
                if isinstance(error, LandingError):
                    # No retry of the step: the sensor tries again, and waits longer each time.
                    raise dg.Failure(str(error), allow_retries=False) from error
                raise
            # The nightly run goes on to its rollups and retention, even with a bad file, a missing
            # secret or a full disk.
            context.log.error("the landing is not drained: %s", error)
        else:
            _log_drain(context, drained)
        with postgres.connect() as connection:
            _describe_days(context, connection, key)
        return dg.MaterializeResult()

    return raw_events


def _describe_days(
    context: dg.AssetExecutionContext, connection: Connection, key: dg.AssetKey
) -> None:
    """Give each partition of the run its own metadata.

    If the metadata were in the result, Dagster would copy it to every day of a range run. A day
    that nobody recorded gets a note and no count, since its events are unknown, not zero. Raises
    Failure for days that cannot hold events.
    """
    days = list(map(date.fromisoformat, context.partition_keys))
    coverage = read_coverage(connection, min(days), max(days))
    if notes := coverage.notes():
        raise dg.Failure("; ".join(notes), allow_retries=False)
    unknown = coverage.never_recorded
    for day in days:
        metadata: dict[str, Any] = {"note": UNKNOWN_NOTE}
        if day not in unknown:
            profile = day_profile(connection, day)
            metadata = profile_metadata(context.log, profile)
            if day == days[-1]:
                metadata |= books_picture(context.log, connection, day)
        context.add_asset_metadata(metadata, asset_key=key, partition_key=str(day))


def _log_drain(context: dg.AssetExecutionContext, drained: DrainResult) -> None:
    context.log.info(
        "landing: %d file(s) done, events: %s", drained.files, drained.counts.as_dict()
    )


def profile_metadata(log: Logger, profile: DayProfile) -> dict[str, Any]:
    """Return what the UI shows of a day: counts and times, never a row."""

    def outcomes() -> str:
        return markdown_table(("outcome", "events"), list(profile.outcomes.items()))

    metadata: dict[str, Any] = {
        "dagster/partition_row_count": profile.events,
        "version": profile.version,
        "state": profile.state,
        **drawn(log, RAW_EVENTS, profile.day, {"outcomes": outcomes}),
    }
    if note := day_note(profile.day, profile.state):
        metadata["note"] = note
    if profile.first_event and profile.last_event:
        metadata["first_event"] = dg.MetadataValue.timestamp(profile.first_event)
        metadata["last_event"] = dg.MetadataValue.timestamp(profile.last_event)
    return metadata


def day_note(day: date, state: str) -> str | None:
    """Return what a person must know about an unusual day.

    Returns None for a day that is over and has its raw events.
    """
    if state == "purged":
        return "purged: the raw events are gone, and the rollups are kept as they were"
    if state == "incomplete":
        return "purged before the rollups were proven complete: they are kept as they were"
    return "the day is not over: its numbers are partial" if day == today_utc() else None


def books_picture(
    log: Logger, connection: Connection, last: date
) -> dict[str, dg.MarkdownMetadataValue]:
    """Return the books of the last days as a picture: what was received, and what became of it."""

    def books() -> str:
        series = outcomes_by_day(connection, last - timedelta(days=BOOKS_DAYS - 1), last)
        return bar_chart(series, OUTCOME_COLOURS, "received", last, BOOKS_DAYS)

    return drawn(log, RAW_EVENTS, last, {"books": books})
