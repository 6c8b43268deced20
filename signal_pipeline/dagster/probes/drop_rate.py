"""The probe of drops: whether a large share of the received events was dropped."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import NamedTuple

from psycopg.rows import class_row

from signal_pipeline.dagster.names import RAW_EVENTS
from signal_pipeline.dagster.probes.bot_shares import MIN_EVENTS
from signal_pipeline.dagster.probes.probe import Finding, Probe, recent_days
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query

MAX_DROP_SHARE = 0.2


class _Received(NamedTuple):
    """A row of `drop_rate.sql`: a day of receipt of one app, or of all apps together (None)."""

    received_on: date
    app_name: str | None
    received: int
    dropped: int
    reasons: Mapping[str, int]

    @property
    def drop_share(self) -> float:
        """The share of the received events that was dropped."""
        return self.dropped / self.received


def few_drops(connection: Connection) -> Finding:
    """Check that only a small share of events is dropped, per app and in total, bots aside."""
    first, last = recent_days()
    cursor = connection.cursor(row_factory=class_row(_Received))
    rows = cursor.execute(
        query(__package__, "drop_rate"), {"first": first, "last": last}
    ).fetchall()
    if not rows:
        return Finding(
            True,
            "Unknown: on recent days nothing but bots was received, or `signal.intake` did not"
            " exist yet.",
        )
    high = {
        f"{each.received_on} {each.app_name or ''}".strip(): (
            f"{each.drop_share:.1%} of {each.received:,}: {_by_reason(each.reasons)}"
        )
        for each in rows
        if each.received >= MIN_EVENTS and each.drop_share > MAX_DROP_SHARE
    }
    if not high:
        return Finding(
            True,
            f"At most {MAX_DROP_SHARE:.0%} of the events were dropped (bots aside), in total and"
            f" for each app, on every recent day of receipt with {MIN_EVENTS} events or more.",
        )
    return Finding(
        False,
        f"More than {MAX_DROP_SHARE:.0%} of the events received on a day were dropped, in"
        f" {len(high)} case(s): look at the reasons here. Perhaps a new event type or app has no"
        " entry in the catalogue: the log of the ingest names the event types that were dropped.",
        {"days": high},
    )


def _by_reason(reasons: Mapping[str, int]) -> str:
    largest = sorted(reasons.items(), key=lambda each: (-each[1], each[0]))
    return ", ".join(f"{reason} {events:,}" for reason, events in largest)


PROBES = [
    Probe(
        "few_drops",
        RAW_EVENTS,
        "WARN",
        "Only a small share of events is dropped, per app and in total, not counting bots.",
        lambda connection, settings: few_drops(connection),
    )
]
