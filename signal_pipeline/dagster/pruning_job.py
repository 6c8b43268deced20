"""The job that keeps Dagster's own storage bounded. What is deleted, and why: `pruning.py`."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from signal_pipeline.dagster.names import PRUNING_JOB, Names
from signal_pipeline.dagster.runs import OwnRuns, location_of
from signal_pipeline.settings import load_settings


def build_pruning_job(names: Names) -> dg.JobDefinition:
    """Return the job that keeps Dagster's storage bounded."""

    # The resource holds the lock that shows that a run lives.
    @dg.op(name=names.named("prune_storage"), required_resource_keys={"postgres"})
    def prune_storage(context: dg.OpExecutionContext) -> None:
        """Delete Signal's old logs, evaluations, runs and ticks from Dagster's storage."""
        # `pruning.py` loads SQLAlchemy and Dagster's storage, which other processes need not have.
        from signal_pipeline.dagster.pruning import prune_dagster_storage

        days = load_settings().dagster_retention_days
        if days == 0:
            context.log.info("SIGNAL_DAGSTER_RETENTION_DAYS is 0: nothing is pruned")
            return
        with context.resources.postgres.connect() as connection:
            ours = OwnRuns.seen_by(connection, names, location_of(context.run))
        before = datetime.now(UTC) - timedelta(days=days)
        pruned = prune_dagster_storage(context.instance, ours, before)
        if pruned is None:
            context.log.info(
                "Dagster's storage is not in one database of PostgreSQL: nothing is pruned"
            )
            return
        others = "not counted, it took too long" if pruned.others is None else dict(pruned.others)
        context.log.info(
            "deleted: %s; as old, but of others, so untouched: %s", dict(pruned.deleted), others
        )
        context.add_output_metadata(
            {"before": str(before), "deleted": pruned.deleted, "of_others_untouched": others}
        )

    @dg.job(
        name=names.named(PRUNING_JOB),
        description=(
            "Deletes Signal's old logs, runs and ticks from Dagster's storage. The state of each"
            " partition stays."
        ),
    )
    def pruning_job() -> None:
        """Keep Dagster's storage bounded."""
        prune_storage()

    return pruning_job
