"""Generated requests, signed and not: never a 5xx, never an echo, and balanced books."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest
from graphql import build_schema
from graphql.type import (
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLScalarType,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.wire import CREATE_MANY, GATEWAY_SECRET, Server

from signal_pipeline.api.graphql.schema import sdl
from signal_pipeline.api.identity.signature import parse_wire_json, signature_of
from signal_pipeline.postgres.database import Connection

pytestmark = pytest.mark.embedded_only

slow = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SCHEMA = build_schema(sdl(), assume_valid=True)
HOSTILE = [
    "\0",
    "\ud800",
    "'; drop table signal.events; --",
    "%s",
    "{filters}",
    "<script>",
    "a@b.example",
    "\u202e",
    "x" * 300,
]
texts = st.sampled_from(
    [*HOSTILE, "journeys-admin", "journey_create_clicked", "/journeys", "journey"]
) | st.text(max_size=8)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
SCALARS = {
    "String": texts,
    "ID": texts | st.uuids().map(str) | st.integers(),
    "Int": st.integers(-(2**31), 2**31 - 1),
    "Json": json_values,
    "Date": st.dates().map(str) | texts,
    "DateTime": st.datetimes().map(lambda at: at.isoformat() + "Z") | texts,
}


def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type of the schema, now and then of another type."""
    if isinstance(kind, GraphQLNonNull):
        return values_of(kind.of_type)
    if isinstance(kind, GraphQLList):
        return st.lists(values_of(kind.of_type), max_size=4)
    if isinstance(kind, GraphQLInputObjectType):
        required = {
            n: values_of(f.type)
            for n, f in kind.fields.items()
            if isinstance(f.type, GraphQLNonNull)
        }
        others = {
            n: st.none() | values_of(f.type) for n, f in kind.fields.items() if n not in required
        }
        return st.fixed_dictionaries(required, optional=others) | json_values
    if isinstance(kind, GraphQLEnumType):
        return st.sampled_from([*kind.values, "NONE"])
    assert isinstance(kind, GraphQLScalarType)
    return SCALARS[kind.name]


def total(rows: Connection) -> int:
    """The sum of everything in the books."""
    row = rows.execute("select coalesce(sum(events), 0)::int from signal.books").fetchone()
    assert row is not None
    return int(str(row[0]))


def send(api: Server, query: str, variables: dict[str, Any], uid: str) -> Any:
    """Send variables as the gateway would sign them; the server reads the same literals."""
    wire = parse_wire_json(json.dumps(variables).encode())
    signature = signature_of(GATEWAY_SECRET.encode(), query, wire)
    request = api.request(query, {}, uid=uid, extensions={"hmac-signature": signature})
    body = {**json.loads(request["content"]), "variables": variables}
    return api.post({**request, "content": json.dumps(body).encode()})


@slow
@given(st.lists(values_of(SCHEMA.type_map["EventCreateInput"]), min_size=1, max_size=5))
def test_generated_events_close_the_books(api: Server, rows: Connection, inputs: list[Any]) -> None:
    before = total(rows)
    answer = send(api, CREATE_MANY, {"input": inputs}, "fuzzer")
    said = answer.json().get("extensions", {}).get("signal", {}).get("events", [])
    if answer.status_code == 200 and "errors" not in answer.json():
        assert len(said) == len(inputs) == len(answer.json()["data"]["eventCreateMany"])
    else:
        assert answer.status_code == 400
    assert total(rows) - before == len(said)


# Descriptions as literals of the query contain numbers that no variable can hold, since a body with
# them is not JSON.
numbers = st.sampled_from(
    ["1e999", "-1e999", "1e-999", "9" * 400, "9" * 5_000, "-0", "1.5E300"]
) | st.integers().map(str)
literals = st.recursive(
    numbers | st.sampled_from(["null", "true", "BARE", "$d", '"text"', '"\\u0000"', '"""block"""']),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda parts: f"[{' '.join(parts)}]")
        | st.dictionaries(st.sampled_from(["n", "email", "__x"]), inner, max_size=3).map(
            lambda parts: "{" + " ".join(f"{name}: {value}" for name, value in parts.items()) + "}"
        )
    ),
    max_leaves=6,
)


@slow
@given(st.lists(literals, min_size=1, max_size=4), json_values)
def test_generated_literals_close_the_books(
    api: Server, rows: Connection, descriptions: list[str], variable: Any
) -> None:
    """Each event has its own outcome: none fails the others."""
    before = total(rows)
    inputs = " ".join(
        f'{{eventType: "journey_create_clicked" appName: "cms" clientEventId: "{uuid.uuid4()}"'
        f" description: {each}}}"
        for each in (*descriptions, '{n: "good"}')
    )
    declared = "($d: Json) " if "$d" in inputs else ""  # A variable that is not used is refused.
    query = f"mutation {declared}{{ eventCreateMany(input: [{inputs}]) {{ description }} }}"
    answer = send(api, query, {"d": variable}, f"fuzzer-{uuid.uuid4()}")
    said = answer.json()["extensions"]["signal"]["events"]
    assert (answer.status_code, len(said)) == (200, len(descriptions) + 1)
    assert said[-1]["outcome"] == "accepted"
    assert total(rows) - before == len(said)


ARGUMENTS = {
    name: {
        argument: values_of(each.type)
        for argument, each in SCHEMA.query_type.fields[name].args.items()
    }  # type: ignore[union-attr]
    for name in ("events", "eventStats")
}


@slow
@given(
    st.sampled_from(["events", "eventStats"]),
    st.data(),
    st.sampled_from(["boss-1", "analyst-1", "user-1"]),
)
def test_generated_questions_are_answered_or_refused(
    api: Server, name: str, draw: st.DataObject, uid: str
) -> None:
    field = SCHEMA.query_type.fields[name]  # type: ignore[union-attr]
    variables = draw.draw(st.fixed_dictionaries({}, optional=ARGUMENTS[name]))
    declared = ", ".join(f"${argument}: {each.type}" for argument, each in field.args.items())
    passed = ", ".join(f"{argument}: ${argument}" for argument in field.args)
    selected = "{ id }" if name == "events" else "{ suppressedRows rows { events users states } }"
    answer = send(api, f"query ({declared}) {{ {name}({passed}) {selected} }}", variables, uid)
    assert answer.status_code in (200, 400)
    assert ("errors" in answer.json()) or answer.json()["data"][name] is not None


@slow
@given(st.binary(max_size=200) | json_values.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_refused_or_answered(api: Server, content: bytes) -> None:
    answer = api.post({"content": content, "headers": {"content-type": "application/json"}})
    assert answer.status_code < 500


@slow
@given(
    json_values,
    json_values,
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40),
)
def test_any_extensions_and_credentials_are_nobody(
    api: Server, rows: Connection, extensions: Any, signature: Any, authorization: str
) -> None:
    before = total(rows)
    headers = {"content-type": "application/json", "authorization": authorization.strip()}
    both = {"hmac-signature": signature, "jwt": extensions}
    for claimed in (extensions, both):
        body = {"query": "{ events { id } }", "extensions": claimed}
        answer = api.post({"content": json.dumps(body).encode(), "headers": headers})
        assert answer.status_code in (200, 400, 401)
        assert "errors" in answer.json()
    assert total(rows) == before


def test_afterwards_everything_reconciles(api: Server, rows: Connection) -> None:
    ((events, keys, booked),) = rows.execute(
        "select (select count(*) from signal.events), (select count(*) from signal.event_keys),"
        " (select coalesce(sum(events), 0) from signal.books where outcome = 'accepted')"
    ).fetchall()
    assert events == keys == booked
    assert "Traceback" not in "".join(api.log)
