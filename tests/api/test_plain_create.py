"""A plain document is answered as the executor answers it.

The oracle is graphql-core's executor, asked directly.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from inspect import isawaitable
from typing import Any

import pytest
import strawberry
from graphql import ExecutionResult, execute, parse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from signal_pipeline.api.graphql import documents, writing
from signal_pipeline.api.graphql.documents import Documents
from signal_pipeline.api.graphql.schema import build_schema
from signal_pipeline.api.graphql.types import Event, EventCreateInput, Json
from signal_pipeline.api.refusals import ApiError, unauthenticated
from signal_pipeline.api.requests import Call
from signal_pipeline.postgres.database import DatabaseUnreachableError

SCHEMA = build_schema()
DOCUMENTS = Documents(SCHEMA, introspection=True)
STORED = Event(
    id=strawberry.ID("01a211d8-ee6d-78ee-a022-70ed4c1bb956"),
    created_at=datetime(2026, 3, 4, 5, 6, 7, 8, UTC),
    app_name="cms",
    event_type="journey_create_clicked",
    route=None,
    entity_type="journey",
    entity_id=strawberry.ID("3f2b6c1e-8c1d-4b6a-9a37-0d2f0c5e7f11"),
    user_hash=None,
    session_id=None,
    device_type="desktop",
    browser_family="Chrome",
    os_family="macOS",
    client_event_id=strawberry.ID("7b0e7a8e-6f0e-4d0c-9a3e-0d6f0c7f1c11"),
    description=Json({"a": [1, None]}),
)
EVERY = (
    "id createdAt appName eventType route entityType entityId userHash sessionId deviceType"
    " browserFamily osFamily clientEventId description"
)
PLAIN = [
    "mutation ($input: EventCreateInput!) { eventCreate(input: $input) { id } }",
    f"mutation ($input: EventCreateInput!) {{ eventCreate(input: $input) {{ {EVERY} }} }}",
    (
        "mutation"
        " Send($_v0_input:EventCreateInput!){_v0_eventCreate:eventCreate(input:$_v0_input){__typename"
        " b:id a:route}}"
    ),
]
OTHERS = [
    "mutation ($input: EventCreateInput!) { eventCreate(input: $input) { id id } }",
    (
        "mutation ($input: EventCreateInput!) { eventCreate(input: $input) { id @skip(if: true)"
        " route } }"
    ),
    (
        "mutation ($input: EventCreateInput!) { eventCreate(input: $input) @include(if: false) {"
        " id } }"
    ),
    "mutation ($input: EventCreateInput!) { eventCreate(input: $input) { ... { id } } }",
    (
        "mutation ($input: EventCreateInput!) { eventCreate(input: $input) { ...F } } fragment F on"
        " Event { id }"
    ),
    "mutation ($input: EventCreateInput!) { __typename eventCreate(input: $input) { id } }",
    (
        "mutation ($input: EventCreateInput!) { a: eventCreate(input: $input) { id } b:"
        " eventCreate(input: $input) { id } }"
    ),
    "mutation ($input: [EventCreateInput!]!) { eventCreateMany(input: $input) { id } }",
    """mutation ($input: EventCreateInput! = {eventType: "a", appName: "b", clientEventId: "c"})
    { eventCreate(input: $input) { id } }""",
    'mutation { eventCreate(input: {eventType: "a", appName: "b", clientEventId: "c"}) { id } }',
    (
        'mutation ($t: String!) { eventCreate(input: {eventType: $t, appName: "b", clientEventId:'
        ' "c"}) { id } }'
    ),
]
GOOD = {"eventType": "a", "appName": "b", "clientEventId": "c"}
Answer = Event | None | Exception

odd = (
    st.none()
    | st.integers(-9, 9)
    | st.floats(0, 1)
    | st.booleans()
    | st.just([])
    | st.just({"a": 1})
)
texts = st.text(max_size=3)
inputs = st.builds(
    lambda required, optional, odd, missing: {
        name: value for name, value in {**required, **optional, **odd}.items() if name != missing
    },
    st.fixed_dictionaries(dict.fromkeys(GOOD, texts)),
    st.dictionaries(
        st.sampled_from(["route", "entityType", "entityId", "sessionId", "description"]),
        st.none() | texts,
    ),
    st.dictionaries(
        st.sampled_from([*GOOD, "route", "entityId", "description", "unknown"]), odd, max_size=1
    ),
    st.sampled_from(["", "", "", *GOOD]),
)
variables = st.builds(lambda given: {"input": given, "_v0_input": given}, inputs)
names = st.sampled_from([None, None, None, "Send", "Other", ""])


class Resolver:
    """Stands in for the writing of events: keeps its input, and always gives the same answer."""

    def __init__(self, answer: Answer = STORED) -> None:
        self.answer = answer
        self.given: list[EventCreateInput] = []

    async def __call__(self, _: object, inputs: Sequence[EventCreateInput]) -> list[Event | None]:
        self.given += inputs
        if isinstance(self.answer, Exception):
            raise self.answer
        return [self.answer] * len(inputs)


def shown(result: Any) -> object:
    """Everything that an answer consists of."""
    errors = [
        (str(e.message), e.path, e.locations, type(e.original_error)) for e in result.errors or []
    ]
    return result.data, errors


async def executed(query: str, given: Any, name: str | None) -> ExecutionResult:
    """The executor's own answer."""
    result = execute(SCHEMA._schema, parse(query), variable_values=given, operation_name=name)
    return await result if isawaitable(result) else result


def both(
    query: str, given: Any, name: str | None, answer: Answer, patch: pytest.MonkeyPatch
) -> tuple[object, object]:
    """The answer and what was stored: by us, and by the executor."""
    answers = []
    for run in (
        lambda: DOCUMENTS.run(Call(query, given, name), None),  # type: ignore[arg-type]
        lambda: executed(query, given, name),
    ):
        resolver = Resolver(answer)
        patch.setattr(writing, "create_events", resolver)
        patch.setattr("signal_pipeline.api.graphql.schema.create_events", resolver)
        answers.append((shown(asyncio.run(run())), resolver.given))
    return answers[0], answers[1]


@settings(
    deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.sampled_from(PLAIN), variables, names)
def test_whatever_is_given_the_answer_is_the_executors(
    monkeypatch: pytest.MonkeyPatch, query: str, given: dict[str, object], name: str | None
) -> None:
    ours, expected = both(query, given, name, STORED, monkeypatch)
    assert ours == expected


@pytest.mark.parametrize("query", [*PLAIN, *OTHERS])
@pytest.mark.parametrize(
    "given",
    [{}, {"input": None}, {"input": "a"}, {"input": [GOOD]}, {"input": GOOD, "t": "a"}, None],
)
def test_other_documents_and_variables_too(
    monkeypatch: pytest.MonkeyPatch, query: str, given: dict[str, object] | None
) -> None:
    ours, expected = both(query, given, None, STORED, monkeypatch)
    assert ours == expected


@pytest.mark.parametrize("query", PLAIN)
@pytest.mark.parametrize(
    "answer",
    [
        STORED,
        None,
        unauthenticated("log in"),
        ApiError("X", "away", 503),
        DatabaseUnreachableError("gone"),
        KeyError("k"),
    ],
)
def test_whatever_is_stored_the_answer_is_the_executors(
    monkeypatch: pytest.MonkeyPatch, query: str, answer: Answer
) -> None:
    given = {"input": GOOD, "_v0_input": {**GOOD, "route": None, "description": {"a": 1}}}
    ours, expected = both(query, given, None, answer, monkeypatch)
    assert ours == expected


@pytest.mark.parametrize(
    ("query", "plain"), [*((q, True) for q in PLAIN), *((q, False) for q in OTHERS)]
)
def test_only_plain_documents_go_without_the_executor(
    monkeypatch: pytest.MonkeyPatch, query: str, plain: bool
) -> None:
    asked = []
    monkeypatch.setattr(writing, "create_events", Resolver())
    monkeypatch.setattr("signal_pipeline.api.graphql.schema.create_events", Resolver())
    original = documents.execute
    monkeypatch.setattr(documents, "execute", lambda *a, **k: asked.append(1) or original(*a, **k))
    given: dict[str, object] = {"input": GOOD, "_v0_input": GOOD, "t": "a"}
    asyncio.run(DOCUMENTS.run(Call(query, given), None))  # type: ignore[arg-type]
    assert asked == ([] if plain else [1])
