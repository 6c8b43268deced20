"""The asset `raw_events`: the events of a day as they are stored, after the landing is drained into them.

Belongs here: when the landing is drained, and what a run says about a day. How events are written: `ingest.py`, `store/`.
Docs: docs/data-team.md.
"""

from datetime import date
from typing import Any

import dagster as dg

from signal_pipeline.partitions import backfill_policy, daily_partitions
from signal_pipeline.resources.ingest import IngestResource
from signal_pipeline.resources.postgres import PostgresResource
from signal_pipeline.store.profile import DayProfile, day_profile

RAW_EVENTS = dg.AssetKey("raw_events")


@dg.asset(
    key=RAW_EVENTS,
    group_name="ingest",
    partitions_def=daily_partitions,
    backfill_policy=backfill_policy,
    owners=["team:data"],
    kinds={"postgres", "python"},
    metadata={"dagster/table_name": "signal.events"},
    pool="ingest",
    retry_policy=dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL),
)
def raw_events(
    context: dg.AssetExecutionContext, ingest: IngestResource, postgres: PostgresResource
) -> dg.MaterializeResult[None]:
    """Raw events of one UTC day: checked, hashed, without address or user agent; kept for the retention.

    A run first drains the landing (files of a trusted replay), which may bring events of any day, then profiles its days.
    """
    drained = ingest.drain_landing()
    context.log.info("landing: %d file(s), %d event(s) received", drained.files, drained.counts.received)
    with postgres.connect() as connection:
        for key in context.partition_keys:
            metadata = profile_metadata(day_profile(connection, date.fromisoformat(key)))
            # By partition: a range run would copy one result's metadata to every day.
            context.add_asset_metadata(metadata, asset_key=RAW_EVENTS, partition_key=key)
    return dg.MaterializeResult()


def profile_metadata(profile: DayProfile) -> dict[str, Any]:
    """What the UI shows of a day: counts and times, never a row."""
    metadata: dict[str, Any] = {
        "dagster/partition_row_count": profile.events,
        "version": profile.version,
        "state": profile.state,
        "outcomes": dg.MetadataValue.md(_outcome_table(profile)),
    }
    if profile.first_event and profile.last_event:
        metadata["first_event"] = dg.MetadataValue.timestamp(profile.first_event)
        metadata["last_event"] = dg.MetadataValue.timestamp(profile.last_event)
    return metadata


def _outcome_table(profile: DayProfile) -> str:
    lines = [f"| {label} | {events:,} |" for label, events in sorted(profile.outcomes.items())]
    return "\n".join(["| outcome | events |", "| --- | ---: |", *lines])
