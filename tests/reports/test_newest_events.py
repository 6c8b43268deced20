"""Reading the newest raw events: the right ones, in order, without reading a day whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from conftest import Fill
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.days import days_ago, yesterday

from signal_pipeline.days.placement import distributed_tables
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.reports.newest_events import FILTERS, RawEvent, newest_events


@pytest.mark.parametrize("limit", [1, 7, 1_000])
@pytest.mark.parametrize(
    "filters", [{}, {"app_name": "cms"}, {"event_type": "journey_create_clicked"}]
)
def test_the_newest_events_of_all_apps_and_types_are_merged_in_order(
    database: Database, connection: Connection, fill: Fill, limit: int, filters: dict[str, str]
) -> None:
    for day in (yesterday(), days_ago(2)):
        fill(day, 120)
    # Many events at one instant, so that only the id decides their order.
    noon = datetime(yesterday().year, yesterday().month, yesterday().day, 12, tzinfo=UTC)
    connection.execute(
        "update signal.events set created_at = %s where created_at >= %s", [noon, noon]
    )
    rows = connection.execute(
        "select created_at, id, app_name, event_type from signal.events"
    ).fetchall()
    named = [
        dict(zip(("created_at", "id", "app_name", "event_type"), row, strict=True)) for row in rows
    ]
    matching = [row for row in named if all(row[name] == value for name, value in filters.items())]
    expected = sorted(((row["created_at"], row["id"]) for row in matching), reverse=True)[:limit]  # type: ignore[type-var]
    found = newest_events(database, filters, None, None, limit, 60)
    assert [(e.created_at, e.id) for e in found] == expected


DAYS = [days_ago(n) for n in (1, 2, 4)]
NOON = {day: datetime(day.year, day.month, day.day, 12, tzinfo=UTC) for day in DAYS}


@pytest.fixture
def stored(database: Database, connection: Connection, fill: Fill) -> list[RawEvent]:
    """Every stored event of three days.

    Each day has many at one instant and some at its very ends; one type is erased.
    """
    if distributed_tables(connection):
        pytest.skip("a cluster refuses the updates that move these events in time")
    for day in DAYS:
        fill(day, 60)
    connection.execute(
        "update signal.events set created_at = date_trunc('day', created_at, 'UTC') + interval '12"
        " hours' where get_byte(uuid_send(client_event_id), 0) < 100"
    )
    connection.execute(
        "update signal.events set created_at = date_trunc('day', created_at, 'UTC') + interval '1"
        " day' - interval '1 us' where get_byte(uuid_send(client_event_id), 0) > 240"
    )
    connection.execute(
        "update signal.events set created_at = date_trunc('day', created_at, 'UTC')"
        " where get_byte(uuid_send(client_event_id), 0) between 220 and 240"
    )
    connection.execute(
        "delete from signal.events where app_name = 'cms' and created_at < %s", [DAYS[1]]
    )
    names = ", ".join(RawEvent._fields).replace("description", "description::text")
    rows = connection.execute(f"select {names} from signal.events").fetchall()  # type: ignore[arg-type]
    return [RawEvent._make(row) for row in rows]


def _shown(value: object) -> str:
    """What a report shows for a value of an event."""
    return "(none)" if value is None else str(value)


@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_question_gets_what_sorting_every_event_gives(
    database: Database, stored: list[RawEvent], data: st.DataObject
) -> None:
    named = data.draw(
        st.sets(st.sampled_from(FILTERS), max_size=3) | st.just({"app_name", "event_type"})
    )
    filters = {}
    for name in sorted(named):
        known = sorted(
            {str(value) for event in stored if (value := getattr(event, name)) is not None}
        )
        unusual = [known[0].upper(), "(none)"] if name != "session_id" else []
        filters[name] = data.draw(st.sampled_from([*known, *unusual]))
    moments = sorted({event.created_at for event in stored} | set(NOON.values()))
    moment = st.none() | st.builds(
        lambda at, shift: at + timedelta(microseconds=shift),
        st.sampled_from(moments),
        st.sampled_from([-1, 0, 1]),
    )
    earliest, latest = data.draw(moment), data.draw(moment)
    limit = data.draw(st.integers(1, 200))
    wanted = [
        event
        for event in sorted(stored, key=lambda event: (event.created_at, event.id), reverse=True)
        if all(_shown(getattr(event, name)) == value for name, value in filters.items())
        and (earliest is None or event.created_at >= earliest)
        and (latest is None or event.created_at <= latest)
    ]
    assert newest_events(database, filters, earliest, latest, limit, 60) == wanted[:limit]
