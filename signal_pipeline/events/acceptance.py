"""Acceptance, which decides what becomes of one incoming event (requirements 3.1 to 3.6).

It is pure: it needs neither a database nor Dagster. The result is an `AcceptedEvent` without
address or user agent, ready to store, or a `Drop` with its reason. The API applies the rate limit
(step 7), and the ingest stores the event (step 8).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cache
from typing import NamedTuple

import fastjsonschema
import msgspec

from signal_pipeline.catalogue.load import Catalogue
from signal_pipeline.events.addresses import canonical_ip
from signal_pipeline.events.event import (
    ABSENT,
    AcceptedEvent,
    Address,
    Drop,
    IncomingEvent,
    Line,
    Reason,
)
from signal_pipeline.events.form import (
    NOT_JSON,
    Refused,
    decode_json,
    stated_host,
    stored_description,
    stored_id,
    stored_route,
)
from signal_pipeline.events.hashing import DayHasher
from signal_pipeline.events.ids import is_entity_id, stored_spelling
from signal_pipeline.events.pii import holds_pii
from signal_pipeline.events.times import date_or_none, time_of, time_of_json
from signal_pipeline.events.user_agents import UserAgent, parse_user_agent

MAX_DESCRIPTION_BYTES = 2_048
MAX_LINE_BYTES = 256 * 1024
CLOCK_SKEW = timedelta(minutes=5)
UNKNOWN_APP = "(unknown)"
OTHER_TYPE = "(other)"
KEPT_HASHERS = 512  # The most days whose hashers stay in memory; the usual retention has 180.

_decode_line = msgspec.json.Decoder(Line).decode
_canonical_json = msgspec.json.Encoder(order="deterministic").encode
_PLAIN_NAME = re.compile(r"[a-z0-9_]{1,64}")


class _Steps(NamedTuple):
    """The slow steps, whose arguments repeat in a batch: a visitor sends several events."""

    description: Callable[[bytes], bytes | None]
    session_id: Callable[[str | None], str | None]
    entity_id: Callable[[str | None, str | None], str | None]
    check_description: Callable[[str, bytes], None]
    user_hash: Callable[[date, str, str | None, str], tuple[bytes, Address]]

    def cached(self) -> _Steps:
        """Return the steps with new caches.

        Drop these steps with the batch, because their caches have no bound, and hold addresses and
        descriptions.
        """
        return _Steps._make(cache(step) for step in self)


class Acceptance:
    """The rules of one catalogue, one secret, one start date and one retention."""

    def __init__(
        self, catalogue: Catalogue, secret: bytes, start_date: date, retention_days: int
    ) -> None:
        self._secret = secret
        self._start_date = start_date
        self._retention = timedelta(days=retention_days)
        self._hashers: dict[date, DayHasher] = {}
        # The bounds of time at `_now`. They are kept, because a whole batch is checked at one time.
        self._now = self._latest = datetime.min.replace(tzinfo=UTC)
        self._first_day = date.max
        self.catalogue = catalogue
        self._types = {name for name, entry in catalogue.event_types.items() if not entry.retired}
        self._all_types = set(catalogue.event_types)
        self._hosts = {name: app.host for name, app in catalogue.apps.items() if not app.retired}
        self._all_apps = set(catalogue.apps)
        self._entity_formats = {
            name: re.compile(catalogue.id_formats[entry.id_format])
            for name, entry in catalogue.entity_types.items()
            if not entry.retired
        }
        self._schemas: Mapping[str, Callable[[object], object]] = {
            name: fastjsonschema.compile(dict(entry.description_schema), use_default=False)
            for name, entry in catalogue.event_types.items()
            if entry.description_schema is not None
        }
        self._steps = _Steps(
            stored_description, stored_id, self._entity_id, self._check_description, self._user_hash
        )

    def check_lines(self, lines: Iterable[bytes], now: datetime) -> list[AcceptedEvent | Drop]:
        """Check the NDJSON lines of a batch, without the blank ones.

        `now` is the time of the server's clock, aware and in UTC.
        """
        check, steps = self._check_line, self._steps.cached()
        return [check(line, now, steps) for line in lines if line and not line.isspace()]

    def check_line(self, line: bytes, now: datetime) -> AcceptedEvent | Drop:
        """Check one NDJSON line; `now` is the time of the server's clock."""
        return self._check_line(line, now, self._steps)

    def check(self, event: IncomingEvent, now: datetime) -> AcceptedEvent | Drop:
        """Check one event; `now` is the time of the server's clock, aware and in UTC."""
        return self._check(event, now, self._steps)

    def _check_line(self, line: bytes, now: datetime, steps: _Steps) -> AcceptedEvent | Drop:
        if len(line) > MAX_LINE_BYTES:
            return Drop("malformed", now.date(), UNKNOWN_APP, OTHER_TYPE)
        try:
            stated = _decode_line(line)
            event: IncomingEvent = stated
            event.created_at = time_of_json(stated.created_at)
        except NOT_JSON as error:
            return self._drop_undecodable(line, error, now)
        return self._check(event, now, steps)

    def _check(self, event: IncomingEvent, now: datetime, steps: _Steps) -> AcceptedEvent | Drop:
        try:
            return self._accept(event, now, steps)
        except Refused as refusal:
            drop = self.drop(refusal.reason, event, now)
            return drop if refusal.bot is None else _with_buckets(drop, refusal.bot)

    def drop(self, reason: Reason, event: IncomingEvent, now: datetime) -> Drop:
        """Return the drop of `event` for the books.

        It is counted on the event's own day if that is between the start date and today, else on
        the day of `now`.
        """
        return self._drop_of(reason, event.event_type, event.app_name, event.created_at, now)

    def _drop_of(
        self, reason: Reason, event_type: object, app: object, at: datetime | None, now: datetime
    ) -> Drop:
        day = today = now.date()
        if at is not None and date_or_none(at) is not None:
            day = at.astimezone(UTC).date()
        return Drop(
            reason,
            day if self._start_date <= day <= today else today,
            app if isinstance(app, str) and app in self._all_apps else UNKNOWN_APP,
            event_type
            if isinstance(event_type, str) and event_type in self._all_types
            else OTHER_TYPE,
            event_type if isinstance(event_type, str) and _PLAIN_NAME.fullmatch(event_type) else "",
        )

    def _drop_undecodable(self, line: bytes, error: Exception, now: datetime) -> Drop:
        """Return the drop of a line that is not an event.

        It is still counted under the event type, app and day that can be read from it.
        """
        if not isinstance(error, msgspec.ValidationError):
            return self._drop_of("malformed", None, None, None, now)
        try:
            fields = decode_json(line)
        except NOT_JSON:
            return self._drop_of("malformed", None, None, None, now)
        if not isinstance(fields, dict):
            return self._drop_of("malformed", None, None, None, now)
        try:
            at = time_of(fields.get("createdAt"))
        except msgspec.ValidationError:
            at = None
        return self._drop_of(
            "invalid_field", fields.get("eventType"), fields.get("appName"), at, now
        )

    def _accept(self, event: IncomingEvent, now: datetime, steps: _Steps) -> AcceptedEvent:
        """Take the steps of requirement 3, in its order; the first that fails raises Refused."""
        # 1. The form of every field.
        route = stored_route(event.route)
        raw = event.description
        description = None if raw is ABSENT else steps.description(bytes(raw))
        session_id = steps.session_id(event.session_id)
        client_event_id = stored_id(event.client_event_id)
        if client_event_id is None and event.created_at is None:
            raise Refused("invalid_field")
        host = stated_host(event.host)
        # 2. and 3. What the catalogue knows. A function for this would make an event 1 % slower.
        event_type, app_name = event.event_type, event.app_name
        if event_type not in self._types:
            raise Refused("unknown_event_type")
        if app_name not in self._hosts:
            raise Refused("unknown_app")
        host = host or self._hosts[app_name]
        entity_id = steps.entity_id(event.entity_type, event.entity_id)
        # 4. The description.
        if description is not None:
            steps.check_description(event_type, description)
        # 5. Bots.
        agent = parse_user_agent(event.user_agent)
        if agent.bot:
            raise Refused("bot", agent)
        # 6. The time.
        created_at, day = self._time(event.created_at, now)
        # 7. The rate limit is the API's. 8. The hash; the ingest stores the event.
        user_hash, address = steps.user_hash(day, host, event.ip, agent.normalised)
        if client_event_id is None:
            client_event_id = str(
                self._hasher(day).event_id(_canonical_line(event, created_at, description))
            )
        return AcceptedEvent(
            day,
            created_at,
            app_name,
            event_type,
            route,
            event.entity_type,
            entity_id,
            user_hash,
            session_id,
            agent.device_type,
            agent.browser_family,
            agent.os_family,
            client_event_id,
            description,
            address,
        )

    def _entity_id(self, entity_type: str | None, entity_id: str | None) -> str | None:
        if entity_type is None and entity_id is None:
            return None
        if entity_type is None or entity_id is None or entity_type not in self._entity_formats:
            raise Refused("invalid_entity")
        stored = stored_spelling(entity_id)
        if not is_entity_id(stored, self._entity_formats[entity_type]):
            raise Refused("invalid_entity")
        return stored

    def _check_description(self, event_type: str, text: bytes) -> None:
        if len(text) > MAX_DESCRIPTION_BYTES:
            raise Refused("description_too_large")
        description = decode_json(text)
        if holds_pii(description):
            raise Refused("description_pii")
        try:
            if schema := self._schemas.get(event_type):
                schema(description)
        # ArithmeticError: a number too large for `multipleOf`. RecursionError: a `$ref` that leads
        # back to itself.
        except (fastjsonschema.JsonSchemaValueException, ArithmeticError, RecursionError):
            raise Refused("description_schema") from None

    def _time(self, stated: datetime | None, now: datetime) -> tuple[datetime, date]:
        if stated is None:
            return now, now.date()
        if now is not self._now:
            self._now = now
            self._latest = now + CLOCK_SKEW
            self._first_day = max(self._start_date, now.date() - self._retention)
        if stated > self._latest:
            raise Refused("in_future")
        day = date_or_none(stated)
        if day is None or day < self._first_day:
            raise Refused("too_late")
        return (stated if stated.tzinfo is UTC else stated.astimezone(UTC)), day

    def _user_hash(
        self, day: date, host: str, stated_ip: str | None, normalised_ua: str
    ) -> tuple[bytes, Address]:
        ip = canonical_ip(stated_ip)
        user_hash = self._hasher(day).user_hash(host, ip, normalised_ua)
        if ip:
            return user_hash, "given"
        return user_hash, "invalid" if (stated_ip or "").strip() else "missing"

    def _hasher(self, day: date) -> DayHasher:
        hasher = self._hashers.get(day)
        if hasher is None:
            if len(self._hashers) >= KEPT_HASHERS:
                self._hashers.clear()
            hasher = self._hashers[day] = DayHasher(self._secret, day)
        return hasher


def _with_buckets(drop: Drop, bot: UserAgent) -> Drop:
    return msgspec.structs.replace(
        drop,
        browser_family=bot.browser_family,
        os_family=bot.os_family,
        device_type=bot.device_type,
    )


def _canonical_line(event: IncomingEvent, created_at: datetime, description: bytes | None) -> bytes:
    """Return the same text for every JSON spelling of a line, so that a replay derives the same id.

    Spellings can differ in the order of the keys, the spaces, the escapes, and the offset of the
    time.
    """
    fields = msgspec.structs.asdict(event)
    fields["created_at"] = created_at
    fields["description"] = description and decode_json(description)
    return _canonical_json(fields)
