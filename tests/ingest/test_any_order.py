"""Random events in any interleaving, batching, duplication and order.

The result is what the oracle says (invariants 1, 2, 7).
"""

from __future__ import annotations

import json
import random
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import SECRET, START_DATE
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.oracle import Oracle
from support.stored import (
    assert_rollups_agree,
    in_order,
    stored_books,
    stored_bots,
    stored_events,
    stored_intake,
)
from support.traffic import CHROME, IPHONE

from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

NOW = datetime.now(UTC).replace(hour=12)
TODAY = NOW.date()
MIDNIGHT = NOW.replace(hour=0, minute=0, second=0, microsecond=0)
EDGES = [
    MIDNIGHT,
    MIDNIGHT - timedelta(microseconds=1),
    MIDNIGHT - timedelta(days=1),
    MIDNIGHT - timedelta(days=1, microseconds=1),
    NOW + timedelta(minutes=5),
    NOW + timedelta(minutes=5, microseconds=1),
    MIDNIGHT - timedelta(days=180),
    MIDNIGHT - timedelta(days=180, microseconds=1),
    MIDNIGHT + timedelta(days=1),
    datetime.fromisoformat(f"{START_DATE}T00:00:00Z") - timedelta(microseconds=1),
]
# Few different values, so that ids, users and sessions coincide.
ids = st.integers(1, 12).map(lambda number: str(uuid.UUID(int=number)))
fields = st.fixed_dictionaries(
    {
        "eventType": st.sampled_from(
            ["journey_create_clicked", "ai_translation_language_picked", "editor_overlay_opened", 7]
        ),
        "appName": st.sampled_from(["cms", "cms", "journeys-admin", "watch"]),
        "createdAt": st.one_of(
            st.sampled_from(EDGES).map(datetime.isoformat),
            st.integers(0, 2 * 86_400).map(lambda s: (MIDNIGHT - timedelta(seconds=s)).isoformat()),
        ),
    },
    optional={
        "clientEventId": st.one_of(ids, ids.map(str.upper), st.none()),
        "route": st.sampled_from([None, "/", "/journeys/123", "/journeys/[id]?q=1", "no-route"]),
        "entityType": st.sampled_from(["journey", "journey", "video", None, "team"]),
        "entityId": st.one_of(ids, ids.map(str.upper), st.just("x")),
        "sessionId": st.one_of(ids, st.none()),
        "description": st.sampled_from(
            [
                {},
                {"language": "Deutsch"},
                {"email": "x"},
                {"language": "x" * 70},
                {"a": "x" * 2_050},
                None,
                [],
            ]
        ),
        "ip": st.sampled_from(["10.0.0.1", "::ffff:10.0.0.1", "2001:DB8::1", "nowhere", "", None]),
        "userAgent": st.sampled_from([CHROME, CHROME, IPHONE, "curl/8.7.1", "", None]),
        "host": st.sampled_from(["Admin.Example.org:443", "cms.example.org", None]),
    },
)
good = st.fixed_dictionaries(
    {
        "eventType": st.sampled_from(["journey_create_clicked", "editor_strategy_overlay_opened"]),
        "appName": st.just("cms"),
        "createdAt": st.integers(0, 86_400).map(lambda s: (NOW - timedelta(seconds=s)).isoformat()),
        "clientEventId": st.one_of(st.uuids(version=4).map(str), ids),
        "sessionId": st.sampled_from([None, str(uuid.UUID(int=1)), str(uuid.UUID(int=2))]),
        "userAgent": st.sampled_from([CHROME, IPHONE]),
    }
)
noise = st.sampled_from([b"torn {", b"[]", b"\xff\xfe", b"   "])
lines = st.one_of(good, good, fields).map(lambda value: json.dumps(value).encode()) | noise

pytestmark = pytest.mark.embedded_only


def batched(items: list[bytes], sizes: random.Random) -> list[list[bytes]]:
    found = []
    while items:
        size = sizes.choice([1, 2, 5, 40])
        found.append(items[:size])
        items = items[size:]
    return found


def forget(connection: Connection) -> None:
    """Empty every table except the days, whose partitions can stay."""
    connection.execute(
        "truncate signal.event_keys, signal.books, signal.day_keys, signal.address_gaps,"
        " signal.builds"
    )
    connection.execute("truncate signal.events, signal.intake, signal.bots")


@settings(
    max_examples=15,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.data_too_large,
    ],
)
@given(sent=st.lists(lines, max_size=60), shuffle=st.randoms(use_true_random=False))
def test_stored_events_books_and_rollups_are_the_oracles(
    database: Database,
    connection: Connection,
    models: Models,
    settings: Settings,
    tmp_path: Path,
    sent: list[bytes],
    shuffle: random.Random,
) -> None:
    """Two writers take turns; lines arrive in any order, some twice, in batches of any size."""
    forget(connection)
    arriving = [*sent, *(shuffle.choices(sent, k=len(sent) // 2) if sent else [])]
    shuffle.shuffle(arriving)
    oracle = Oracle(SECRET, START_DATE)
    with (
        closing(Ingest.from_settings(settings, database, lambda: NOW)) as one,
        closing(Ingest.from_settings(settings, database, lambda: NOW)) as other,
    ):
        for batch in batched(arriving, shuffle):
            shuffle.choice([one, other]).ingest_lines(batch)
            oracle.take(batch, NOW)
    assert stored_books(connection) == oracle.books
    assert stored_intake(connection) == oracle.intake
    assert stored_bots(connection) == oracle.bots
    stored = stored_events(connection)
    for event in stored:  # The oracle knows that an id is derived, but not which one it is.
        if event["client_event_id"].version == 8:
            event["client_event_id"] = None
    assert sorted(stored, key=str) == sorted(oracle.events.values(), key=str)
    for day in {TODAY, TODAY - timedelta(days=1), *oracle.days()}:
        assert_rollups_agree(database, connection, models, tmp_path, oracle, day)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sent=st.lists(good | fields, min_size=1, max_size=30), shuffle=st.randoms(use_true_random=False)
)
def test_the_order_of_arrival_changes_nothing(
    database: Database,
    connection: Connection,
    settings: Settings,
    sent: list[dict[str, object]],
    shuffle: random.Random,
) -> None:
    """Events with an id of their own are each sent up to three times.

    Two orders and batchings give the same result.
    """
    distinct = [
        json.dumps({**event, "clientEventId": str(uuid.UUID(int=number))}).encode()
        for number, event in enumerate(sent, 1)
    ]
    arriving = [text for text in distinct for _ in range(shuffle.randint(1, 3))]
    seen = []
    with closing(Ingest.from_settings(settings, database, lambda: NOW)) as ingest:
        for _ in range(2):
            forget(connection)
            shuffle.shuffle(arriving)
            for batch in batched(arriving, shuffle):
                ingest.ingest_lines(batch)
            seen.append(
                (
                    stored_events(connection),
                    stored_books(connection),
                    stored_intake(connection),
                    stored_bots(connection),
                )
            )
    assert seen[0] == seen[1]
    oracle = Oracle(SECRET, START_DATE)
    oracle.take(distinct, NOW)
    assert seen[0][0] == in_order(list(oracle.events.values()))
