"""How fresh each rollup of each day is, read from the database each time.

A build is fresh if it read the day's present version and used the model's present checksum, or if
the day was purged after its proof. docs/architecture.md defines the words.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal

from psycopg.rows import dict_row

from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query

Freshness = Literal["fresh", "stale", "missing", "unavailable", "incomplete"]


@dataclass(frozen=True, slots=True)
class DayStatus:
    """One day: its version and state, its raw events by the books, and its builds.

    `rollups` holds each rollup's freshness, and `builds` when each was last built. An `incomplete`
    day was purged without the proof that its rollups are complete. `build_seconds` is how long the
    slowest of the last builds of the day's rollups took, from its start until the rollup was
    written. It is 0 for a day that was never built.
    """

    day: date
    version: int
    state: Literal["open", "purged"]
    incomplete: bool
    changed_at: datetime
    events: int
    rollups: Mapping[str, Freshness]
    builds: Mapping[str, datetime] = field(default_factory=dict)
    build_seconds: float = 0.0

    @property
    def built_at(self) -> datetime | None:
        """When the newest build of a rollup was made, or None without a build."""
        return max(self.builds.values(), default=None)

    @property
    def to_build(self) -> list[str]:
        """The rollups that a build would change."""
        return [name for name, state in self.rollups.items() if state in ("stale", "missing")]

    @property
    def is_built(self) -> bool:
        """True if at least one rollup of the day has numbers."""
        return not {"missing", "unavailable"}.issuperset(self.rollups.values())

    @property
    def wants_build(self) -> bool:
        """True if a build would change something and is allowed."""
        return bool(self.to_build)


def day_statuses(
    connection: Connection,
    checksums: Mapping[str, str],
    first: date | None = None,
    last: date | None = None,
    *,
    open_only: bool = False,
) -> list[DayStatus]:
    """Return the status of every day with a row, from `first` to `last`, inclusive, in order.

    None as `first` or `last` is no bound. With `open_only`, purged days are left out: none of them
    wants a build. `checksums` holds each rollup's checksum of its model.
    """
    cursor = connection.cursor(row_factory=dict_row)
    rows = cursor.execute(
        query(__package__, "day_statuses"),
        {"first": first, "last": last, "open_only": open_only},
    ).fetchall()
    return [_status(row, checksums) for row in rows]


def _status(row: dict[str, Any], checksums: Mapping[str, str]) -> DayStatus:
    builds: Mapping[str, list[Any]] = row.pop("builds")
    rollups = {
        name: _freshness(
            builds.get(name), row["version"], checksum, row["state"] == "purged", row["incomplete"]
        )
        for name, checksum in checksums.items()
    }
    times = {name: datetime.fromisoformat(at) for name, (*_, at) in builds.items()}
    return DayStatus(rollups=rollups, builds=times, **row)


def _freshness(
    build: list[Any] | None, version: int, checksum: str, purged: bool, incomplete: bool
) -> Freshness:
    if build is None:
        return "unavailable" if purged else "missing"
    if incomplete:
        return "incomplete"
    # The raw events of a purged day are gone, so its rollups are final, whatever the model says
    # today.
    if purged or build[:2] == [version, checksum]:
        return "fresh"
    return "stale"
