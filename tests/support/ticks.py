"""Ticks of sensors: a function that evaluates one, and what its result asks for."""

from __future__ import annotations

from collections.abc import Callable

import dagster as dg

START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"
Tick = Callable[..., dg.SensorResult | dg.SkipReason]
AddRun = Callable[..., dg.DagsterRun]


def requests(result: dg.SensorResult | dg.SkipReason) -> list[dg.RunRequest]:
    """The run requests of a tick."""
    return list(result.run_requests or []) if isinstance(result, dg.SensorResult) else []


def cursor_of(result: dg.SensorResult | dg.SkipReason) -> str | None:
    """The cursor that the next tick gets."""
    return result.cursor if isinstance(result, dg.SensorResult) else None


def skipped(result: dg.SensorResult | dg.SkipReason) -> str:
    """The reason why a tick that keeps its cursor asks for nothing."""
    assert isinstance(result, dg.SensorResult)
    assert isinstance(result.skip_reason, dg.SkipReason)
    return result.skip_reason.skip_message or ""


def ranges(result: dg.SensorResult | dg.SkipReason) -> list[tuple[str, str]]:
    """The first and last day of each request."""
    return [(request.tags[START], request.tags[END]) for request in requests(result)]
