"""The quick way for the usual `eventCreate` answers as the executor does, whatever is sent."""

from __future__ import annotations

import re
from typing import Any

import pytest
from wire_support import Server, event

pytestmark = pytest.mark.embedded_only

FIELDS = (
    "id createdAt appName eventType kind: __typename route entityType entityId userHash sessionId deviceType"
    " browserFamily osFamily clientEventId description"
)
PLAIN = f"mutation Click($input: EventCreateInput!) {{ made: eventCreate(input: $input) {{ {FIELDS} }} }}"
# A harmless directive is not plain.
EXECUTED = PLAIN.replace("(input: $input)", "(input: $input) @include(if: true)")

BARE = {name: event()[name] for name in ("eventType", "appName", "clientEventId")}
SENT: list[tuple[dict[str, object] | None, dict[str, object]]] = [
    ({"input": event()}, {}),
    ({"input": BARE}, {}),
    ({"input": event(entityType="journey", entityId="3f2b6c1e-8c1d-4b6a-9a37-0d2f0c5e7f11")}, {}),
    ({"input": event(description={"n": 1.50, "list": [None, True, {"a": "ü"}]})}, {}),
    ({"input": {**event(), "route": None, "sessionId": None, "description": None, "entityId": None}}, {}),
    ({"input": event(appName="no-such-app")}, {}),
    ({"input": event(eventType="")}, {}),
    ({"input": event(description=[1])}, {}),
    ({"input": {**event(), "noSuchField": 1}}, {}),
    ({"input": {**event(), "appName": None}}, {}),
    ({"input": {"eventType": "journey_create_clicked"}}, {}),
    ({"input": {}}, {}),
    *(
        ({"input": {**event(), name: value}}, {})
        for name in ("appName", "entityId")
        for value in (7, 1.5, True, [], {})
    ),
    *(({"input": value}, {}) for value in (None, 7, "text", True, [], [event()])),
    ({}, {}),
    (None, {}),
    ({"other": event()}, {}),
    ({"input": event(), "other": 1}, {}),
    ({"input": event()}, {"operationName": "Click"}),
    ({"input": event()}, {"operationName": "Other"}),
    ({"input": event()}, {"operationName": ""}),
    ({"input": event()}, {"operationName": None}),
    ({"input": event()}, {"uid": None}),
    ({"input": event()}, {"uid": "boss-1"}),
    ({"input": event()}, {"headers": {"user-agent": "curl/8.5.0"}}),
]


def _answer(api: Server, query: str, variables: dict[str, object] | None, more: dict[str, Any]) -> object:
    """Status and body, with ids and times, which differ, by their shape."""
    answer = api.call(query, variables, **more)
    body = answer.json()
    made = (body.get("data") or {}).get("made") or {}
    for name in {"id", "createdAt", "clientEventId"} & made.keys():
        made[name] = re.sub(r"[0-9a-f]+", "x", made[name])
    return answer.status_code, body, list(made)


@pytest.mark.parametrize(("variables", "more"), SENT)
def test_both_ways_answer_alike(api: Server, variables: dict[str, object] | None, more: dict[str, Any]) -> None:
    answers = []
    for query in (PLAIN, EXECUTED):
        given = dict(variables) if variables else variables
        if given and isinstance(given.get("input"), dict) and "clientEventId" in given["input"]:  # type: ignore[operator]
            given["input"] = {**given["input"], "clientEventId": event()["clientEventId"]}  # type: ignore[dict-item]
        answers.append(_answer(api, query, given, more))
    assert answers[0] == answers[1]
