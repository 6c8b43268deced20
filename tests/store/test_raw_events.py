"""Reading the newest raw events: the right ones, in order, without reading a day whole."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from conftest import Fill

from signal_pipeline.store.database import Connection, Database
from signal_pipeline.store.raw_events import newest_events

YESTERDAY = date.today() - timedelta(days=1)


@pytest.mark.parametrize("limit", [1, 7, 1_000])
@pytest.mark.parametrize("filters", [{}, {"app_name": "cms"}, {"event_type": "journey_create_clicked"}])
def test_the_newest_events_of_all_apps_and_types_are_merged_in_order(
    database: Database, connection: Connection, fill: Fill, limit: int, filters: dict[str, str]
) -> None:
    for day in (YESTERDAY, YESTERDAY - timedelta(days=1)):
        fill(day, 120)
    # Many at one instant, so that only the id tells their order.
    noon = datetime(YESTERDAY.year, YESTERDAY.month, YESTERDAY.day, 12, tzinfo=UTC)
    connection.execute("update signal.events set created_at = %s where created_at >= %s", [noon, noon])
    rows = connection.execute("select created_at, id, app_name, event_type from signal.events").fetchall()
    named = [dict(zip(("created_at", "id", "app_name", "event_type"), row, strict=True)) for row in rows]
    matching = [row for row in named if all(row[name] == value for name, value in filters.items())]
    expected = sorted(((row["created_at"], row["id"]) for row in matching), reverse=True)[:limit]  # type: ignore[type-var]
    found = newest_events(database, filters, None, None, limit, 60)
    assert [(e.created_at, e.id) for e in found] == expected
