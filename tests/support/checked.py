"""Lines as acceptance passes them on to the writer, and what it leaves of their days."""

from __future__ import annotations

from datetime import UTC, date, datetime

from conftest import SECRET, START_DATE
from support.days import days_ago
from support.traffic import line

from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.events.acceptance import Acceptance
from signal_pipeline.events.event import AcceptedEvent, Drop
from signal_pipeline.postgres.database import Connection

DAY = days_ago(3)
NOON = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
acceptance = Acceptance(load_catalogue(), SECRET.encode(), START_DATE, 180)


def checked(*lines: bytes) -> list[AcceptedEvent | Drop]:
    """Lines as acceptance passes them on."""
    return [acceptance.check_line(text, datetime.now(UTC)) for text in lines]


def good(at: datetime = NOON, **changes: object) -> AcceptedEvent:
    """One event that acceptance let pass."""
    (event,) = checked(line(at, **changes))
    assert isinstance(event, AcceptedEvent), event
    return event


def versions(connection: Connection) -> dict[date, int]:
    return dict(
        connection.execute("select day, version from signal.days where version > 0").fetchall()
    )  # type: ignore[arg-type]
