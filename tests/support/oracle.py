"""An independent oracle: what must be stored, counted and rolled up, from NDJSON lines.

It is plain Python, and shares with the package only the pure rules that have oracles of their own:
user-agent buckets, PII, route templates. It works out the decoding, the order of the checks, the
HMACs, the books and the aggregates a second time, for clarity and not for speed.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd
import yaml

from signal_pipeline.events.pii import holds_pii
from signal_pipeline.events.routes import route_template
from signal_pipeline.events.user_agents import parse_user_agent

CATALOGUE: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[2] / "signal_pipeline" / "catalogue" / "catalogue.yaml").read_text(
        encoding="utf-8"
    )
)
DIMENSIONS = {
    "daily_app_activity": [],
    "daily_browser_activity": ["browser_family"],
    "daily_device_activity": ["device_type"],
    "daily_entity_activity": ["entity_type", "entity_id"],
    "daily_os_activity": ["os_family"],
    "daily_route_activity": ["route"],
}
TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:?\d\d)", re.ASCII
)
TEXT_FIELDS = ("route", "entityType", "entityId", "host", "ip", "userAgent")
Entry = tuple[date, str, str, str, str]
Receipt = tuple[date, str, str, str]
Bot = tuple[date, str, str, str, str]
Row = tuple[object, ...]


class _Refused(Exception):
    pass


class _BotRefused(_Refused):
    def __init__(self, browser: str, system: str, device: str) -> None:
        super().__init__("bot")
        self.buckets = browser, system, device


class Oracle:
    """Takes lines in the order of their arrival, and knows the outcome of each."""

    def __init__(self, secret: str, start_date: date, retention_days: int = 180) -> None:
        self._secret = secret.encode()
        self._start_date = start_date
        self._retention_days = retention_days
        self.events: dict[str, dict[str, Any]] = {}
        self.books: Counter[Entry] = Counter()
        self.intake: Counter[Receipt] = Counter()
        self.bots: Counter[Bot] = Counter()

    def take(self, lines: Iterable[bytes], now: datetime) -> None:
        """Count lines that arrive at `now`; blank lines do not count."""
        for line in lines:
            if line.strip():
                self._take(line, now)

    @property
    def counts(self) -> dict[str, object]:
        """The output that `ingest --json` must print."""
        kinds: Counter[str] = Counter()
        dropped: Counter[str] = Counter()
        for (_, _, _, outcome, reason), events in self.books.items():
            kinds[outcome] += events
            if reason:
                dropped[reason] += events
        return {
            "received": self.books.total(),
            "accepted": kinds["accepted"],
            "duplicate": kinds["duplicate"],
            "dropped": dict(sorted(dropped.items())),
        }

    def days(self) -> list[date]:
        """The days that hold events."""
        return sorted({event["created_at"].date() for event in self.events.values()})

    def rows(self, rollup: str, day: date) -> set[Row]:
        """The rows that a rollup must hold of one day, columns in the order of its table."""
        return rollup_rows(
            (event for event in self.events.values() if event["created_at"].date() == day),
            rollup,
            day,
        )

    def _take(self, line: bytes, now: datetime) -> None:
        try:
            fields = json.loads(line)
            assert isinstance(fields, dict)
        except (ValueError, AssertionError):
            self._count((now.date(), "(unknown)", "(other)", "dropped", "malformed"), now)
            return
        at = _time(fields.get("createdAt"))
        day = at.date() if at and self._start_date <= at.date() <= now.date() else now.date()
        app = _word(fields.get("appName"), CATALOGUE["apps"], "(unknown)")
        event_type = _word(fields.get("eventType"), CATALOGUE["event_types"], "(other)")
        try:
            key, event = self._event(fields, at, now)
        except _Refused as refused:
            self._count((day, app, event_type, "dropped", str(refused)), now)
            if isinstance(refused, _BotRefused):
                self.bots[day, app, *refused.buckets] += 1
            return
        outcome = "duplicate" if key in self.events else "accepted"
        self.events.setdefault(key, event)
        self._count((event["created_at"].date(), app, event_type, outcome, ""), now)

    def _count(self, entry: Entry, now: datetime) -> None:
        _, app, _, outcome, reason = entry
        self.books[entry] += 1
        self.intake[now.date(), app, outcome, reason] += 1

    def _event(
        self, fields: Mapping[str, Any], at: datetime | None, now: datetime
    ) -> tuple[str, dict[str, Any]]:
        _typed(fields, at)
        route = _template(fields.get("route"))
        if fields["eventType"] not in CATALOGUE["event_types"]:
            raise _Refused("unknown_event_type")
        if fields["appName"] not in CATALOGUE["apps"]:
            raise _Refused("unknown_app")
        entity_type, entity_id = fields.get("entityType"), fields.get("entityId")
        if (entity_type is None) != (entity_id is None):
            raise _Refused("invalid_entity")
        if entity_type is not None:
            if entity_type not in CATALOGUE["entity_types"] or not _is_uuid(entity_id):
                raise _Refused("invalid_entity")
            entity_id = entity_id.lower()
        description = fields.get("description")
        self._check_description(fields["eventType"], description)
        agent = parse_user_agent(fields.get("userAgent"))
        if agent.bot:
            raise _BotRefused(agent.browser_family, agent.os_family, agent.device_type)
        moment = at or now
        if moment.date() < self._start_date or moment.date() < now.date() - timedelta(
            days=self._retention_days
        ):
            raise _Refused("too_late")
        if moment > now + timedelta(minutes=5):
            raise _Refused("in_future")
        host = fields.get("host") or CATALOGUE["apps"][fields["appName"]]["host"]
        salt = _hmac(self._secret, moment.date().isoformat())
        stated = fields.get("clientEventId")
        key = (
            stated.lower()
            if stated
            else f"derived {json.dumps({**fields, 'createdAt': str(at)}, sort_keys=True)}"
        )
        return key, {
            "created_at": moment,
            "app_name": fields["appName"],
            "event_type": fields["eventType"],
            "route": route,
            "entity_type": entity_type,
            "entity_id": entity_id,
            "user_hash": _hmac(
                salt, "\x1f".join([_host(host), _address(fields.get("ip")), agent.normalised])
            ),
            "session_id": UUID(fields["sessionId"]) if fields.get("sessionId") else None,
            "device_type": agent.device_type,
            "browser_family": agent.browser_family,
            "os_family": agent.os_family,
            "client_event_id": UUID(stated) if stated else None,
            "description": description,
        }

    def _check_description(self, event_type: str, description: dict[str, Any] | None) -> None:
        if description is None:
            return
        if len(json.dumps(description, ensure_ascii=False, separators=(",", ":")).encode()) > 2048:
            raise _Refused("description_too_large")
        if holds_pii(description):
            raise _Refused("description_pii")
        if event_type == "ai_translation_language_picked":  # The one type with a schema.
            language = description.get("language")
            if not isinstance(language, str) or len(language) > 64:
                raise _Refused("description_schema")


def rollup_rows(events: Iterable[Mapping[str, Any]], rollup: str, day: date) -> set[Row]:
    """The rows of a rollup over the events of one day, counted by pandas."""
    frame = pd.DataFrame(list(events))
    if rollup == "daily_entity_activity" and len(frame):
        frame = frame[frame["entity_id"].notna()]
    if not len(frame):
        return set()
    frame["route"] = frame["route"].fillna("(none)")
    both = pd.concat([frame, frame.assign(event_type="(all)")])
    grouped = both.groupby(["app_name", "event_type", *DIMENSIONS[rollup]])
    counted = grouped.agg(
        events=("app_name", "size"),
        users=("user_hash", "nunique"),
        sessions=("session_id", "nunique"),
    )
    return {
        (day, *(key if isinstance(key, tuple) else (key,)), *map(int, numbers))
        for key, numbers in zip(
            counted.index, counted.itertuples(index=False, name=None), strict=True
        )
    }


def _typed(fields: Mapping[str, Any], at: datetime | None) -> None:
    texts = [fields.get(name) for name in TEXT_FIELDS]
    wrong = (
        not isinstance(fields.get("eventType"), str)
        or not isinstance(fields.get("appName"), str)
        or any(text is not None and not isinstance(text, str) for text in texts)
        or any(
            fields.get(name) is not None and not _is_uuid(fields[name])
            for name in ("sessionId", "clientEventId")
        )
        or (fields.get("createdAt") is not None and at is None)
        or (fields.get("clientEventId") is None and at is None)
        or not isinstance(fields.get("description"), dict | None)
        or "\\u0000" in json.dumps(fields.get("description"))
    )
    if wrong:
        raise _Refused("invalid_field")


def _template(route: str | None) -> str | None:
    if route is None:
        return None
    if not route.startswith("/") or len(route) > 256:
        raise _Refused("invalid_field")
    try:
        return route_template(route)
    except ValueError:
        raise _Refused("invalid_field") from None


def _word(value: object, known: Mapping[str, Any], otherwise: str) -> str:
    return value if isinstance(value, str) and value in known else otherwise


def _is_uuid(value: object) -> bool:
    try:
        return (
            isinstance(value, str)
            and str(UUID(value)) == value.lower()
            and 0 < UUID(value).int < 2**128 - 1
        )
    except ValueError:
        return False


def _time(value: object) -> datetime | None:
    """The instant of a text of RFC 3339; digits beyond microseconds are cut."""
    parts = TIME.fullmatch(value) if isinstance(value, str) else None
    if parts is None:
        return None
    day, clock, fraction, zone = parts.groups()
    try:
        at = datetime.fromisoformat(f"{day}T{clock}{zone.upper()}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return at.replace(microsecond=int((fraction or "")[:6].ljust(6, "0")))


def _host(text: str) -> str:
    return text.lower().partition(":")[0].rstrip(".")


def _address(text: str | None) -> str:
    try:
        address = ipaddress.ip_address((text or "").strip())
    except ValueError:
        return ""
    return str(getattr(address, "ipv4_mapped", None) or address)


def _hmac(key: bytes, message: str) -> bytes:
    return hmac.new(key, message.encode(), hashlib.sha256).digest()
