"""The schema: root fields, limits on documents, and the rule that errors tell nothing of a request."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Annotated, Any

import strawberry
from graphql import (
    DocumentNode,
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValidationContext,
)
from graphql.validation import ASTValidationRule, ValidationRule
from strawberry.extensions import AddValidationRules, MaxTokensLimiter, ParserCache, SchemaExtension, ValidationCache
from strawberry.federation.schema_directives import Link
from strawberry.schema.config import StrawberryConfig
from strawberry.types import ExecutionContext

from signal_pipeline.api.context import RequestContext
from signal_pipeline.api.reading import DEFAULT_EVENTS, read_events
from signal_pipeline.api.stats import event_stats, filters_of, question
from signal_pipeline.api.types import (
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
from signal_pipeline.api.writing import create_events

FEDERATION = "https://specs.apollo.dev/federation/v2.6"
MAX_TOKENS = 2_000
MAX_ALIASES = 40  # The gateway adds one per root field when it merges requests.
MAX_SPREADS = 10
MAX_DEPTH = 16  # A usual introspection query has 14.
CACHED_DOCUMENTS = 256

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
    wanted = filters_of(filter, app or None, event_type or None)
    return await event_stats(info.context, question(first, last, by or None, group_by or None, period or None, wanted))


async def _event_create(info: Info, input: EventCreateInput) -> Event | None:
    return (await create_events(info.context, [input]))[0]


async def _event_create_many(info: Info, input: list[EventCreateInput]) -> list[Event | None]:
    return await create_events(info.context, input)


@strawberry.type
class Query:
    """What can be read."""

    events: list[Event] = strawberry.field(
        resolver=_events, description="Raw events, newest first; for admins. `limit` is clamped to 1..1000."
    )
    event_stats: EventStats = strawberry.field(
        resolver=_event_stats,
        description=(
            "Aggregates of the days `from` to `to`, inclusive: of a rollup (`by`), or counted exactly from raw events"
            " (`groupBy`). Below admin, rows under five users and totals that would give them back are left out."
        ),
    )


@strawberry.type
class Mutation:
    """What can be sent."""

    event_create: Event | None = strawberry.field(
        resolver=_event_create,
        description="Record one event. Null when this call stored nothing: `extensions.signal` says why.",
    )
    event_create_many: list[Event | None] = strawberry.field(
        resolver=_event_create_many,
        description="Record up to 100 events; one entry each, null where nothing was stored.",
    )


class _Schema(strawberry.federation.Schema):
    def process_errors(self, errors: list[GraphQLError], execution_context: ExecutionContext | None = None) -> None:
        """Log nothing: messages of errors repeat values. What failed is logged by `answers.py`, by kind."""


def build_schema(*, introspection: bool) -> strawberry.federation.Schema:
    """The schema; without introspection `__schema`, `__type` and `_service` are refused."""
    rules: list[type[ASTValidationRule]] = [_Limits] if introspection else [_Limits, _NoIntrospection]
    # Factories, since an extension belongs to one request; the rules are built once, so that validation can be cached.
    extensions: list[Callable[[], SchemaExtension]] = [
        lambda: MaxTokensLimiter(MAX_TOKENS),
        lambda: ParserCache(CACHED_DOCUMENTS),
        lambda: AddValidationRules(rules),
        lambda: ValidationCache(CACHED_DOCUMENTS),
    ]
    return _Schema(
        query=Query,
        mutation=Mutation,
        extensions=extensions,
        config=StrawberryConfig(scalar_map=SCALARS, disable_field_suggestions=True),
        schema_directives=[Link(url=FEDERATION, import_=[])],
        federation_version="2.6",
    )


def sdl() -> str:
    """The subgraph's SDL, as a federation composer takes it."""
    return build_schema(introspection=False).as_str() + "\n"


class _Limits(ASTValidationRule):
    """One operation, and bounds on what a document may ask. Fragments are bounded, never expanded."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        counted = _count(context.document)
        for name, most in (
            ("operations", 1),
            ("aliases", MAX_ALIASES),
            ("fragments", MAX_SPREADS),
            ("depth", MAX_DEPTH),
        ):
            if counted[name] > most:
                self.report_error(GraphQLError(f"too many {name}", extensions={"safe": f"at most {most} {name}"}))


def _count(document: DocumentNode) -> dict[str, int]:
    counts = {"operations": 0, "aliases": 0, "fragments": 0, "depth": 0}
    waiting: list[tuple[SelectionSetNode, int]] = []
    for definition in document.definitions:
        counts["operations"] += isinstance(definition, OperationDefinitionNode)
        selections = getattr(definition, "selection_set", None)
        if selections is not None:
            waiting.append((selections, 1))
    while waiting:
        selections, depth = waiting.pop()
        counts["depth"] = max(counts["depth"], depth)
        for node in selections.selections:
            counts["fragments"] += isinstance(node, FragmentSpreadNode)
            if isinstance(node, FieldNode | InlineFragmentNode):
                counts["aliases"] += isinstance(node, FieldNode) and node.alias is not None
                if node.selection_set is not None:
                    waiting.append((node.selection_set, depth + 1))
    return counts


class _NoIntrospection(ValidationRule):
    """Production tells nobody its schema."""

    def enter_field(self, node: FieldNode, *_: Any) -> None:  # Any: graphql-core's visitor passes four more things.
        if node.name.value in ("__schema", "__type", "_service"):
            self.report_error(
                GraphQLError("introspection is off", node, extensions={"safe": "introspection is off in production"})
            )
