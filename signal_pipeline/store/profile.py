"""A profile of a day's raw events: counts only, never a row, a hash or a session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import cast

from signal_pipeline.store.database import Connection, sql
from signal_pipeline.store.days import window


@dataclass(frozen=True, slots=True)
class DayProfile:
    """One day: raw events that are there, outcomes by the books (`dropped: reason` for drops), first and last event."""

    day: date
    version: int
    state: str
    events: int
    first_event: datetime | None
    last_event: datetime | None
    outcomes: Mapping[str, int]


def day_profile(connection: Connection, day: date) -> DayProfile:
    """The profile of one day; an unknown day has no events."""
    start, end = window(day)
    row = connection.execute(sql("day_profile"), {"day": day, "start": start, "end": end}).fetchone()
    assert row is not None
    version, state, events, first_event, last_event, outcomes = row
    return DayProfile(
        day,
        cast(int, version),
        cast(str, state),
        cast(int, events),
        cast("datetime | None", first_event),
        cast("datetime | None", last_event),
        cast("Mapping[str, int]", outcomes),
    )
