"""How fresh each rollup of each day is, read from the database each time it is asked.

A build is fresh when it read the day's present version with the model's present checksum. Words:
docs/architecture.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal, cast

from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query

Freshness = Literal["fresh", "stale", "missing", "unavailable", "incomplete"]


@dataclass(frozen=True, slots=True)
class DayStatus:
    """One day: its version and state, its raw events by the books, each rollup's freshness, and its
    last build.

    `build_seconds`: how long the slowest last build of a rollup took; 0 for a day that was never
    built.
    """

    day: date
    version: int
    state: Literal["open", "purged"]
    incomplete: bool
    changed_at: datetime
    events: int
    rollups: Mapping[str, Freshness]
    built_at: datetime | None = None
    build_seconds: float = 0.0

    @property
    def wants_build(self) -> bool:
        """Whether a build would change something and is allowed."""
        return any(freshness in ("stale", "missing") for freshness in self.rollups.values())


def day_statuses(
    connection: Connection,
    checksums: Mapping[str, str],
    first: date | None = None,
    last: date | None = None,
) -> list[DayStatus]:
    """The status of every known day from `first` to `last`, in order; `checksums` is by rollup."""
    rows = connection.execute(
        query(__package__, "day_statuses"), {"first": first, "last": last}
    ).fetchall()
    return [_status(row, checksums) for row in rows]


def _status(row: tuple[object, ...], checksums: Mapping[str, str]) -> DayStatus:
    day, version, state, incomplete, changed_at, events, builds, built_at, build_seconds = row
    built = cast("dict[str, list[object]]", builds)
    return DayStatus(
        cast(date, day),
        cast(int, version),
        cast('Literal["open", "purged"]', state),
        bool(incomplete),
        cast(datetime, changed_at),
        cast(int, events),
        {
            name: _freshness(
                built.get(name), version, checksum, state == "purged", bool(incomplete)
            )
            for name, checksum in checksums.items()
        },
        cast("datetime | None", built_at),
        cast(float, build_seconds),
    )


def _freshness(
    build: list[object] | None, version: object, checksum: str, purged: bool, incomplete: bool
) -> Freshness:
    if build is None:
        return "unavailable" if purged else "missing"
    if incomplete:
        return "incomplete"
    # The raw events of a purged day are gone: its rollups are final, whatever the model says today.
    if purged or build == [version, checksum]:
        return "fresh"
    return "stale"
