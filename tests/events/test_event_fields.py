"""The fields of an event are the same everywhere.

`dbt_like_sql/sources.yml` describes the columns of `signal.events`. Everything that spells them out
once more, because a database administrator or a GraphQL client reads it, is held to that list.
"""

from __future__ import annotations

import dataclasses
import re

import pytest

from signal_pipeline.api.graphql import types
from signal_pipeline.events.event import AcceptedEvent, IncomingEvent
from signal_pipeline.ingest.event_rows import EVENT_COLUMNS
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query
from signal_pipeline.reports.newest_events import FILTERS, RawEvent
from signal_pipeline.rollups.models import event_columns

COLUMNS = [column.name for column in event_columns()]
SEEN_BY_THE_SERVER = {"created_at", "host", "ip", "user_agent"}
NOT_STORED = {"day", "address"}


def camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


def fields(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]


@pytest.mark.embedded_only
def test_the_table_has_the_described_columns(connection: Connection) -> None:
    rows = connection.execute(
        "select column_name from information_schema.columns"
        " where table_schema = 'signal' and table_name = 'events'"
    ).fetchall()
    assert {name for (name,) in rows} == set(COLUMNS)


def test_an_accepted_event_has_every_column() -> None:
    assert set(AcceptedEvent.__struct_fields__) - NOT_STORED == set(COLUMNS)
    assert sorted(EVENT_COLUMNS) == sorted(COLUMNS)


def test_a_raw_event_has_every_column() -> None:
    assert sorted(RawEvent._fields) == sorted(COLUMNS)
    assert set(FILTERS) < set(COLUMNS)
    assert fields(types.EventFilter) - {"created_at_gte", "created_at_lte"} == set(FILTERS)


@pytest.mark.parametrize("name", ["newest_events", "newest_events_by_type"])
def test_a_raw_event_is_filled_in_the_order_of_its_query(name: str) -> None:
    lists = re.findall(
        r"(?s)select\s+(id,.*?)\s+from", query("signal_pipeline.reports", name), flags=re.IGNORECASE
    )
    assert lists
    for text in lists:
        listed = [re.sub(r"^\w+\.|::\w+$", "", column) for column in re.split(r",\s*", text)]
        assert tuple(listed) == RawEvent._fields


def test_an_export_names_every_column() -> None:
    exported = re.findall(r"'(\w+)',", query("signal_pipeline.privacy", "subject_events"))
    assert set(map(camel, COLUMNS)) <= set(exported)


def test_the_wire_has_every_field() -> None:
    assert fields(types.Event) == set(COLUMNS)
    assert set(IncomingEvent.__struct_fields__) - SEEN_BY_THE_SERVER == fields(
        types.EventCreateInput
    )
