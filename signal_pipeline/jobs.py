"""Jobs: the selections that schedules, sensors and commands run.

Belongs here: selections. Their names: `names.py`. When they run: `schedules.py`, `sensors.py`.
"""

from __future__ import annotations

from collections.abc import Iterable

import dagster as dg

from signal_pipeline.names import CHECKS_JOB, NIGHTLY_JOB, RAW_EVENTS_JOB, ROLLUPS_JOB
from signal_pipeline.runs import CATCH_UP_TAG


def default_jobs(
    rollups: Iterable[str], nightly_checks: Iterable[dg.AssetCheckKey]
) -> list[dg.UnresolvedAssetJobDefinition]:
    """Every job of the project; `rollups` are the names of the rollup assets, `nightly_checks` too costly for each hour."""
    names = list(rollups)
    return [
        dg.define_asset_job(
            RAW_EVENTS_JOB,
            selection=dg.AssetSelection.assets("raw_events").without_checks(),
            description="Drains the landing and profiles the day.",
        ),
        dg.define_asset_job(
            ROLLUPS_JOB,
            selection=dg.AssetSelection.assets(*names).without_checks(),
            description="Builds rollups of a day or a range.",
        ),
        dg.define_asset_job(
            NIGHTLY_JOB,
            selection=dg.AssetSelection.assets("raw_events", *names, "expired_raw_events"),
            description="The rollups of yesterday and of days that earlier nights missed, every check, then retention.",
            tags={CATCH_UP_TAG: "true"},
        ),
        dg.define_asset_job(
            CHECKS_JOB,
            selection=dg.AssetSelection.all_asset_checks() - dg.AssetSelection.checks(*nightly_checks),
            description="Every check but those that count all raw events, without building anything.",
        ),
    ]
