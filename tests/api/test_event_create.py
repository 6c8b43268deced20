"""`eventCreate` and `eventCreateMany`: every outcome, each in the books, over real HTTP."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import SECRET
from support.traffic import CHROME, IPHONE
from support.wire import CREATE, CREATE_MANY, Server, code, event, outcome

from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

WHOLE = """mutation ($input: EventCreateInput!) { eventCreate(input: $input) {
  id createdAt appName eventType route entityType entityId userHash sessionId deviceType browserFamily osFamily
  clientEventId description } }"""
NIL, MAX = str(uuid.UUID(int=0)), str(uuid.UUID(int=2**128 - 1))
Books = dict[tuple[str, str, str, str], int]


def books(rows: Connection) -> Books:
    """Today's counts of the books, by app, type, outcome and reason."""
    return {
        (str(app), str(kind), str(result), str(reason)): int(str(events))
        for app, kind, result, reason, events in rows.execute(
            "select app_name, event_type, outcome, reason, events from signal.books"
        )
    }


def added(before: Books, after: Books) -> Books:
    """The counts that were booked in between."""
    return {
        key: events - before.get(key, 0)
        for key, events in after.items()
        if events != before.get(key, 0)
    }


def one(rows: Connection, fields: dict[str, object]) -> dict[str, Any]:
    """The stored row of an event."""
    cursor = rows.execute(
        "select * from signal.events where client_event_id = %s", [fields["clientEventId"]]
    )
    assert cursor.description is not None
    (row,) = cursor.fetchall()
    return dict(zip([column.name for column in cursor.description], row, strict=True))


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
    row = one(rows, fields)
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
def test_a_drop_is_null_reasoned_booked_and_not_an_error(
    api: Server, rows: Connection, changes: dict[str, object], user_agent: str, reason: str
) -> None:
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
    assert one(rows, fields)["device_type"] == "unknown"


def test_a_batch_says_what_became_of_each_event(api: Server, rows: Connection) -> None:
    good, before = [event(), event()], books(rows)
    inputs = [good[0], event(eventType="no_such_type"), good[1], good[0], event(route="x")]
    answer = api.call(CREATE_MANY, {"input": inputs}).json()
    assert [bool(each) for each in answer["data"]["eventCreateMany"]] == [
        True,
        False,
        True,
        False,
        False,
    ]
    said = answer["extensions"]["signal"]
    assert [(each["outcome"], each["reason"]) for each in said["events"]] == [
        ("accepted", None),
        ("dropped", "unknown_event_type"),
        ("accepted", None),
        ("duplicate", None),
        ("dropped", "invalid_field"),
    ]
    assert said["counts"] == {"accepted": 2, "dropped": 2, "duplicate": 1}
    assert sum(added(before, books(rows)).values()) == len(inputs)


def test_an_empty_batch_is_an_empty_answer_and_a_large_one_is_refused(
    api: Server, rows: Connection
) -> None:
    assert api.call(CREATE_MANY, {"input": []}).json() == {"data": {"eventCreateMany": []}}
    before = books(rows)
    refused = api.call(CREATE_MANY, {"input": [event() for _ in range(101)]}).json()
    assert (code(refused), refused["data"]) == ("BAD_USER_INPUT", None)
    assert books(rows) == before


def test_the_events_of_all_fields_of_a_request_count_together(
    api: Server, rows: Connection
) -> None:
    query = (
        "mutation ($input: [EventCreateInput!]!, $one: EventCreateInput!) { a:"
        " eventCreateMany(input: $input) { id } b: eventCreateMany(input: $input) { id } c:"
        " eventCreate(input: $one) { id } }"
    )
    bad, before = [event(eventType="no_such_type") for _ in range(50)], books(rows)
    answer = api.call(query, {"input": bad, "one": event()}).json()
    assert ([each["path"] for each in answer["errors"]], code(answer)) == (
        [["c"]],
        "BAD_USER_INPUT",
    )
    assert sum(added(before, books(rows)).values()) == 100


def test_a_number_that_json_cannot_hold_is_a_drop_of_its_event_alone(
    api: Server, rows: Connection
) -> None:
    def literal(description: str) -> str:
        fields = event()
        return (
            "{"
            + ", ".join(f'{name}: "{value}"' for name, value in fields.items())
            + f", description: {description}}}"
        )

    before = books(rows)
    inputs = ", ".join(
        literal(each) for each in ("{n: 1}", "{n: 1e999}", "{a: [{n: -1e999}]}", "{n: 2}")
    )
    answer = api.call(f"mutation {{ eventCreateMany(input: [{inputs}]) {{ description }} }}").json()
    assert answer["data"]["eventCreateMany"] == [
        {"description": {"n": 1}},
        None,
        None,
        {"description": {"n": 2}},
    ]
    reasons = [each["reason"] for each in answer["extensions"]["signal"]["events"]]
    assert reasons == [None, "invalid_field", "invalid_field", None]
    key = ("journeys-admin", "journey_create_clicked", "dropped", "invalid_field")
    assert added(before, books(rows))[key] == 2


def test_a_large_variable_that_many_events_share_is_never_written_out(
    api: Server, rows: Connection
) -> None:
    """Written out, each of these descriptions would be longer than a line is allowed to be."""

    def literal(description: str) -> str:
        fields = {name: json.dumps(value) for name, value in event().items()}
        return (
            "{"
            + ", ".join(f"{name}: {value}" for name, value in fields.items())
            + f", description: {description}}}"
        )

    descriptions = ["{a: $d, b: $d, c: $d, d: $d}", "[$d, $d, $d, $d]", "$d", "{n: 1}"]
    query = (
        f"mutation ($d: Json) {{ eventCreateMany(input: [{', '.join(map(literal, descriptions))}])"
        " { id } }"
    )
    for d in ({"deep": ["x" * 1_000] * 100}, {str(n): n for n in range(7_000)}, [[1]] * 3_500):
        before = books(rows)
        said = api.call(query, {"d": d}, uid="heavy-1").json()["extensions"]["signal"]["events"]
        whole = "description_too_large" if isinstance(d, dict) else "invalid_field"
        assert [each["reason"] for each in said] == [
            "description_too_large",
            "invalid_field",
            whole,
            None,
        ]
        assert {key[0] for key in added(before, books(rows))} == {"journeys-admin"}


def test_a_request_holds_a_hundred_events_with_the_largest_descriptions(api: Server) -> None:
    largest = {"a": "x" * (2_048 - len('{"a":""}'))}
    answer = api.call(
        CREATE_MANY, {"input": [event(description=largest) for _ in range(100)]}, uid="thorough-1"
    )
    reasons = {each["reason"] for each in answer.json()["extensions"]["signal"]["events"]}
    assert reasons == {None, "rate_limited"}


def test_two_hundred_concurrent_double_clicks_are_two_rows_each_and_retries_none(
    api: Server, rows: Connection
) -> None:
    """A double click has two ids and counts twice.

    A retry has the same id and counts once.
    """
    clicks = [
        (f"clicker-{number}", fields) for number in range(100) for fields in (event(), event())
    ]
    before = books(rows)

    async def send_all() -> list[dict[str, Any]]:
        limits = httpx.Limits(max_connections=50)
        async with httpx.AsyncClient(timeout=60, limits=limits) as client:
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
    api: Server, rows: Connection, api_database: Database, tmp_path: Path
) -> None:
    """Yesterday's event is sent again today.

    The ledger knows it, although its hash would differ.
    """
    yesterday = datetime.now(UTC).replace(hour=23, minute=59, second=59) - timedelta(days=1)
    settings = Settings(
        _env_file=None,
        database_url=api_database.url,
        env="development",
        home=tmp_path,
        salt_secret=SECRET,
    )  # type: ignore[call-arg, arg-type]
    fields = event()
    with closing(Ingest.from_settings(settings, api_database, lambda: yesterday)) as ingest:
        assert ingest.ingest_lines([json.dumps(fields).encode()]).accepted == 1
    assert outcome(api.create(fields)) == ("duplicate", None)
    assert one(rows, fields)["created_at"] == yesterday


def test_a_duplicate_shows_nobodys_row(api: Server) -> None:
    fields = event()
    assert outcome(api.create(fields, uid="owner-1")) == ("accepted", None)
    again = api.create(fields, uid="boss-1")
    assert (outcome(again), again["data"]) == (("duplicate", None), {"eventCreate": None})


def test_more_than_sixty_events_a_minute_are_dropped_and_booked(
    api: Server, rows: Connection
) -> None:
    before = books(rows)
    answers = [
        api.call(CREATE_MANY, {"input": [event() for _ in range(50)]}, uid="busy-1").json()
        for _ in range(2)
    ]
    reasons = [
        each["reason"] for answer in answers for each in answer["extensions"]["signal"]["events"]
    ]
    limited = reasons.count("rate_limited")
    assert (
        39 <= limited <= 40
    )  # The window slides: one can pass when the clock's minute changes in between.
    assert set(reasons) == {None, "rate_limited"}
    assert outcome(api.create(uid="calm-1")) == ("accepted", None)
    key = ("journeys-admin", "journey_create_clicked", "dropped", "rate_limited")
    assert added(before, books(rows))[key] == limited


def test_events_that_are_dropped_anyway_do_not_use_up_the_limit(api: Server) -> None:
    bad = [event(eventType="no_such_type") for _ in range(70)]
    assert api.call(CREATE_MANY, {"input": bad}, uid="clumsy-1").json()["extensions"]["signal"][
        "counts"
    ] == {"dropped": 70}
    assert outcome(api.create(uid="clumsy-1")) == ("accepted", None)


def test_several_fields_of_one_request_are_told_apart(api: Server) -> None:
    query = (
        "mutation ($a: EventCreateInput!, $b: EventCreateInput!) { a: eventCreate(input: $a) { id }"
        " b: eventCreate(input: $b) { id } }"
    )
    answer = api.call(query, {"a": event(), "b": event(appName="none")}).json()
    assert (bool(answer["data"]["a"]), answer["data"]["b"]) == (True, None)
    assert [each["outcome"] for each in answer["extensions"]["signal"]["events"]] == [
        "accepted",
        "dropped",
    ]


@pytest.mark.parametrize(
    ("chain", "same_as"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        (["6.6.6.6", "203.0.113.9", "10.1.2.3"], "203.0.113.9"),
        (["203.0.113.9 ,10.1.2.3,,  127.0.0.1"], "203.0.113.9"),
        (["203.0.113.9:1234, [2001:db8:ff::1]:443"], "203.0.113.9"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["2001:DB8:0:0::1"], "2001:db8::1"),
        (["6.6.6.6, no-address"], ""),
        (["203.0.113.9, <script>"], ""),
        ([""], ""),
        ([], ""),
        (["10.9.9.9, 10.1.2.3"], "10.9.9.9"),
    ],
)
def test_the_hash_is_of_the_address_that_the_proxies_vouch_for(
    api: Server, rows: Connection, chain: list[str], same_as: str
) -> None:
    fields, before = event(), gaps(rows)
    request = api.request(CREATE, {"input": fields}, headers={"x-forwarded-for": None})  # type: ignore[dict-item]
    headers = [*request["headers"].items(), *(("x-forwarded-for", value) for value in chain)]
    answer = api.post({"content": request["content"], "headers": headers}).json()
    assert outcome(answer) == ("accepted", None)
    assert one(rows, fields)["user_hash"] == api.expected_hash(
        "admin.example.org", same_as, "Chrome|150|macOS"
    )
    missing, invalid = (now - then for now, then in zip(gaps(rows), before, strict=True))
    given = bool("".join(chain).strip(" ,"))
    assert (missing, invalid) == ((0, 0) if same_as else (0, 1) if given else (1, 0))
    if not same_as:
        assert "SIGNAL_TRUSTED_PROXIES" in "".join(api.log)


def gaps(rows: Connection) -> tuple[int, int]:
    """Events without an address, and with an invalid one."""
    row = rows.execute(
        "select coalesce(sum(missing), 0)::int, coalesce(sum(invalid), 0)::int from"
        " signal.address_gaps"
    ).fetchone()
    assert row is not None
    return int(str(row[0])), int(str(row[1]))


@pytest.mark.parametrize(
    ("host", "hashed"),
    [
        ("Other.Example.ORG.:8443", "other.example.org"),
        ("no host!", "admin.example.org"),
        ("", "admin.example.org"),
        ("forged.example.org, real.example.org", "real.example.org"),
    ],
)
def test_the_host_is_the_forwarded_one_of_a_trusted_proxy(
    api: Server, rows: Connection, host: str, hashed: str
) -> None:
    fields = event()
    assert outcome(api.create(fields, headers={"x-forwarded-host": host})) == ("accepted", None)
    assert one(rows, fields)["user_hash"] == api.expected_hash(
        hashed, "203.0.113.9", "Chrome|150|macOS"
    )


@pytest.mark.parametrize(
    "values", [["a.example, app.example"], ["a.example", "b.example, app.example:443"]]
)
def test_a_client_cannot_choose_its_host(api: Server, rows: Connection, values: list[str]) -> None:
    """A proxy appends the address that it saw.

    The text left of it comes from the client, which could change it with each request.
    """
    fields = event()
    request = api.request(CREATE, {"input": fields})
    headers = [*request["headers"].items(), *(("x-forwarded-host", value) for value in values)]
    assert outcome(api.post({"content": request["content"], "headers": headers}).json()) == (
        "accepted",
        None,
    )
    assert one(rows, fields)["user_hash"] == api.expected_hash(
        "app.example", "203.0.113.9", "Chrome|150|macOS"
    )
