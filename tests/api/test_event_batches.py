"""`eventCreateMany`, and requests with several fields: what they may hold, and the rate limit."""

from __future__ import annotations

import json

import pytest
from support.books import added, books
from support.wire import CREATE_MANY, Server, code, event, outcome

from signal_pipeline.postgres.database import Connection

pytestmark = pytest.mark.embedded_only


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


def test_batch_sizes(api: Server, rows: Connection) -> None:
    """An empty batch has an empty answer, and more than a hundred events are refused."""
    assert api.call(CREATE_MANY, {"input": []}).json() == {"data": {"eventCreateMany": []}}
    before = books(rows)
    refused = api.call(CREATE_MANY, {"input": [event() for _ in range(101)]}).json()
    assert (code(refused), refused["data"]) == ("BAD_USER_INPUT", None)
    assert books(rows) == before


def test_limit_of_a_request(api: Server, rows: Connection) -> None:
    """The events of all fields of a request count together."""
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


def test_number_beyond_json(api: Server, rows: Connection) -> None:
    """A number that JSON cannot hold drops its own event, and no other."""

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


def test_large_shared_variable(api: Server, rows: Connection) -> None:
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


def test_largest_request(api: Server) -> None:
    """A hundred events with the largest descriptions fit into a request."""
    largest = {"a": "x" * (2_048 - len('{"a":""}'))}
    answer = api.call(
        CREATE_MANY, {"input": [event(description=largest) for _ in range(100)]}, uid="thorough-1"
    )
    reasons = {each["reason"] for each in answer.json()["extensions"]["signal"]["events"]}
    assert reasons == {None, "rate_limited"}


def test_rate_limit(api: Server, rows: Connection) -> None:
    """A person's events beyond sixty a minute are dropped and booked."""
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


def test_drops_do_not_use_up_the_limit(api: Server) -> None:
    """Only events that pass every other rule count for the rate limit."""
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
