"""The jobs: the selections that schedules, sensors and commands run.

Only selections belong here. Their names are in `names.py`; when they run is in `schedules.py`,
`sensors.py`, `left_checks.py` and `left_retention.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from signal_pipeline.dagster.names import (
    CHECKS_JOB,
    EXPIRED_RAW_EVENTS,
    LEFT_CHECKS_JOB,
    NIGHTLY_JOB,
    RAW_EVENTS,
    RAW_EVENTS_JOB,
    RETENTION_JOB,
    ROLLUPS_JOB,
    USAGE_REPORT,
    USAGE_REPORT_JOB,
    Names,
)
from signal_pipeline.dagster.runs import CATCH_UP_TAG


def build_jobs(
    names: Names, checks: Iterable[dg.AssetCheckKey], hourly_checks: Iterable[dg.AssetCheckKey]
) -> list[dg.UnresolvedAssetJobDefinition]:
    """Return every job of the project that selects assets or checks.

    `checks` are all checks; `hourly_checks` are those that are cheap enough to run every hour.
    """
    raw_events, rollups = names.key(RAW_EVENTS), [names.key(name) for name in names.rollups]
    return [
        dg.define_asset_job(
            names.named(RAW_EVENTS_JOB),
            selection=dg.AssetSelection.assets(raw_events).without_checks(),
            description="Drains the landing, then profiles the raw events of the day.",
        ),
        dg.define_asset_job(
            names.named(ROLLUPS_JOB),
            selection=dg.AssetSelection.assets(*rollups).without_checks(),
            description="Builds the rollups of a day or of a range of days.",
        ),
        dg.define_asset_job(
            names.named(NIGHTLY_JOB),
            selection=dg.AssetSelection.assets(raw_events, *rollups, names.key(EXPIRED_RAW_EVENTS)),
            description=(
                "Drains the landing, builds the rollups of yesterday and of days that earlier"
                " nightly runs missed, then evaluates the checks, then runs the retention and its"
                " own checks."
            ),
            tags={CATCH_UP_TAG: "true"},
        ),
        dg.define_asset_job(
            names.named(RETENTION_JOB),
            selection=dg.AssetSelection.assets(names.key(EXPIRED_RAW_EVENTS)),
            description=(
                "Runs the retention and its own checks, without the other steps of a nightly run."
            ),
        ),
        dg.define_asset_job(
            names.named(USAGE_REPORT_JOB),
            selection=dg.AssetSelection.assets(names.key(USAGE_REPORT)),
            description="Writes the page of an ISO week from the rollups.",
        ),
        dg.define_asset_job(
            names.named(CHECKS_JOB),
            selection=dg.AssetSelection.checks(*hourly_checks),
            description=(
                "Evaluates every check except those that count all raw events. Builds nothing."
            ),
        ),
        dg.define_asset_job(
            names.named(LEFT_CHECKS_JOB),
            selection=dg.AssetSelection.checks(*checks),
            description=(
                "Evaluates the checks that a backfill or an interrupted run left without a result."
                " If started by hand, evaluates every check."
            ),
        ),
    ]
