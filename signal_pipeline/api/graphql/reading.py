"""The query `events`: raw events for admins (requirement 6.3)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from datetime import datetime

import msgspec
import strawberry

from signal_pipeline.api.graphql.context import RequestContext, Services
from signal_pipeline.api.graphql.event_filters import filter_fields, text_filters
from signal_pipeline.api.graphql.types import Event, EventFilter, Json
from signal_pipeline.api.identity.callers import Authenticated
from signal_pipeline.api.refusals import forbidden
from signal_pipeline.privacy import audit_log
from signal_pipeline.reports.newest_events import FILTERS, RawEvent, newest_events

DEFAULT_EVENTS = 100
MAX_EVENTS = 1_000
READ_SECONDS = 10.0
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


async def read_events(
    context: RequestContext, event_filter: EventFilter | None, limit: int | None
) -> list[Event]:
    """Return the newest events that match; `limit` is clamped to 1..1000.

    Raises ApiError for anybody but an admin.
    """
    if not context.is_admin:
        raise forbidden("raw events are for admins only")
    fields = filter_fields(event_filter)
    filters = text_filters(fields, FILTERS)
    if "session_id" in filters and not _UUID.fullmatch(filters["session_id"]):
        return []
    assert isinstance(context.caller, Authenticated)
    rows = await asyncio.get_running_loop().run_in_executor(
        context.services.readers,
        _audited_read,
        context.services,
        context.caller.uid,
        filters,
        fields.get("created_at_gte"),
        fields.get("created_at_lte"),
        min(max(DEFAULT_EVENTS if limit is None else limit, 1), MAX_EVENTS),
    )
    return [_event(row) for row in rows]


def _audited_read(
    services: Services,
    uid: str,
    filters: Mapping[str, str],
    earliest: datetime | None,
    latest: datetime | None,
    limit: int,
) -> list[RawEvent]:
    """Read events, and record in the audit log who read how many rows, but not the filters."""
    rows = newest_events(services.database, filters, earliest, latest, limit, READ_SECONDS)
    with services.database.connect() as connection:
        audit_log.record_read(connection, services.actor(f"uid:{uid}"), len(rows))
    return rows


def _event(row: RawEvent) -> Event:
    return Event(
        id=strawberry.ID(str(row.id)),
        created_at=row.created_at,
        app_name=row.app_name,
        event_type=row.event_type,
        route=row.route,
        entity_type=row.entity_type,
        entity_id=None if row.entity_id is None else strawberry.ID(row.entity_id),
        user_hash=row.user_hash.hex(),
        session_id=None if row.session_id is None else strawberry.ID(str(row.session_id)),
        device_type=row.device_type,
        browser_family=row.browser_family,
        os_family=row.os_family,
        client_event_id=strawberry.ID(str(row.client_event_id)),
        description=(
            None if row.description is None else Json(msgspec.Raw(row.description.encode()))
        ),
    )
