"""`eventCreate`: every outcome of an event, each in the books, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from support.books import added, books, stored_event
from support.traffic import CHROME, IPHONE
from support.wire import CREATE, Server, event, outcome

from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only
WHOLE = """mutation ($input: EventCreateInput!) { eventCreate(input: $input) {
  id createdAt appName eventType route entityType entityId userHash sessionId deviceType browserFamily osFamily
  clientEventId description } }"""
NIL, MAX = str(uuid.UUID(int=0)), str(uuid.UUID(int=2**128 - 1))


def test_an_event_is_returned_as_it_is_stored(api: Server, rows: Connection) -> None:
    fields = event(
        route="/journeys/3f2b6c1e-8c1d-4b6a-9a37-0d2f0c5e7f11/edit?secret=1#x",
        entityType="journey",
        entityId="3F2B6C1E-8C1D-4B6A-9A37-0D2F0C5E7F11",
        sessionId="AAAAAAAA-BBBB-4CCC-8DDD-EEEEEEEEEEEE",
        description={"n": 1, "nested": {"list": [1.5, None, True, "ü"]}},
        clientEventId=str(uuid.uuid4()).upper(),
    )
    shown = api.call(WHOLE, {"input": fields}, uid="boss-1", headers={"user-agent": IPHONE}).json()[
        "data"
    ]["eventCreate"]
    row = stored_event(rows, fields)
    assert shown == {
        "id": str(row["id"]),
        "createdAt": row["created_at"].isoformat().replace("+00:00", "Z"),
        "appName": "journeys-admin",
        "eventType": "journey_create_clicked",
        "route": "/journeys/[id]/edit",
        "entityType": "journey",
        "entityId": "3f2b6c1e-8c1d-4b6a-9a37-0d2f0c5e7f11",
        "userHash": row["user_hash"].hex(),
        "sessionId": "aaaaaaaa-bbbb-4ccc-8ddd-eeeeeeeeeeee",
        "deviceType": "mobile",
        "browserFamily": "Safari",
        "osFamily": "iOS",
        "clientEventId": str(fields["clientEventId"]).lower(),
        "description": {"n": 1, "nested": {"list": [1.5, None, True, "ü"]}},
    }
    assert (row["route"], row["entity_id"], row["description"]) == (
        shown["route"],
        shown["entityId"],
        shown["description"],
    )


@pytest.mark.parametrize(
    ("changes", "user_agent", "reason"),
    [
        ({"eventType": "no_such_type"}, CHROME, "unknown_event_type"),
        ({"eventType": "x" * 5000}, CHROME, "unknown_event_type"),
        ({"appName": "no-such-app"}, CHROME, "unknown_app"),
        ({"entityType": "journey"}, CHROME, "invalid_entity"),
        ({"entityType": "journey", "entityId": "not-a-uuid"}, CHROME, "invalid_entity"),
        ({"route": "journeys"}, CHROME, "invalid_field"),
        ({"route": "/" + "x" * 300}, CHROME, "invalid_field"),
        ({"clientEventId": "1"}, CHROME, "invalid_field"),
        ({"sessionId": "tab-1"}, CHROME, "invalid_field"),
        ({"clientEventId": NIL}, CHROME, "invalid_field"),
        ({"clientEventId": MAX.upper()}, CHROME, "invalid_field"),
        ({"sessionId": NIL}, CHROME, "invalid_field"),
        ({"sessionId": MAX}, CHROME, "invalid_field"),
        ({"entityType": "journey", "entityId": NIL}, CHROME, "invalid_entity"),
        ({"entityType": "journey", "entityId": MAX.upper()}, CHROME, "invalid_entity"),
        ({"description": [1]}, CHROME, "invalid_field"),
        ({"description": "text"}, CHROME, "invalid_field"),
        ({"description": {"a": "x" * 3000}}, CHROME, "description_too_large"),
        ({"description": {"a": [{"E-Mail": "x"}]}}, CHROME, "description_pii"),
        ({"description": {"a": "mail me at someone@example.org"}}, CHROME, "description_pii"),
        (
            {"eventType": "ai_translation_language_picked", "description": {"language": 7}},
            CHROME,
            "description_schema",
        ),
        ({"route": "/\ud800"}, CHROME, "malformed"),
        ({"eventType": "\ud800"}, CHROME, "malformed"),
        ({"description": {"a": "\ud800"}}, CHROME, "malformed"),
        ({}, "Googlebot/2.1 (+http://www.google.com/bot.html)", "bot"),
        ({}, "curl/8.5.0", "bot"),
    ],
)
def test_drops(
    api: Server, rows: Connection, changes: dict[str, object], user_agent: str, reason: str
) -> None:
    """A drop is null in the data, has a reason, is booked once, and is not an error."""
    fields, before = event(**changes), books(rows)
    request = api.request(CREATE, {"input": fields}, headers={"user-agent": user_agent})
    if "\\ud800" in json.dumps(fields):
        request = _signed_with_lone_surrogates(api, fields)
    response = api.post(request)
    answer = response.json()
    assert (response.status_code, answer["data"], answer.get("errors")) == (
        200,
        {"eventCreate": None},
        None,
    )
    assert outcome(answer) == ("dropped", reason)
    (_, _, result, why), events = added(before, books(rows)).popitem()
    assert (result, why, events) == ("dropped", reason, 1)


def _signed_with_lone_surrogates(api: Server, fields: dict[str, object]) -> dict[str, Any]:
    """JavaScript writes a lone surrogate as a lower-case escape, in the signed text too."""
    request = api.request(CREATE, {"input": event()})
    body = json.loads(request["content"])
    body["variables"] = {"input": fields}
    escaped = json.dumps(
        {"query": CREATE, "variables": body["variables"]}, sort_keys=True, separators=(",", ":")
    )
    body["extensions"]["hmac-signature"] = api.sign_text(escaped)
    return {**request, "content": json.dumps(body).encode()}


def test_a_missing_user_agent_is_no_bot(api: Server, rows: Connection) -> None:
    fields = event()
    assert outcome(api.create(fields, headers={"user-agent": ""})) == ("accepted", None)
    assert stored_event(rows, fields)["device_type"] == "unknown"


def test_double_clicks_and_retries(api: Server, rows: Connection) -> None:
    """A double click has two ids and counts twice.

    A retry has the same id and counts once.
    """
    clicks = [
        (f"clicker-{number}", fields) for number in range(100) for fields in (event(), event())
    ]
    before = books(rows)

    async def send_all() -> list[dict[str, Any]]:
        # None is kept: a busy machine can come back to one that the server has closed as idle.
        limits = httpx.Limits(max_connections=50, max_keepalive_connections=0)
        async with httpx.AsyncClient(timeout=600, limits=limits) as client:
            sent = [
                client.post(f"{api.url}/graphql", **api.request(CREATE, {"input": fields}, uid=uid))
                for uid, fields in clicks
                for _ in range(2)  # Each click, and a retry of it at the same time.
            ]
            return [answer.json() for answer in await asyncio.gather(*sent)]

    answers = asyncio.run(send_all())
    kinds = [outcome(answer)[0] for answer in answers]
    assert (kinds.count("accepted"), kinds.count("duplicate")) == (200, 200)
    for first, second in zip(answers[::2], answers[1::2], strict=True):
        assert [bool(each["data"]["eventCreate"]) for each in (first, second)].count(True) == 1
    ids = [fields["clientEventId"] for _, fields in clicks]
    (counted,) = rows.execute(
        "select count(*) from signal.events where client_event_id = any(%s)", [ids]
    ).fetchall()
    assert counted == (200,)
    assert sum(added(before, books(rows)).values()) == 400


def test_a_retry_after_midnight_is_one_row(
    api: Server, rows: Connection, api_database: Database, api_settings: Settings
) -> None:
    """Yesterday's event is sent again today.

    The ledger knows it, although its hash would differ.
    """
    yesterday = datetime.now(UTC).replace(hour=23, minute=59, second=59) - timedelta(days=1)
    fields = event()
    with closing(Ingest.from_settings(api_settings, api_database, lambda: yesterday)) as ingest:
        assert ingest.ingest_lines([json.dumps(fields).encode()]).accepted == 1
    assert outcome(api.create(fields)) == ("duplicate", None)
    assert stored_event(rows, fields)["created_at"] == yesterday


def test_duplicate_hides_the_row(api: Server) -> None:
    """Whoever sends a known id does not see the event that has it."""
    fields = event()
    assert outcome(api.create(fields, uid="owner-1")) == ("accepted", None)
    again = api.create(fields, uid="boss-1")
    assert (outcome(again), again["data"]) == (("duplicate", None), {"eventCreate": None})
