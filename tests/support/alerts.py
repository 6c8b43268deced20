"""Names and runs of the tests of alerts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

import dagster as dg

Tick = Callable[[], str]
Tell = Callable[..., list[str]]
SetClock = Callable[..., None]
APP, DEVICE = dg.AssetKey("daily_app_activity"), dg.AssetKey("daily_device_activity")
NO_RETRY = {"dagster/max_retries": "0"}


def start_run(
    instance: dg.DagsterInstance, defs: dg.Definitions, job: str, **more: Any
) -> dg.DagsterRun:
    """A run of a job that has started; one of the checks plans a single one, not all ninety."""
    definition = defs.resolve_job_def(job)
    if job == "checks_job":
        definition = definition.get_subset(
            asset_check_selection={dg.AssetCheckKey(APP, "grain_is_unique")}
        )
    return instance.create_run_for_job(definition, status=dg.DagsterRunStatus.STARTED, **more)


def ended_well(run: dg.DagsterRun) -> dg.EventLogEntry:
    """The event by which a run ends."""
    event = dg.DagsterEvent(event_type_value="PIPELINE_SUCCESS", job_name=run.job_name)
    return dg.EventLogEntry(
        error_info=None,
        level=logging.INFO,
        user_message="",
        run_id=run.run_id,
        timestamp=time.time(),
        job_name=run.job_name,
        dagster_event=event,
    )
