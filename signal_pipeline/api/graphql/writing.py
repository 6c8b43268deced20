"""The mutations `eventCreate` and `eventCreateMany`, which use the same ingest as files."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from functools import partial
from uuid import UUID

import msgspec
import strawberry
from strawberry import UNSET

from signal_pipeline.api.graphql.context import RequestContext
from signal_pipeline.api.graphql.types import Event, EventCreateInput, Json
from signal_pipeline.api.identity.callers import Authenticated
from signal_pipeline.api.identity.rate_limit import Hit
from signal_pipeline.api.identity.signature import canonical_json
from signal_pipeline.api.refusals import (
    MayBeStoredError,
    bad_input,
    forbidden,
    unauthenticated,
)
from signal_pipeline.api.spooling_ingest import Answer
from signal_pipeline.days.calendar import today_utc
from signal_pipeline.events.acceptance import (
    MAX_DESCRIPTION_BYTES,
    MAX_LINE_BYTES,
    OTHER_TYPE,
    UNKNOWN_APP,
)
from signal_pipeline.events.event import ABSENT, AcceptedEvent, Drop, IncomingEvent
from signal_pipeline.ingest.event_rows import new_event_id

logger = logging.getLogger(__name__)

MAX_EVENTS = 100  # In one request.
WARNING_SECONDS = 60.0
_warned_at = float("-inf")
# Held here, because the event loop would let the tasks be garbage-collected.
_giving_back: set[asyncio.Task[None]] = set()


async def create_event(context: RequestContext, event_input: EventCreateInput) -> Event | None:
    """Store one event, as `create_events` does."""
    return (await create_events(context, [event_input]))[0]


async def create_events(
    context: RequestContext, inputs: Sequence[EventCreateInput]
) -> list[Event | None]:
    """Store events, and return each of them, or None in place of one that this call did not store.

    `extensions.signal` says what became of every event. Raises ApiError for a caller who did not
    log in or is only an analyst, for too many events, and if the events are neither stored nor
    spooled in time.
    """
    uid = _check_allowed(context)
    _count_sent(context, len(inputs))
    if not inputs:
        return []
    hits: list[Hit] = []
    try:
        checked = [await _check(context, uid, event_input, hits) for event_input in inputs]
        answers = await context.services.commits.store(checked)
    except MayBeStoredError as error:
        # Until then the hits stay counted, or more events than the limit could be stored.
        error.is_stored.add_done_callback(partial(_give_back_if_lost, context, hits))
        raise
    except Exception:
        # Otherwise the retries that the error asks for would use up the limit of the person.
        await context.services.rate_limit.give_back(hits)
        raise
    context.answers += answers
    _warn_of_address_gaps(checked)
    return [
        _stored_event(context, item, answer) for item, answer in zip(checked, answers, strict=True)
    ]


def _give_back_if_lost(
    context: RequestContext, hits: list[Hit], is_stored: asyncio.Future[bool]
) -> None:
    if not is_stored.result():
        task = asyncio.ensure_future(context.services.rate_limit.give_back(hits))
        _giving_back.add(task)
        task.add_done_callback(_giving_back.discard)


def _check_allowed(context: RequestContext) -> str:
    """Return the caller's user id. Raises ApiError if the caller cannot send events."""
    if not isinstance(context.caller, Authenticated):
        raise unauthenticated("log in to send events")
    # Reports leave out rows of too few people. An analyst who sends events with several user agents
    # counts as several people, and could thereby bring any such row over the limit.
    if context.caller.roles == {"analyst"}:
        raise forbidden(
            "analysts cannot send events: they could add people to a row that is left out as too"
            " small"
        )
    return context.caller.uid


def _count_sent(context: RequestContext, events: int) -> None:
    """Count the events of this request. Raises ApiError if they are too many."""
    context.events_sent += events
    if context.events_sent > MAX_EVENTS:
        raise bad_input(f"more than {MAX_EVENTS} events in one request")


async def _check(
    context: RequestContext, uid: str, event_input: EventCreateInput, hits: list[Hit]
) -> AcceptedEvent | Drop:
    """Apply the rules of acceptance, then the rate limit (requirement 3, in its order).

    Adds the hit to `hits` if the limit lets the event through.
    """
    event = _incoming_event(context, event_input)
    if event is None:
        return Drop("malformed", today_utc(), UNKNOWN_APP, OTHER_TYPE)
    item = context.services.ingest.check(event)
    if isinstance(item, Drop):
        return item
    hit = await context.services.rate_limit.hit(uid, item.day)
    if hit is None:
        return Drop("rate_limited", item.day, item.app_name, item.event_type, item.event_type)
    hits.append(hit)
    return msgspec.structs.replace(item, id=new_event_id(item.created_at))


def _warn_of_address_gaps(checked: Sequence[AcceptedEvent | Drop]) -> None:
    """Log, at most once a minute, that events come without a valid address.

    `signal.address_gaps` counts all such events.
    """
    global _warned_at
    gaps = {item.address for item in checked if isinstance(item, AcceptedEvent)} - {"given"}
    if gaps and time.monotonic() - _warned_at > WARNING_SECONDS:
        _warned_at = time.monotonic()
        logger.warning(
            "events arrive with a %s address: check x-forwarded-for and SIGNAL_TRUSTED_PROXIES",
            " or ".join(sorted(gaps)),
        )


def _incoming_event(context: RequestContext, event_input: EventCreateInput) -> IncomingEvent | None:
    """Return an event with what the server saw of its caller, or None if it is malformed.

    As in a landing line, an event is malformed if a text holds half a surrogate pair, or if it has
    more than MAX_LINE_BYTES.
    """
    event = IncomingEvent(
        event_type=event_input.event_type,
        app_name=event_input.app_name,
        route=_or_none(event_input.route),
        entity_type=_or_none(event_input.entity_type),
        entity_id=_or_none(event_input.entity_id),
        session_id=_or_none(event_input.session_id),
        description=_description_json(event_input.description),
        client_event_id=event_input.client_event_id,
        host=context.host,
        ip=context.address,
        user_agent=context.user_agent,
    )
    texts = (
        event.event_type,
        event.app_name,
        event.route,
        event.entity_type,
        event.entity_id,
        event.session_id,
        event.client_event_id,
        event.ip,
        event.user_agent,
    )
    try:
        size = len("".join(filter(None, texts)).encode()) + len(bytes(event.description))
    except UnicodeEncodeError:
        return None
    return event if size <= MAX_LINE_BYTES else None


def _or_none(text: str | None) -> str | None:
    return None if text is UNSET else text


def _description_json(description: object) -> msgspec.Raw:
    """Return a description as JSON, with its numbers as they were written."""
    if description is None or description is UNSET:
        return ABSENT
    try:
        return msgspec.Raw(canonical_json(_replace_if_too_large(description)).encode())
    # The description is nested too deep, or it has a number that JSON cannot hold: in the query's
    # own text, a number such as 1e999 becomes infinity. The empty list takes the description's
    # place, so that acceptance drops the event for an invalid field.
    except (ValueError, RecursionError):
        return msgspec.Raw(b"[]")


def _replace_if_too_large(description: object) -> object:
    """Return a description, or a small one in place of a huge one that has to be refused anyway.

    Encoding takes time in proportion to the size of a description, and one variable can be used in
    every event of a request. Each value and each letter is at least one byte of JSON, so acceptance
    would refuse everything that is replaced here. Acceptance refuses the replacement as well, and
    for the same reason: the size of an object, or the type of anything else. Only a huge
    description that holds a NUL or half a surrogate pair would have been refused for another
    reason, namely for that character.
    """
    waiting, left = [description], MAX_DESCRIPTION_BYTES
    while waiting:
        value = waiting.pop()
        left -= len(value) if isinstance(value, str | dict | list) else 1
        if left < 0:
            return {"": "x" * MAX_DESCRIPTION_BYTES} if isinstance(description, dict) else []
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, list):
            waiting += value
    return description


def _stored_event(
    context: RequestContext, item: AcceptedEvent | Drop, answer: Answer
) -> Event | None:
    """Return the event as its sender sees it, or None if this call did not store it."""
    if answer.kind != "accepted":
        return None
    assert isinstance(item, AcceptedEvent)
    assert item.id is not None
    return Event(
        id=strawberry.ID(str(UUID(bytes=item.id))),
        created_at=item.created_at,
        app_name=item.app_name,
        event_type=item.event_type,
        route=item.route,
        entity_type=item.entity_type,
        entity_id=None if item.entity_id is None else strawberry.ID(item.entity_id),
        user_hash=item.user_hash.hex() if context.is_admin else None,
        session_id=None if item.session_id is None else strawberry.ID(item.session_id.lower()),
        device_type=item.device_type,
        browser_family=item.browser_family,
        os_family=item.os_family,
        client_event_id=strawberry.ID(item.client_event_id),
        description=None if item.description is None else Json(msgspec.Raw(item.description)),
    )
