"""Hostile lines through the file path: no crash, every line accounted for, nothing private stored. `make faults` runs more."""

from __future__ import annotations

import io
import re

import pytest
from conftest import Fill

from faults.hostile import ENCODINGS, payloads
from signal_pipeline.ingest import Ingest
from signal_pipeline.store.database import Connection

pytestmark = pytest.mark.embedded_only
PRIVATE = re.compile(r"@example\.org|198\.51\.100\.7|eyJhbGciOi")


def test_every_hostile_line_is_accounted_for(ingest: Ingest, connection: Connection, fill: Fill) -> None:
    lines: list[bytes] = []
    payloads(1_000, lines.append, at_seed=7)
    sent = [line for line in lines if not line.isspace()]
    counts = ingest.ingest_stream(io.BytesIO(b"\n".join(lines)))
    assert counts.received == len(sent)
    assert counts.received == counts.accepted + counts.duplicate + counts.dropped.total()
    booked = connection.execute("select sum(events)::int from signal.books").fetchone()
    assert booked == (len(sent),)
    assert connection.execute("select count(*) from signal.events").fetchone() == (counts.accepted,)
    # The payloads reach what they are for.
    assert counts.accepted > 20
    assert set(counts.dropped) >= {
        "malformed",
        "invalid_field",
        "unknown_event_type",
        "unknown_app",
        "invalid_entity",
        "too_late",
        "in_future",
        "bot",
        "description_pii",
    }
    stored = connection.execute(
        "select coalesce(route, ''), coalesce(description::text, ''), app_name, event_type, browser_family from signal.events"
    ).fetchall()
    assert [row for row in stored if PRIVATE.search(" ".join(map(str, row)))] == []


@pytest.mark.parametrize("encoding", [name for name in ENCODINGS if name not in ("as it is", "a key twice")])
def test_a_broken_line_is_one_drop(ingest: Ingest, encoding: str) -> None:
    counts = ingest.ingest_lines([ENCODINGS[encoding](b'{"eventType": "journey_create_clicked", "appName": "cms"}')])
    assert (counts.received, counts.dropped.total()) == (1, 1)
