"""Rows of plain fields are answered as the executor answers them.

The oracle is graphql-core's executor, asked directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from inspect import isawaitable
from typing import Any

import pytest
import strawberry
from graphql import ExecutionResult, execute, parse
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from signal_pipeline.api.graphql.documents import Documents
from signal_pipeline.api.graphql.plain_fields import PlainRows
from signal_pipeline.api.graphql.schema import build_schema
from signal_pipeline.api.graphql.types import EventStats, EventStatsRow, StatsState
from signal_pipeline.api.requests import Call

SCHEMA = build_schema()
DOCUMENTS = Documents(SCHEMA, introspection=True)
ROW = EventStatsRow(
    day=date(2026, 3, 4),
    week=None,
    app_name="cms",
    event_type="(all)",
    route=None,
    entity_type="journey",
    entity_id=strawberry.ID("3f2b6c1e"),
    device_type=None,
    browser_family=None,
    os_family=None,
    events=3,
    users=2,
    summed_daily_users=2,
    sessions=None,
    summed_daily_sessions=1,
    states=[StatsState.STALE, StatsState.OVER_COUNTED],
)
EVERY = (
    "day week appName eventType route entityType entityId deviceType browserFamily osFamily events"
    " users summedDailyUsers sessions summedDailySessions states"
)
ASKED = 'eventStats(by: APP, from: "2026-03-04", to: "2026-03-04")'
DOCUMENTS_OF_ROWS = [
    f"{{ {ASKED} {{ rows {{ {EVERY} }} suppressedRows notes }} }}",
    f"{{ {ASKED} {{ rows {{ __typename b: day a: events day states }} }} }}",
    f"{{ {ASKED} {{ rows {{ events users events }} rows {{ day }} }} }}",
    f"{{ {ASKED} {{ rows {{ events @skip(if: true) users @include(if: true) }} }} }}",
    f"{{ {ASKED} {{ rows {{ __typename }} }} }}",
    f"{{ {ASKED} {{ rows {{ events @skip(if: true) }} }} }}",
    f"{{ {ASKED} {{ rows {{ ...F ... on EventStatsRow {{ states }} }} }} }}"
    " fragment F on EventStatsRow { events day }",
    f"{{ {ASKED} {{ all: rows {{ events }} rows @include(if: false) {{ day }} __typename }} }}",
]
# Some of these no column of the schema can have.
values = st.sampled_from(
    [
        None,
        0,
        -1,
        2**31 - 1,
        2**31,
        "",
        "cms",
        date(2026, 3, 4),
        StatsState.FRESH,
        1.5,
        True,
        [],
        [StatsState.FRESH],
        [None],
        ["fresh"],
        [[]],
        ValueError("x"),
    ]
)
rows = st.lists(
    st.none()
    | st.just(ValueError("x"))
    | st.builds(
        lambda changes: replace(ROW, **changes),
        st.dictionaries(st.sampled_from(sorted(ROW.__dict__)), values, max_size=2),
    ),
    max_size=3,
)


def shown(result: Any) -> object:
    """Everything that an answer consists of."""
    errors = [
        (str(e.message), e.path, e.locations, type(e.original_error)) for e in result.errors or []
    ]
    return result.data, errors


async def executed(query: str, variables: Mapping[str, object]) -> ExecutionResult:
    """The executor's own answer."""
    result = execute(SCHEMA._schema, parse(query), variable_values=dict(variables))
    return await result if isawaitable(result) else result


@pytest.mark.parametrize("query", DOCUMENTS_OF_ROWS)
@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(found=rows)
@example(found=[replace(ROW, states="")])  # type: ignore[arg-type] - no list
def test_whatever_the_rows_are_the_answer_is_the_executors(
    monkeypatch: pytest.MonkeyPatch, query: str, found: list[EventStatsRow]
) -> None:
    async def answer(*_: object) -> EventStats:
        return EventStats(rows=found, suppressed_rows=0, notes=["a note"])

    monkeypatch.setattr("signal_pipeline.api.graphql.schema.event_stats", answer)
    ours = asyncio.run(DOCUMENTS.run(Call(query, {}, None), None))  # type: ignore[arg-type]
    assert shown(ours) == shown(asyncio.run(executed(query, {})))


def test_an_answer_about_the_schema_is_the_executors() -> None:
    query = "{ __schema { types { name fields { name args { name } } } } }"
    ours = asyncio.run(DOCUMENTS.run(Call(query, {}, None), None))  # type: ignore[arg-type]
    assert shown(ours) == shown(asyncio.run(executed(query, {})))


@pytest.mark.parametrize("fields", ["__typename", "id @skip(if: true)", "__typename id", "id"])
def test_an_event_that_is_not_stored_is_null_whatever_is_selected(
    monkeypatch: pytest.MonkeyPatch, fields: str
) -> None:
    async def create(*_: object) -> list[None]:
        return [None, None]

    monkeypatch.setattr("signal_pipeline.api.graphql.schema.create_events", create)
    query = f"mutation {{ eventCreateMany(input: []) {{ {fields} }} }}"
    ours = asyncio.run(DOCUMENTS.run(Call(query, {}, None), None))  # type: ignore[arg-type]
    assert ours == ExecutionResult({"eventCreateMany": [None, None]}, None)


def test_rows_are_read_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The executor does not come to the fields of rows, which is what makes them fast."""

    async def answer(*_: object) -> EventStats:
        return EventStats(rows=[ROW] * 3, suppressed_rows=0, notes=[])

    seen = []
    execute_field = PlainRows.execute_field

    def noted(self: Any, parent: Any, *arguments: Any) -> Any:
        seen.append(parent.name)
        return execute_field(self, parent, *arguments)

    monkeypatch.setattr("signal_pipeline.api.graphql.schema.event_stats", answer)
    monkeypatch.setattr(PlainRows, "execute_field", noted)
    asyncio.run(DOCUMENTS.run(Call(DOCUMENTS_OF_ROWS[0], {}, None), None))  # type: ignore[arg-type]
    assert seen == ["Query", "EventStats", "EventStats", "EventStats"]
