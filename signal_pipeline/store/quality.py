"""How far a day's distinct users can be trusted, without keeping an address.

Two measures per day: the share of accepted events that were hashed with an empty address, per app, and whether two secrets
hashed the day. Requirements sections 2 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import cast

from signal_pipeline.store.database import Connection, sql

DEGRADED_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class DayQuality:
    """One day: the share of events without an address by app, and the number of secrets."""

    without_address: Mapping[str, float]
    keys: int

    def labels(self, apps: Sequence[str] | None) -> set[str]:
        """`degraded` when an app's share is above 1 %, `over-counted` when two secrets hashed the day."""
        shares = [share for app, share in self.without_address.items() if apps is None or app in apps]
        labels = set[str]()
        if any(share > DEGRADED_SHARE for share in shares):
            labels.add("degraded")
        if self.keys > 1:
            labels.add("over-counted")
        return labels


def day_quality(connection: Connection, first: date, last: date) -> dict[date, DayQuality]:
    """The quality of each known day from `first` to `last`, inclusive."""
    rows = connection.execute(sql("day_quality"), {"first": first, "last": last}).fetchall()
    return {
        cast(date, day): DayQuality(cast("Mapping[str, float]", shares), cast(int, keys)) for day, shares, keys in rows
    }
