"""How far a day's distinct users can be trusted, measured without keeping an address.

For each day, the module measures each app's share of accepted events that were hashed with an empty
address. It finds out whether two secrets, or two versions of HASH_RULES (`events/browsers.py`),
hashed the day. While the raw events are kept, it also measures how people are told apart.
Requirements 2 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from psycopg.rows import dict_row

from signal_pipeline.days.calendar import window
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query

DEGRADED_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class DayQuality:
    """One day: each app's share of events without an address, and how the day was hashed.

    `keys` is how many secrets hashed the day, and `hash_rules` how many versions of HASH_RULES.
    """

    without_address: Mapping[str, float]
    keys: int
    hash_rules: int

    def labels(self, apps: Sequence[str] | None) -> set[str]:
        """Return the labels that apply to the given apps, or to all apps.

        `degraded` is for an app's share above 1 %; `over-counted` is for a day that two secrets or
        two versions of HASH_RULES hashed.
        """
        shares = [
            share for app, share in self.without_address.items() if apps is None or app in apps
        ]
        labels = set[str]()
        if any(share > DEGRADED_SHARE for share in shares):
            labels.add("degraded")
        if self.keys > 1 or self.hash_rules > 1:
            labels.add("over-counted")
        return labels


def day_quality(connection: Connection, first: date, last: date) -> dict[date, DayQuality]:
    """Return the quality of each day with a row, from `first` to `last`, inclusive."""
    cursor = connection.cursor(row_factory=dict_row)
    rows = cursor.execute(
        query(__package__, "day_quality"), {"first": first, "last": last}
    ).fetchall()
    return {row.pop("day"): DayQuality(**row) for row in rows}


@dataclass(frozen=True, slots=True)
class DayIdentities:
    """How people are told apart on one day.

    `top_share` is the largest share of the day's events that one hash has, and `top_sessions` the
    largest number of sessions that one hash has; these can be two different hashes. Many sessions
    behind one hash mean that a proxy or NAT has merged people. Several hashes in one session mean
    that an address or browser changed within it, and that people are therefore counted twice.
    """

    events: int
    users: int
    top_share: float
    top_sessions: int
    sessions_per_hash: float
    hashes_per_session: float


def day_identities(connection: Connection, first: date, last: date) -> dict[date, DayIdentities]:
    """Return the measures of each day from `first` to `last` that holds raw events."""
    start, end = window(first, last)
    cursor = connection.cursor(row_factory=dict_row)
    rows = cursor.execute(
        query(__package__, "day_identities"), {"start": start, "end": end}
    ).fetchall()
    return {row.pop("day"): DayIdentities(**row) for row in rows}
