"""Who is calling: every kind of caller, and everything that is refused, over real HTTP."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import jwt
import pytest
from support.wire import (
    AUDIENCE,
    CREATE,
    ISSUER,
    SERVICE_KEY,
    Issuer,
    Server,
    code,
    event,
    outcome,
    sign,
)

from signal_pipeline.postgres.database import Connection

pytestmark = pytest.mark.embedded_only

EVENTS = "{ events(limit: 1) { id userHash } }"
STATS = '{ eventStats(by: APP, from: "2026-01-01", to: "2026-01-02") { suppressedRows } }'
Change = dict[str, Any]


def count(rows: Connection) -> tuple[int, int]:
    """Stored events, and everything that the books count."""
    row = rows.execute(
        "select (select count(*) from signal.events), (select coalesce(sum(events), 0) from"
        " signal.books)"
    ).fetchone()
    assert row is not None
    return int(str(row[0])), int(str(row[1]))


def test_a_person_through_the_gateway_is_stored(api: Server, rows: Connection) -> None:
    fields = event()
    answer = api.create(fields)
    assert outcome(answer) == ("accepted", None)
    assert answer["data"]["eventCreate"]["clientEventId"] == fields["clientEventId"]
    (stored,) = rows.execute(
        "select id::text from signal.events where client_event_id = %s", [fields["clientEventId"]]
    ).fetchall()
    assert answer["data"]["eventCreate"]["id"] == stored[0]


def test_nobody_may_not_write_and_is_not_in_the_books(api: Server, rows: Connection) -> None:
    before = count(rows)
    for headers in ({}, {"authorization": ""}):
        answer = api.create(uid=None, headers=headers)
        assert code(answer) == "UNAUTHENTICATED"
        assert answer["data"] == {"eventCreate": None}
    assert count(rows) == before


@pytest.mark.parametrize(
    ("caller", "query", "expected"),
    [
        ({"uid": None}, EVENTS, "FORBIDDEN"),
        ({"uid": "user-1"}, EVENTS, "FORBIDDEN"),
        ({"uid": "analyst-1"}, EVENTS, "FORBIDDEN"),
        ({"uid": None, "headers": {"authorization": f"Bearer {SERVICE_KEY}"}}, EVENTS, "FORBIDDEN"),
        ({"uid": "boss-2"}, EVENTS, None),
        ({"uid": None}, STATS, "UNAUTHENTICATED"),
        ({"uid": "user-1"}, STATS, "FORBIDDEN"),
        ({"uid": "analyst-1"}, STATS, None),
        ({"uid": "boss-1"}, STATS, None),
        ({"uid": None, "headers": {"authorization": f"Bearer {SERVICE_KEY}"}}, STATS, None),
    ],
)
def test_what_each_kind_of_caller_may_read(
    api: Server, caller: Change, query: str, expected: str | None
) -> None:
    answer = api.call(query, **caller).json()
    assert (code(answer) if expected else answer.get("errors")) == expected


def test_a_service_may_not_write(api: Server) -> None:
    assert (
        code(api.create(uid=None, headers={"authorization": f"Bearer {SERVICE_KEY}"}))
        == "UNAUTHENTICATED"
    )


def test_an_analyst_may_not_write_in_any_form(
    api: Server, issuer: Issuer, rows: Connection
) -> None:
    """Made-up people would lift a row over five, as each other user agent is another person."""
    before = count(rows)
    many = "mutation ($input: [EventCreateInput!]!) { eventCreateMany(input: $input) { id } }"
    aliased = "mutation ($input: EventCreateInput!) { a: eventCreate(input: $input) { id } }"
    for caller in ({"uid": "analyst-1"}, {"claims": issuer.claims("user-9", analyst=True)}):
        assert code(api.create(**caller)) == "FORBIDDEN"
        assert code(api.call(many, {"input": [event(), event()]}, **caller).json()) == "FORBIDDEN"
        assert code(api.call(aliased, {"input": event()}, **caller).json()) == "FORBIDDEN"
    assert count(rows) == before
    both = issuer.claims("user-9", analyst=True, roles=["signal-admin"])
    assert api.create(claims=both)["data"]["eventCreate"]["id"]


@pytest.mark.parametrize(
    ("claims", "admin"),
    [
        ({"roles": ["other", "signal-admin"]}, True),
        ({"roles": "signal-admin"}, True),
        ({"roles": ["signal-admin-not"]}, False),
        ({"roles": {"signal-admin": True}}, False),
        ({"signal-admin": True}, False),
        ({"signal_admin": True}, False),
    ],
)
def test_admin_is_the_configured_claim(
    api: Server, issuer: Issuer, claims: Change, admin: bool
) -> None:
    answer = api.call(EVENTS, claims=issuer.claims("user-9", **claims)).json()
    assert ("errors" not in answer) is admin


def test_the_analyst_claim_must_be_true_itself(api: Server, issuer: Issuer) -> None:
    for value, allowed in ((True, True), ("true", False), (1, False), (["analyst"], False)):
        answer = api.call(STATS, claims=issuer.claims("user-9", analyst=value)).json()
        assert ("errors" not in answer) is allowed


def test_a_user_hash_is_shown_to_admins_only(api: Server) -> None:
    assert api.create()["data"]["eventCreate"]["userHash"] is None
    shown = api.create(uid="boss-1")["data"]["eventCreate"]["userHash"]
    assert len(bytes.fromhex(shown)) == 32


def _refused(api: Server, **changes: Any) -> None:
    answer = api.call(CREATE, {"input": event()}, **changes)
    assert (answer.status_code, code(answer.json())) == (401, "UNAUTHENTICATED")
    assert "data" not in answer.json()


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": int(time.time()) - 3600},
        {"exp": None},
        {"aud": "another-project"},
        {"aud": None},
        {"iss": "https://issuer.example.org/another"},
        {"iss": None},
        {"nbf": int(time.time()) + 3600},
        {"user_id": None, "sub": None},
        {"user_id": 5, "sub": None},
    ],
)
def test_a_token_that_is_not_good_is_refused(
    api: Server, issuer: Issuer, rows: Connection, claims: Change
) -> None:
    before = count(rows)
    _refused(api, claims=issuer.claims(**claims))
    assert count(rows) == before


def test_a_token_of_another_key_is_refused(api: Server, issuer: Issuer) -> None:
    claims = issuer.claims()
    stranger = Issuer(issuer.key_id)
    _refused(api, claims=claims, headers={"authorization": f"JWT {stranger.token(claims)}"})
    _refused(
        api,
        claims=claims,
        headers={"authorization": f"JWT {issuer.token(claims, kid='no-such-key')}"},
    )


def test_weak_algorithms_are_refused(api: Server, issuer: Issuer) -> None:
    """No signature, and the classic attack: an HMAC keyed with the public key."""
    claims = issuer.claims()
    nothing = jwt.encode(claims, None, "none", {"kid": issuer.key_id})
    head, body, _ = issuer.token(claims).split(".")
    forged_head = (
        base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "kid": issuer.key_id}).encode())
        .rstrip(b"=")
        .decode()
    )
    for token in (nothing, f"{head}.{body}.", f"{forged_head}.{body}.AAAA", "not-a-token", "a.b.c"):
        _refused(api, claims=claims, headers={"authorization": f"JWT {token}"})


@pytest.mark.parametrize(
    "header", ["Bearer no-such-key", "Bearer", "Basic dXNlcjpwYXNz", "Bearer JWT x", "JWT", "jwt x"]
)
def test_a_credential_that_fails_never_falls_back_to_public(api: Server, header: str) -> None:
    _refused(api, uid=None, headers={"authorization": header})


def test_a_token_as_an_api_key_is_refused(api: Server, issuer: Issuer) -> None:
    _refused(api, uid=None, headers={"authorization": f"Bearer {issuer.token(issuer.claims())}"})


def test_a_forged_user_with_a_captured_signature_is_refused(
    api: Server, issuer: Issuer, rows: Connection
) -> None:
    """The gateway's signature does not cover the forwarded user, so the token must."""
    before = count(rows)
    boss = issuer.claims("boss-1")
    _refused(
        api,
        uid=None,
        extensions={"jwt": {"payload": boss}},
        headers={"authorization": "JWT forged.token.here"},
    )
    _refused(api, claims=issuer.claims("user-1"), extensions={"jwt": {"payload": boss}})
    spoofed = api.call(EVENTS, uid=None, extensions={"jwt": {"payload": boss}})
    assert code(spoofed.json()) == "FORBIDDEN"  # Without a token a caller has no identity.
    more = {**issuer.claims("user-1"), "roles": "signal-admin"}
    _refused(api, claims=issuer.claims("user-1"), extensions={"jwt": {"payload": more}})
    assert count(rows) == before


@pytest.mark.parametrize(
    "forwarded", [None, {}, {"payload": None}, {"payload": []}, {"payload": {}}, "x", 7]
)
def test_a_token_without_the_forwarded_user_is_refused(api: Server, forwarded: object) -> None:
    _refused(api, extensions={"jwt": forwarded})


def test_a_missing_or_wrong_signature_is_refused(api: Server) -> None:
    good = sign(CREATE, {"input": event()})
    for signature in (
        None,
        "",
        "AAAA",
        "not base64!",
        good,
        good[:-4],
        sign(CREATE, None),
        5,
        [good],
    ):
        _refused(api, extensions={"hmac-signature": signature})


@pytest.mark.parametrize(
    "query", ["{ __typename }", "{ events { " + "id " * 495 + "} }", "{ nope", CREATE]
)
def test_without_signature_and_key_nothing_is_parsed(api: Server, query: str) -> None:
    """The server listens only to the gateway and to services.

    A client that merely reaches the port cannot ask anything.
    """
    stranger = api.call(query, uid=None, extensions={"hmac-signature": None})
    assert (stranger.status_code, code(stranger.json())) == (401, "UNAUTHENTICATED")
    assert "signature is missing" in stranger.json()["errors"][0]["message"]


def test_a_service_needs_no_signature(api: Server) -> None:
    headers = {"authorization": f"Bearer {SERVICE_KEY}"}
    assert (
        "errors"
        not in api.call(
            STATS, uid=None, headers=headers, extensions={"hmac-signature": None}
        ).json()
    )


def test_a_wrong_signature_is_refused_from_everybody(api: Server) -> None:
    for caller in (
        {"uid": None},
        {"uid": None, "headers": {"authorization": f"Bearer {SERVICE_KEY}"}},
    ):
        answer = api.call(STATS, extensions={"hmac-signature": sign("{ other }", None)}, **caller)
        assert (answer.status_code, code(answer.json())) == (401, "UNAUTHENTICATED")


def test_an_altered_request_is_refused_and_a_replayed_one_stores_nothing(
    api: Server, rows: Connection
) -> None:
    fields = event()
    captured = api.request(CREATE, {"input": fields})

    def send(change: Callable[[dict[str, Any]], object]) -> httpx.Response:
        body = json.loads(captured["content"])
        change(body)
        return api.post({"content": json.dumps(body), "headers": captured["headers"]})

    assert outcome(send(lambda body: None).json()) == ("accepted", None)
    before = count(rows)[0]
    altered = [
        lambda body: body["variables"]["input"].update(clientEventId=event()["clientEventId"]),
        lambda body: body["variables"].update(other=1),
        lambda body: body.update(query=body["query"] + " "),
        lambda body: body.update(variables=None),
    ]
    for change in altered:
        assert send(change).status_code == 401
    assert outcome(send(lambda body: None).json()) == ("duplicate", None)
    assert count(rows)[0] == before


def test_the_operation_name_is_not_signed_so_one_operation_is_all(api: Server) -> None:
    query = "query A { __typename } query B { events { id } }"
    answer = api.call(query, uid="boss-1", operationName="B")
    assert (answer.status_code, code(answer.json())) == (400, "GRAPHQL_VALIDATION_FAILED")


@pytest.mark.parametrize(
    ("query", "name"), [("query A { __typename }", "B"), ("{ __typename }", "")]
)
def test_an_operation_name_that_the_query_does_not_have_is_named(
    api: Server, query: str, name: str
) -> None:
    answer = api.call(query, uid="boss-1", operationName=name).json()
    assert code(answer) == "GRAPHQL_VALIDATION_FAILED"
    assert "`operationName` is not the name of" in answer["errors"][0]["message"]


def test_other_extensions_change_nothing(api: Server) -> None:
    extra = {
        "persistedQuery": {"version": 1, "sha256Hash": "0" * 64},
        "signal": {"outcome": "accepted"},
        "roles": ["admin"],
    }
    assert outcome(api.create(extensions=extra)) == ("accepted", None)


def test_an_issuer_and_audience_are_what_was_configured(api: Server, issuer: Issuer) -> None:
    """Guards the tests above: the same claims, spelled out, are good."""
    claims = {"iss": ISSUER, "aud": ["x", AUDIENCE], "exp": int(time.time()) + 60, "sub": "user-4"}
    assert outcome(api.create(claims=claims)) == ("accepted", None)
