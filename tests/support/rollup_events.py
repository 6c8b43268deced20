"""Events as the rollups see them, and an oracle that counts them in plain Python."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from uuid import UUID

from psycopg import sql
from psycopg.types.json import Jsonb

from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups.engine import DaySnapshot, Engine
from signal_pipeline.rollups.models import Models

DAY = date(2026, 3, 8)  # New York changes to summer time on this day.
START = datetime(2026, 3, 8, tzinfo=UTC)
END = START + timedelta(days=1)
MICROSECOND = timedelta(microseconds=1)
Row = tuple[object, ...]
AddRollup = Callable[..., None]


@dataclass(frozen=True)
class Event:
    """An event as the rollups see it; user and session are small numbers here."""

    created_at: datetime
    app_name: str = "cms"
    event_type: str = "clicked"
    route: str | None = None
    entity: tuple[str, str] | None = None
    user: int = 0
    session: int | None = None
    device_type: str = "desktop"
    browser_family: str = "Chrome"
    os_family: str = "macOS"
    description: Mapping[str, object] | None = None

    def row(self) -> Row:
        """The columns of the table, in the order of `insert`."""
        entity_type, entity_id = self.entity or (None, None)
        return (
            *(self.created_at, self.app_name, self.event_type, self.route, entity_type, entity_id),
            sha256(str(self.user).encode()).digest(),
            None if self.session is None else UUID(int=self.session),
            *(self.device_type, self.browser_family, self.os_family),
            None if self.description is None else Jsonb(dict(self.description)),
        )


DIMENSIONS: Mapping[str, Callable[[Event], tuple[str, ...] | None]] = {
    "daily_app_activity": lambda event: (),
    "daily_device_activity": lambda event: (event.device_type,),
    "daily_route_activity": lambda event: (event.route if event.route is not None else "(none)",),
    "daily_entity_activity": lambda event: event.entity,
    "daily_browser_activity": lambda event: (event.browser_family,),
    "daily_os_activity": lambda event: (event.os_family,),
}


def expected_rows(events: Iterable[Event], rollup: str, day: date = DAY) -> set[Row]:
    """The oracle: requirement 8 in plain Python."""
    groups: dict[tuple[str, ...], list[Event]] = defaultdict(list)
    for event in events:
        dimensions = DIMENSIONS[rollup](event)
        if event.created_at.astimezone(UTC).date() == day and dimensions is not None:
            for event_type in (event.event_type, "(all)"):
                groups[event.app_name, event_type, *dimensions].append(event)
    return {
        (
            day,
            *key,
            len(group),
            len({event.user for event in group}),
            len({event.session for event in group if event.session is not None}),
        )
        for key, group in groups.items()
    }


def insert(connection: Connection, events: Iterable[Event]) -> None:
    """Store the events, past the ingest."""
    with connection.cursor().copy(
        "copy signal.events (created_at, app_name, event_type, route, entity_type, entity_id,"
        " user_hash, session_id, device_type, browser_family, os_family, description) from stdin"
    ) as copy:
        for event in events:
            copy.write_row(event.row())


def build(
    engine: Engine, connection: Connection, models: Models, day: date = DAY
) -> tuple[DaySnapshot, dict[str, int]]:
    """Does what a build does, without its checks and records."""
    with engine.read(connection, day, models) as built, connection.transaction():
        for model in models.values():
            table = sql.Identifier("signal", model.name)
            connection.execute(
                sql.SQL("delete from {} where activity_date = %s").format(table), [day]
            )
        return built.snapshot, {
            name: built.write(connection, model) for name, model in models.items()
        }


def stored_rows(connection: Connection, rollup: str) -> list[Row]:
    """All rows of a rollup."""
    query = sql.SQL("select * from {}").format(sql.Identifier("signal", rollup))
    return connection.execute(query).fetchall()
