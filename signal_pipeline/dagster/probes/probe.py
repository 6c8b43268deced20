"""A probe, and its answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal

from signal_pipeline.days.calendar import today_utc
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings

RECENT_DAYS = 7


@dataclass(frozen=True, slots=True)
class Finding:
    """The answer of a probe: whether it is good, a sentence for the reader, and figures."""

    passed: bool
    message: str
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Probe:
    """A question about the stored data or the landing, which Dagster shows as a check of `asset`.

    A bad answer to a probe of the severity `ERROR` alerts people. A probe that `reads_raw_events`
    counts the raw events of every kept day, which is too much work for every hour.
    """

    name: str
    asset: str
    severity: Literal["ERROR", "WARN"]
    description: str
    ask: Callable[[Connection, Settings], Finding]
    reads_raw_events: bool = False


def recent_days() -> tuple[date, date]:
    """Return the first and the last of the days that probes of recent events look at."""
    today = today_utc()
    return today - timedelta(days=RECENT_DAYS), today
