"""The root fields of the schema.

Types are in `types.py`; the code that checks and runs a document is in `documents.py`.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated

import strawberry
from strawberry.federation.schema_directives import Link
from strawberry.schema.config import StrawberryConfig

from signal_pipeline.api.graphql.context import RequestContext
from signal_pipeline.api.graphql.reading import DEFAULT_EVENTS, read_events
from signal_pipeline.api.graphql.stats import event_stats, parse_stats_question, question_filters
from signal_pipeline.api.graphql.types import (
    SCALARS,
    Event,
    EventCreateInput,
    EventFilter,
    EventStats,
    StatsBy,
    StatsFilter,
    StatsKey,
    StatsPeriod,
)
from signal_pipeline.api.graphql.writing import create_event, create_events

FEDERATION = "https://specs.apollo.dev/federation/v2.6"

Info = strawberry.Info[RequestContext, None]


async def _events(
    info: Info, filter: EventFilter | None = strawberry.UNSET, limit: int | None = DEFAULT_EVENTS
) -> list[Event]:
    return await read_events(info.context, filter or None, limit)


async def _event_stats(
    info: Info,
    first: Annotated[date, strawberry.argument(name="from")],
    last: Annotated[date, strawberry.argument(name="to")],
    by: StatsBy | None = strawberry.UNSET,
    group_by: list[StatsKey] | None = strawberry.UNSET,
    period: StatsPeriod | None = strawberry.UNSET,
    app: str | None = strawberry.UNSET,
    event_type: str | None = strawberry.UNSET,
    filter: StatsFilter | None = strawberry.UNSET,
) -> EventStats:
    filters = question_filters(filter, app, event_type)
    question = parse_stats_question(
        first, last, by or None, group_by or None, period or None, filters
    )
    return await event_stats(info.context, question)


async def _event_create(info: Info, input: EventCreateInput) -> Event | None:
    return await create_event(info.context, input)


async def _event_create_many(info: Info, input: list[EventCreateInput]) -> list[Event | None]:
    return await create_events(info.context, input)


@strawberry.type
class Query:
    """What can be read."""

    events: list[Event] = strawberry.field(
        resolver=_events,
        description="Raw events, newest first, for admins only. `limit` is clamped to 1..1000.",
    )
    event_stats: EventStats = strawberry.field(
        resolver=_event_stats,
        description=(
            "Aggregates of the days `from` to `to`, inclusive: from a rollup (`by`), or counted"
            " exactly from raw events (`groupBy`). For callers who are not admins, rows with fewer"
            " than five users are left out, and so are totals that would reveal them."
        ),
    )


@strawberry.type
class Mutation:
    """What can be sent."""

    event_create: Event | None = strawberry.field(
        resolver=_event_create,
        description=(
            "Record one event. Null if this call stored nothing: `extensions.signal` says why."
        ),
    )
    event_create_many: list[Event | None] = strawberry.field(
        resolver=_event_create_many,
        description="Record up to 100 events. Returns one entry for each, null if not stored.",
    )


def build_schema() -> strawberry.federation.Schema:
    """Build the subgraph's schema."""
    return strawberry.federation.Schema(
        query=Query,
        mutation=Mutation,
        config=StrawberryConfig(scalar_map=SCALARS),
        schema_directives=[Link(url=FEDERATION, import_=[])],
        federation_version="2.6",
    )


def sdl() -> str:
    """Return the subgraph's SDL, as a federation composer takes it."""
    return build_schema().as_str() + "\n"
