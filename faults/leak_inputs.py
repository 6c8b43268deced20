"""The inputs of the leak test: values that must not be found at rest, in lines and requests.

Some inputs are accepted. For each check there are inputs that fail at it, with a mark just there.
"""

from __future__ import annotations

import hmac
import json
import uuid
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import NamedTuple

from faults.wire import CREATE_MANY, Gateway, Headers

SECRET = "leak-mark-secret-Zq81-of-more-than-32-bytes"  # noqa: S105 # pragma: allowlist secret - of a database that is thrown away
GATEWAY_SECRET = "leak-mark-gateway-Vx40-secret"  # noqa: S105 # pragma: allowlist secret
API_KEY = "leak-mark-api-key-Jt93"  # pragma: allowlist secret
ALERTS = "leak-mark-alerts-Pd55"  # pragma: allowlist secret
IPV4, IPV6 = "203.0.113.211", "2001:db8:dead:beef::7a51"
AGENT = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/150.0.0.0 Safari/537.36 LeakMarkUa/7351"
)
EMAIL, USER_ID = "leak.mark@private-mail.example", "user-LeakMark-66120"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJsZWFrLW1hcmsifQ.c2lnbmF0dXJlLWxlYWstbWFyaw"  # noqa: S105 # pragma: allowlist secret
HOST = "admin.example.org"
_NOWHERE: Mapping[str, str | bytes] = {
    "secret": SECRET,
    "gateway's secret": GATEWAY_SECRET,
    "API key": API_KEY,
    "alert address": ALERTS,
    "IPv4 address": IPV4,
    "IPv6 address": IPV6,
    "user agent": AGENT,
    "part of the user agent": "LeakMarkUa/7351",
    "e-mail": EMAIL,
    "user id": USER_ID,
    "token": TOKEN,
    "address and user agent": f"{IPV4}\x1f{AGENT}",
    "canonical hash input": f"{HOST}\x1f{IPV4}\x1fChrome|150|Windows",
}
SESSION, ENTITY, STORED, SPOOLED = (str(uuid.uuid4()) for _ in range(4))


def nowhere(today: date) -> dict[str, str | bytes]:
    """Return the values that are allowed nowhere: not in a store, a log, an error or a run."""
    days = [today - timedelta(days=n) for n in range(3)]
    return {**_NOWHERE, **{f"salt of {day}": _salt(day) for day in days}}


def user_hash(day: date) -> bytes:
    """Return the hash that the marked person has on that day."""
    person = f"{HOST}\x1f{IPV4}\x1fChrome|150|Windows"
    return hmac.digest(_salt(day), person.encode(), "sha256")


def stored_only(day: date) -> dict[str, str | bytes]:
    """Return the values that the day's event stores, and that no log, error or run may contain."""
    return {
        "session": SESSION,
        "entity": ENTITY,
        "event id": STORED,
        "spooled event id": SPOOLED,
        "hash": user_hash(day),
    }


def _salt(day: date) -> bytes:
    return hmac.digest(SECRET.encode(), str(day).encode(), "sha256")


def marked(day: date, **changes: object) -> bytes:
    """Return a line of that day full of marks; a change to None removes the key."""
    fields: dict[str, object] = {
        "eventType": "journey_create_clicked",
        "appName": "journeys-admin",
        "route": "/journeys",
        "clientEventId": str(uuid.uuid4()),
        "createdAt": f"{day}T10:00:00Z",
        "ip": IPV4,
        "userAgent": AGENT,
        "host": HOST,
        "email": EMAIL,
        "userId": USER_ID,
        "token": TOKEN,
        **changes,
    }
    return json.dumps({key: value for key, value in fields.items() if value is not None}).encode()


def all_kinds(day: date) -> list[bytes]:
    """Return lines that are accepted, and lines that fail at each check, with a mark just there."""
    return [
        marked(day, clientEventId=STORED, sessionId=SESSION, entityType="journey", entityId=ENTITY),
        marked(day, ip=IPV6),
        marked(day, ip=f"[{IPV6}]:443", route=f"/people/{EMAIL}/{IPV4}?mail={EMAIL}#{TOKEN}"),
        marked(day, ip=f"not an address {IPV4}"),
        marked(day, host=f"bad host {IPV4}"),
        *(marked(day, **changes) for changes in _refused()),
        marked(day, userAgent=f"Googlebot/2.1 {EMAIL} (+http://www.google.com/bot.html)"),
        marked(day, createdAt=EMAIL),
        marked(day, createdAt="2001-01-01T00:00:00Z"),
        marked(day, clientEventId=None),
        marked(day)[:-9],
        b'{"eventType": "' + EMAIL.encode() + b"\xff\xfe" + TOKEN.encode() + b'"}',
        b'{"ip": "' + IPV4.encode() + b'", "userAgent": "\\ud800' + AGENT.encode() + b'"}',
        AGENT.encode() * 4000,
    ]


def _refused() -> list[dict[str, object]]:
    """Return changes to an event, each of which gets the event dropped, by file and over HTTP."""
    return [
        {"eventType": EMAIL},
        {"appName": EMAIL},
        {"eventType": USER_ID, "clientEventId": EMAIL},
        {"entityType": "journey", "entityId": EMAIL},
        {"entityType": EMAIL, "entityId": ENTITY},
        {"sessionId": EMAIL},
        {"route": EMAIL},
        {"description": {"deep": [{"note": EMAIL}]}},
        {"description": {"e-mail": USER_ID}},
        {"description": {"note": TOKEN, "seen": IPV4}},
        {"description": {"note": f"x {IPV6} y"}},
        {"description": {"note": EMAIL * 200}},
    ]


class Request(NamedTuple):
    """A request, and the statuses that are right as its answer."""

    body: bytes
    headers: Headers
    statuses: frozenset[int]


GOOD, BAD = frozenset({200}), frozenset({400, 401, 413, 415})
BROKEN = frozenset({500})
FROM_US = {
    "x-forwarded-for": f"{IPV4}, {IPV6}, {IPV4}",
    "user-agent": AGENT,
    "referer": f"https://x.example/?u={EMAIL}",
}


def event(**changes: object) -> dict[str, object]:
    """Return one event for the API, without marks of its own."""
    return {
        "eventType": "journey_create_clicked",
        "appName": "journeys-admin",
        "route": "/journeys",
        "clientEventId": str(uuid.uuid4()),
        **changes,
    }


def create(
    gateway: Gateway, *events: dict[str, object], statuses: frozenset[int] = GOOD, **headers: str
) -> Request:
    """Return a signed request that sends events, from a marked address and user agent."""
    body, signed = gateway.body(CREATE_MANY, json.dumps({"input": events}).encode(), len(events))
    return Request(body, {**signed, **FROM_US, **headers}, statuses)


def requests(gateway: Gateway) -> Iterator[Request]:
    """Yield requests that are accepted, and requests that fail at each check.

    The latter have a mark where they fail.
    """
    yield create(gateway, event(sessionId=SESSION, entityType="journey", entityId=ENTITY))
    yield create(
        gateway,
        event(route=f"/people/{EMAIL}/{IPV4}?mail={EMAIL}#{TOKEN}"),
        **{"x-forwarded-for": f"not {IPV4}"},
    )
    for changes in _refused():
        yield create(gateway, event(**changes))
    yield create(
        gateway,
        event(),
        **{"user-agent": f"Googlebot/2.1 {EMAIL} (+http://www.google.com/bot.html)"},
    )
    yield create(gateway, event(email=EMAIL, userId=USER_ID), statuses=BAD)
    yield create(gateway, {EMAIL: TOKEN}, statuses=BAD)
    yield create(gateway, event(eventType=[EMAIL], route={IPV4: USER_ID}), statuses=BAD)
    good = create(gateway, event(sessionId=SESSION))
    yield good._replace(
        body=good.body.replace(b"/journeys", EMAIL.encode()), statuses=BAD
    )  # The signature belongs to another body.
    yield good._replace(headers={**good.headers, "authorization": f"JWT {TOKEN}"}, statuses=BAD)
    yield good._replace(
        headers={**good.headers, "authorization": f"{USER_ID} {TOKEN}"}, statuses=BAD
    )
    yield good._replace(
        headers={**good.headers, "authorization": f"Bearer {API_KEY}-wrong"}, statuses=BAD
    )
    yield good._replace(headers={**good.headers, "content-type": EMAIL}, statuses=BAD)
    yield good._replace(body=good.body[:-9], statuses=BAD)
    yield good._replace(body=b"\xff" + EMAIL.encode(), statuses=BAD)
    yield good._replace(body=b'{"query": ' + b"[" * 50_000 + EMAIL.encode(), statuses=BAD)
    yield good._replace(
        body=json.dumps({"query": f"{{ {USER_ID} }} {EMAIL}"}).encode(), statuses=BAD
    )
    for query in (
        (
            f'mutation {{ eventCreate(input: {{eventType: "{EMAIL}", appName: "{IPV4}",'
            f' clientEventId: "{TOKEN}"}}) {{ id }} }}'
        ),
        f'mutation {{ eventCreate(input: {{eventType: "{EMAIL}", nobody: "{TOKEN}"}}) {{ id }} }}',
    ):
        yield ask(gateway, query)


def ask(gateway: Gateway, query: str) -> Request:
    """Return a signed query from a marked address and user agent.

    A faulty query is answered, or refused as a whole.
    """
    body, signed = gateway.body(query, b"{}")
    return Request(body, {**signed, **FROM_US}, GOOD | BAD)


def reads(gateway: Gateway, today: date) -> Iterator[Request]:
    """Yield questions full of marks; those of an admin can reach the database."""
    yield ask(
        gateway,
        f'{{ events(filter: {{route: "{EMAIL}", sessionId: "{SESSION}", entityId: "{IPV4}"}}) {{ id'
        " } }",
    )
    yield ask(gateway, f'{{ events(filter: {{createdAtGte: "{EMAIL}"}}) {{ id }} }}')
    days = f'from: "{today - timedelta(days=1)}", to: "{today}"'
    yield ask(
        gateway,
        f'{{ eventStats({days}, app: "{EMAIL}", eventType: "{TOKEN}", by: APP) {{ rows {{ events }}'
        " } }",
    )
    yield ask(
        gateway,
        f'{{ eventStats({days}, groupBy: [ROUTE], filter: {{route: "{EMAIL}"}}) {{ rows {{ events'
        " } } }",
    )
    yield ask(
        gateway, f'{{ eventStats(from: "{IPV4}", to: "{TOKEN}", by: APP) {{ rows {{ events }} }} }}'
    )
    yield ask(gateway, f'{{ __type(name: "{EMAIL}") {{ name }} }}')
    service = ask(gateway, f"{{ eventStats({days}, by: APP) {{ rows {{ events }} }} }}")
    yield service._replace(headers={**service.headers, "authorization": f"Bearer {API_KEY}"})
