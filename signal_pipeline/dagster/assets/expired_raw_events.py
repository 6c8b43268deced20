"""The asset `expired_raw_events`: raw days past their retention, proven, receipted and deleted.

This module decides what a run reports. `privacy/retention.py` proves and deletes the days.

Docs: docs/data-team.md.
"""

import dagster as dg
import psycopg
from pydantic import Field

from signal_pipeline.dagster.names import EXPIRED_RAW_EVENTS, RETENTION_POOL, Names
from signal_pipeline.dagster.resources.postgres_resource import PostgresResource
from signal_pipeline.days.calendar import make_partitions_ahead
from signal_pipeline.errors import SignalError
from signal_pipeline.privacy.retention import purge_due_days
from signal_pipeline.privacy.retention_rule import Refusal
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import load_settings


class RetentionConfig(dg.Config):
    """What a person can configure in a run of the retention; the nightly run uses the defaults."""

    confirm_days: int = Field(
        default=0,
        description=(
            "How many raw days a person confirms. Such days are past their retention by the clock"
            " alone: too few of the dates since then left a sign (an event or a run). If there are"
            " more such days, or if PostgreSQL's clock does not agree, all of them are kept. The"
            " check nothing_overdue says how many there are."
        ),
    )


def build_expired_raw_events_asset(models: Models, names: Names) -> dg.AssetsDefinition:
    """Return the retention asset.

    It is downstream of every rollup, so that nothing is deleted before the rollups are built.
    """

    @dg.asset(
        key=names.key(EXPIRED_RAW_EVENTS),
        deps=[names.key(name) for name in models],
        group_name="retention",
        owners=["team:data"],
        kinds={"postgres"},
        metadata={"dagster/table_name": "signal.receipts"},
        pool=names.pool(RETENTION_POOL),
        # In a nightly run, the retention and the checks become ready to start at the same time; the
        # checks go first.
        op_tags={"dagster/priority": "-1"},
    )
    def expired_raw_events(
        context: dg.AssetExecutionContext, config: RetentionConfig, postgres: PostgresResource
    ) -> dg.MaterializeResult[None]:
        """Raw days past their retention: deleted once every rollup of the day is proven fresh.

        Each purged day leaves a receipt. A day that fails its proof, or that PostgreSQL refuses to
        delete, is kept and named, and does not delay the others. If days could be purged but
        PostgreSQL deletes none of them, the run fails. A day that is due by the clock alone is kept
        unless a person confirms that it is due; the check nothing_overdue also reports it. On a
        Citus cluster, a run also makes the table partitions of the next days.
        """
        settings = load_settings()
        result = purge_due_days(
            postgres.database(),
            models,
            settings.retention_days,
            confirm_days=config.confirm_days,
            run_id=context.run.run_id,
        )
        refusal = refusal_text(result.refusal) if result.refusal else None
        if refusal:
            context.log.error("%s", refusal)
        for day, reason in result.kept.items():
            context.log.warning("day %s is due but kept: %s", day, reason)
        try:
            with postgres.connect() as connection:
                for day in make_partitions_ahead(connection):
                    context.log.info(
                        "the partition of %s is not made yet: the first event of that day makes it",
                        day,
                    )
        except (psycopg.Error, SignalError) as error:
            # The first events of those days make the partitions, only more slowly.
            context.log.warning("not all partitions were made ahead: %s", type(error).__name__)
        if result.fault:
            raise dg.Failure(result.fault, allow_retries=False)
        return dg.MaterializeResult(
            metadata={
                "purged": [str(day) for day in result.purged],
                "kept": {str(day): reason for day, reason in result.kept.items()},
                "retention_days": settings.retention_days,
                "refusal": refusal or "none",
            }
        )

    return expired_raw_events


def refusal_text(refusal: Refusal) -> str:
    """Return why days are kept, and how a person can confirm that they are due."""
    if not refusal.confirmable:
        return refusal.reason
    return (
        f"{refusal.reason} To confirm them, materialize {EXPIRED_RAW_EVENTS} with the config"
        f" `confirm_days: {refusal.confirmable}`, or run `signal-pipeline retention --confirm-days"
        f" {refusal.confirmable}`."
    )
