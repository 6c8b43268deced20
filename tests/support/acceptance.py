"""One acceptance with fixed rules, and lines for it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta

from support.traffic import CHROME

from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.events.acceptance import Acceptance
from signal_pipeline.events.event import AcceptedEvent, Drop

SECRET = b"a-secret-for-tests-of-more-than-32-bytes"
START = date(2026, 1, 1)
NOW = datetime(2026, 11, 20, 12, 30, tzinfo=UTC)
TODAY = NOW.date()
KEEP = 180
FIRST_KEPT = TODAY - timedelta(days=KEEP)
ID = "0f0e7a8e-6f0e-4d0c-9a3e-0d6f0c7f1cAB"
ENTITY = "5B0E7A8E-6F0E-4D0C-9A3E-0D6F0C7F1C11"
NIL, MAX = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"
CURL = "curl/8.7.1"
acceptance = Acceptance(load_catalogue(), SECRET, START, KEEP)


def line(**changes: object) -> bytes:
    """One good line, with changes; a change to Ellipsis removes the key."""
    fields: dict[str, object] = {
        "eventType": "journey_create_clicked",
        "appName": "journeys-admin",
        "clientEventId": ID,
        "createdAt": "2026-11-20T09:30:00Z",
        "ip": "203.0.113.7",
        "userAgent": CHROME,
        **changes,
    }
    return json.dumps({key: value for key, value in fields.items() if value is not ...}).encode()


def check(**changes: object) -> AcceptedEvent | Drop:
    return acceptance.check_line(line(**changes), NOW)


def event(**changes: object) -> AcceptedEvent:
    checked = check(**changes)
    assert isinstance(checked, AcceptedEvent), checked
    return checked


def reason(**changes: object) -> str:
    checked = check(**changes)
    return checked.reason if isinstance(checked, Drop) else "accepted"
