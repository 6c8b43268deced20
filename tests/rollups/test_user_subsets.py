"""Rollups of disjoint sets of users add up, which is what lets a cluster count them in parts."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from support.rollup_events import Event, build, insert, stored_rows

from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups.models import Models
from signal_pipeline.rollups.postgres_engine import PostgresEngine

PARTS = 4


def totals(day: Connection, models: Models) -> dict[str, Counter[tuple[object, ...]]]:
    """Each rollup's measures by grain; a row counts for one key per measure."""
    found = {}
    for name, model in models.items():
        grain = len(model.grain)
        found[name] = Counter[tuple[object, ...]]()
        for row in stored_rows(day, name):
            for place, value in enumerate(row[grain:]):
                assert isinstance(value, int)
                found[name][(*row[:grain], place)] += value
    return found


def test_four_sets_of_users_add_up_to_all(
    day: Connection, models: Models, many_events: list[Event]
) -> None:
    # A session belongs to one user here. A session that two users share is one in all, and two in
    # parts: a cluster must not add up sessions, and Citus does not.
    events = [
        event
        if event.session is None
        else replace(event, session=event.session * 1_000 + event.user)
        for event in many_events
    ]
    engine = PostgresEngine()
    insert(day, events)
    build(engine, day, models)
    whole = totals(day, models)
    summed = {name: Counter[tuple[object, ...]]() for name in models}
    for part in range(PARTS):
        day.execute("delete from signal.events")
        own = [event for event in events if event.user % PARTS == part]
        assert 0 < len(own) < len(events)
        insert(day, own)
        build(engine, day, models)
        for name, counts in totals(day, models).items():
            summed[name] += counts
    assert all(whole.values())
    for name in models:
        assert +summed[name] == +whole[name]
