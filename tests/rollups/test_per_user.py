"""The form of a model in which a cluster's workers compute counts what the model counts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import RawCursor
from psycopg.postgres import types
from psycopg.pq import Format
from support.rollup_events import START, Event, build, expected_rows, insert, stored_rows

from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups import postgres_engine
from signal_pipeline.rollups.models import Models
from signal_pipeline.rollups.per_user import count_per_user, over_table
from signal_pipeline.rollups.postgres_engine import PostgresEngine

BYTEA = types["bytea"].oid


@pytest.fixture
def on_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine computes as on a cluster, though here all is on one server."""
    monkeypatch.setattr(postgres_engine, "distributed_tables", lambda _: {"events": "user_hash"})


def _assert_counts(day: Connection, models: Models, events: list[Event]) -> None:
    insert(day, events)
    build(PostgresEngine(), day, models)
    for rollup in models:
        rows = stored_rows(day, rollup)
        assert len(rows) == len(set(rows))
        assert set(rows) == expected_rows(events, rollup)


def test_sessions_of_several_users_count_once(
    day: Connection, models: Models, many_events: list[Event], on_workers: None
) -> None:
    users = {(event.session, event.user) for event in many_events if event.session is not None}
    assert len(users) > len({session for session, _ in users})
    _assert_counts(day, models, many_events)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.builds(
            Event,
            st.integers(0, 86_399).map(lambda second: START + timedelta(seconds=second)),
            st.sampled_from(["cms", "journeys-admin"]),
            st.sampled_from(["a_clicked", "b_opened"]),
            st.sampled_from([None, "/"]),
            st.sampled_from([None, ("journey", "x")]),
            st.integers(0, 3),
            st.one_of(st.none(), st.integers(0, 3)),
        ),
        max_size=30,
    )
)
def test_any_sessions_of_any_users(
    day: Connection, models: Models, on_workers: None, events: list[Event]
) -> None:
    day.execute("delete from signal.events")
    _assert_counts(day, models, events)


def test_sessions_come_in_binary(
    day: Connection,
    models: Models,
    many_events: list[Event],
    on_workers: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As text they would have twice the bytes: half as many would fit into one value."""
    formats = []

    class Watched(RawCursor[Any]):
        def fetchone(self) -> Any:
            assert self.pgresult is not None
            if self.pgresult.ftype(0) == BYTEA:
                formats.append(self.pgresult.fformat(0))
            return super().fetchone()

    monkeypatch.setattr("psycopg.RawCursor", Watched)
    _assert_counts(day, models, many_events)
    assert formats == [Format.BINARY]


def test_our_own_models_have_that_form(models: Models) -> None:
    for model in models.values():
        found = count_per_user(model.select)
        assert found is not None
        assert found.session_counts == ("sessions",)


FROM = "from signal.events where created_at >= $1 and created_at < $2"


@pytest.mark.parametrize(
    "select",
    [
        f"select app_name, max(created_at) as newest {FROM} group by app_name",
        f"select app_name, count(*) filter (where route is null) as n {FROM} group by app_name",
        f"select app_name, count(distinct route) as routes {FROM} group by app_name",
        f"select app_name, count(session_id) as n {FROM} group by app_name",
        f"select app_name, count(*) + 1 as n {FROM} group by app_name",
        f"select app_name, count(*) as n {FROM} group by app_name having count(*) > 1",
        f"select app_name, count(*) as n {FROM} group by app_name order by 1 limit 3",
        f"select distinct app_name, count(*) as n {FROM} group by app_name",
        f"select app_name, row_number() over () as n {FROM} group by app_name",
        f"select app_name, (select 1) as n {FROM} group by app_name",
        f"select count(*) as n {FROM}",
        f"select lower(app_name) as app, count(*) as n {FROM} group by lower(app_name)",
        f"select user_hash, count(*) as n {FROM} group by user_hash",
        "select e.app_name, count(*) as n from signal.events as e group by e.app_name",
        f"with e as (select app_name {FROM}) select app_name, count(*) from e group by app_name",
        (
            f"select app_name, count(*) as n {FROM} group by app_name"
            f" union select app_name, count(*) as n {FROM} group by app_name"
        ),
        (
            f"select app_name, count(*) as n {FROM} group by app_name"
            f" union all select app_name, max(route) as n {FROM} group by app_name"
        ),
        f"select app_name, n from (select app_name, count(*) as n {FROM} group by 1) as e",
        # A nested query reads the events too, and stays as it is.
        (
            f"select app_name, count(*) as n {FROM} and session_id in (select session_id from"
            " signal.events where route is null) group by app_name"
        ),
        (
            f"select app_name, count(*) as n {FROM} and exists (select 1 from signal.events union"
            " all select 2) group by app_name"
        ),
        (
            f"select app_name, count(*) as n {FROM} group by app_name union all select app_name,"
            f" count(*) as n {FROM} and route in (select 'x' union all select 'y') group by"
            " app_name"
        ),
        f"(select app_name, count(*) as n {FROM} group by app_name) union all (select 'x', 1)",
        (
            f"select app_name, count(*) as n {FROM} group by app_name union all select route,"
            f" count(*) as n {FROM} group by route order by 2 limit 1"
        ),
        f"select app_name, count(*) as n {FROM} group by app_name union all select 'x' as a, 1",
        # Names that mean something else, or nothing, in two steps.
        "select app_name, count(*) as n from signal.events as e group by app_name",
        "select app_name, count(*) as n from only signal.events group by app_name",
        f"select events.app_name, count(*) as n {FROM} group by app_name",
        f"select app_name, count(*) as n {FROM} and events.route is null group by app_name",
        f"select app_name, count(distinct events.session_id) as n {FROM} group by app_name",
        f"select app_name, coalesce(route, 'x') as r, count(*) as n {FROM} group by app_name, r",
        f"select app_name, 'x' as r, count(*) as n {FROM} group by app_name, r",
        f"select app_name as app, count(*) as n {FROM} group by app",
        f"select User_Hash, count(*) as n {FROM} group by User_Hash",
        f"select app_name, count(*) {FROM} group by app_name",
        f"select app_name as app, count(*) as app_name {FROM} group by app_name",
        f"select app_name, count(*) as user_hash {FROM} group by app_name",
        f"select app_name, count(*) as n {FROM} group by rollup (app_name)",
        # Functions that may be aggregates, or make several rows.
        f"select app_name, mine(app_name) as x, count(*) as n {FROM} group by app_name",
        f"select app_name, public.mine(app_name) as x, count(*) as n {FROM} group by app_name",
        f"select app_name, json_agg(app_name) as x, count(*) as n {FROM} group by app_name",
        f"select app_name, unnest(array[1, 2]) as x, count(*) as n {FROM} group by app_name",
    ],
)
def test_a_model_of_another_form_is_left_as_written(select: str) -> None:
    assert count_per_user(select) is None


@pytest.mark.parametrize(
    ("select", "sessions"),
    [
        (
            "select App_Name, COUNT(DISTINCT Session_ID) as Sessions from Signal.Events"
            " where created_at >= $1 and created_at < $2 group by APP_NAME",
            "sessions",
        ),
        (
            'select coalesce(route, app_name) as route, count(distinct session_id) as "order"'
            f" {FROM} group by route, app_name",
            "order",
        ),
        (
            "select case when route is null and app_name = 'cms' then lower(app_name) end as x,"
            f" count(*) as n, count(distinct session_id) as s {FROM} group by app_name, route",
            "s",
        ),
    ],
)
def test_a_model_in_two_steps_runs(day: Connection, select: str, sessions: str) -> None:
    found = count_per_user(select)
    assert found is not None
    assert found.session_counts == (sessions,)
    table = over_table(found.select, "pg_temp", "some_events")
    day.execute("create temporary table some_events (like signal.events)")
    for statement in (found.select, table):
        rows = RawCursor(day).execute(statement, [START, START + timedelta(days=1)]).fetchall()
        assert rows == []
