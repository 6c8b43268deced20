"""A team's own code location beside Signal, with three assets that follow `daily_app_activity`.

The assets know Signal's asset only by its key. The project needs nothing of Signal's except the
numbers: `TEAM_SIGNAL_URL` is the URL of a login in the role `signal_reader`. See docs/deploy.md.
"""

import os
from datetime import date

import dagster as dg
import psycopg

# With a prefix, this is dg.AssetKey(["data-team", "signal", "daily_app_activity"]).
APP_ACTIVITY = dg.AssetKey("daily_app_activity")

# These days must not begin before Signal's start date (`select start_date from
# signal_reporting.instance`), since Signal has no partitions there to map to.
days = dg.DailyPartitionsDefinition(
    start_date=os.environ.get("TEAM_START_DATE", "2026-01-01"), timezone="UTC"
)


def events_of(first: date, last: date) -> int:
    """Return the number of events of the days `first` to `last`, inclusive, by Signal's rollup."""
    query = (
        "select coalesce(sum(events), 0)::bigint from signal_reporting.daily_app_activity"
        " where activity_date between %s and %s"
    )
    with psycopg.connect(os.environ["TEAM_SIGNAL_URL"]) as connection:
        row = connection.execute(query, [first, last]).fetchone()
    return int(row[0]) if row else 0


def result(first: date, last: date) -> dg.MaterializeResult[None]:
    """Return the metadata that the UI shows for each asset here."""
    return dg.MaterializeResult(metadata={"events": events_of(first, last)})


@dg.asset(
    deps=[APP_ACTIVITY],
    partitions_def=days,
    automation_condition=dg.AutomationCondition.eager(),
)
def newest_day(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Follow the newest day that is over, each time Signal builds it.

    Older days stay as they are.
    """
    day = date.fromisoformat(context.partition_key)
    return result(day, day)


@dg.asset(
    deps=[APP_ACTIVITY],
    partitions_def=days,
    automation_condition=dg.AutomationCondition.eager().without(
        dg.AutomationCondition.in_latest_time_window()
    ),
)
def every_day(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
    """Follow every day that is over, each time Signal builds it.

    So a late event on an old day comes through.
    """
    day = date.fromisoformat(context.partition_key)
    return result(day, day)


@dg.asset(
    deps=[APP_ACTIVITY],
    automation_condition=dg.AutomationCondition.eager().without(
        ~dg.AutomationCondition.any_deps_missing()
    ),
)
def all_days() -> dg.MaterializeResult[None]:
    """Compute one number over all days.

    It does not wait for Signal's oldest days, which perhaps were never built.
    """
    return result(date.min, date.max)


# Dagster's own sensor for conditions is off until somebody turns it on in the UI, so this project
# declares one that runs.
follow_signal = dg.AutomationConditionSensorDefinition(
    "follow_signal",
    target=dg.AssetSelection.all(),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=30,
)

defs = dg.Definitions(
    assets=[newest_day, every_day, all_days],
    sensors=[follow_signal],
    # Each asset is one small query; starting a process would take longer than the query.
    executor=dg.in_process_executor,
)
