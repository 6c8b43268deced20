"""Both engines count what plain Python counts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import make_conninfo
from support.rollup_events import (
    DAY,
    DIMENSIONS,
    END,
    MICROSECOND,
    START,
    Event,
    build,
    expected_rows,
    insert,
    stored_rows,
)

from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups import day_columns, duckdb_events
from signal_pipeline.rollups.duckdb_engine import DuckdbEngine
from signal_pipeline.rollups.engine import DaySnapshot, Engine
from signal_pipeline.rollups.models import Models, load_models
from signal_pipeline.rollups.postgres_engine import PostgresEngine


@pytest.mark.parametrize("zone", ["UTC", "America/New_York"])
def test_many_events(
    engine: Engine,
    day: Connection,
    url: str,
    models: Models,
    many_events: list[Event],
    zone: str,
) -> None:
    """Rollups are what plain python counts."""
    insert(day, many_events)
    day.execute(f"alter database rollups_test set timezone to '{zone}'")
    try:
        with psycopg.connect(url, autocommit=True) as connection:
            assert connection.execute("show timezone").fetchone() == (zone,)
            snapshot, written = build(engine, connection, models)
    finally:
        day.execute("alter database rollups_test reset timezone")
    of_the_day = [event.created_at for event in many_events if event.created_at.date() == DAY]
    assert snapshot == DaySnapshot(DAY, 7, "open", 0, len(of_the_day), START, END - MICROSECOND)
    for rollup in models:
        rows = stored_rows(day, rollup)
        assert set(rows) == expected_rows(many_events, rollup)
        assert written[rollup] == len(rows) == len(set(rows))


@pytest.mark.parametrize("enum_values", [0, 3, 45, 50_000])
def test_words_of_later_batches(
    day: Connection,
    url: str,
    tmp_path: Path,
    models: Models,
    many_events: list[Event],
    monkeypatch: pytest.MonkeyPatch,
    enum_values: int,
) -> None:
    """Words that a later batch brings and too many of them change nothing."""
    monkeypatch.setattr(day_columns, "BLOCKS", 2)
    monkeypatch.setattr(day_columns, "QUERIES", 2)
    monkeypatch.setattr(duckdb_events, "ENUM_VALUES", enum_values)
    insert(day, sorted(many_events, key=lambda event: event.route or ""))
    build(DuckdbEngine(url, tmp_path / "tmp"), day, models)
    for rollup in models:
        rows = stored_rows(day, rollup)
        assert set(rows) == expected_rows(many_events, rollup)
        assert len(rows) == len(set(rows))


def test_the_day_is_half_open(engine: Engine, day: Connection, models: Models) -> None:
    """The day is half open at the microsecond."""
    times = [START - MICROSECOND, START, START + MICROSECOND, END - MICROSECOND, END]
    insert(day, [Event(time, user=number) for number, time in enumerate(times)])
    snapshot, _ = build(engine, day, models)
    assert (snapshot.raw_events, snapshot.first_event, snapshot.last_event) == (
        *(3, START),
        END - MICROSECOND,
    )
    assert set(stored_rows(day, "daily_app_activity")) == {
        (DAY, "cms", "clicked", 3, 3, 0),
        (DAY, "cms", "(all)", 3, 3, 0),
    }


def test_subtotals_are_computed_not_summed(engine: Engine, day: Connection, models: Models) -> None:
    events = [
        Event(START, event_type="opened", user=1, session=1),
        Event(START, event_type="picked", user=1, session=1),
    ]
    insert(day, events)
    build(engine, day, models)
    assert (DAY, "cms", "(all)", 2, 1, 1) in stored_rows(day, "daily_app_activity")


def test_a_day_without_events(engine: Engine, day: Connection, models: Models) -> None:
    """A day without events gives no rows."""
    insert(day, [Event(START)])
    build(engine, day, models)
    day.execute("delete from signal.events")
    snapshot, written = build(engine, day, models)
    assert snapshot == DaySnapshot(DAY, 7, "open", 0, 0, None, None)
    assert set(written.values()) == {0}
    assert all(stored_rows(day, rollup) == [] for rollup in models)


def test_a_second_build_changes_nothing(
    engine: Engine, day: Connection, models: Models, many_events: list[Event]
) -> None:
    insert(day, many_events)
    build(engine, day, models)
    before = [sorted(stored_rows(day, rollup)) for rollup in models]
    build(engine, day, models)
    assert [sorted(stored_rows(day, rollup)) for rollup in models] == before


def names(*values: str) -> st.SearchStrategy[str]:
    return st.sampled_from(values)


event_lists = st.lists(
    st.builds(
        Event,
        created_at=st.one_of(
            st.sampled_from([START - MICROSECOND, START, END - MICROSECOND, END]),
            st.timedeltas(timedelta(days=-1), timedelta(days=2)).map(lambda after: START + after),
        ),
        app_name=names("cms", "journeys-admin"),
        event_type=names("opened", "picked"),
        route=st.none() | names("/", "/a", "/A", "/é", "/\U0001f600"),
        entity=st.none() | st.tuples(names("journey", "video"), names("1", "2")),
        user=st.integers(0, 4),
        session=st.none() | st.integers(0, 4),
        device_type=names("desktop", "mobile"),
        browser_family=names("Chrome", "Other"),
        os_family=names("macOS", "unknown"),
    ),
    max_size=30,
)


@pytest.fixture(scope="module")
def shared_places(url: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the examples of one property share: the URL, and a folder."""
    return make_conninfo(url, options="-c timezone=America/New_York"), tmp_path_factory.mktemp(
        "tmp"
    )


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=event_lists)
def test_any_events(
    day: Connection, shared_places: tuple[str, Path], models: Models, events: list[Event]
) -> None:
    """Any events count the same everywhere."""
    url, folder = shared_places
    day.execute("delete from signal.events")
    insert(day, events)
    with psycopg.connect(url, autocommit=True) as connection:
        for engine in (DuckdbEngine(url, folder), PostgresEngine()):
            snapshot, _ = build(engine, connection, models)
            assert snapshot.raw_events == sum(START <= event.created_at < END for event in events)
            for rollup in models:
                rows = stored_rows(day, rollup)
                assert len(rows) == len(set(rows))
                assert set(rows) == expected_rows(events, rollup)


def test_the_oracle_covers_every_rollup() -> None:
    assert set(load_models()) == set(DIMENSIONS)
