"""Hostile payloads by file and over HTTP; `make faults` runs more.

There is no crash, and every payload is accounted for. Payloads that pass are stored as they should
be, and nothing private is stored.
"""

from __future__ import annotations

import json
import re
import resource
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from faults import actions
from faults.hostile import ENCODINGS
from faults.hostile_clients import by_connection
from faults.hostile_ways import by_api, by_file
from faults.sly_rows import Stored, differences
from faults.sly_values import NOBODY
from faults.world import SECRET, StuckError, World
from signal_pipeline.ingest.pipeline import Ingest

PRIVATE = re.compile(
    r"@example\.org|@private\.example|198\.51\.100\.7|eyJhbGciOi|4111 1111|NWBK|\+43"
    r" 664|00:1a:2b:3c:4d:5e|48\.2082|token=abc"
)
STORED = (
    "select coalesce(route, ''), coalesce(description::text, ''), app_name, event_type,"
    " browser_family from signal.events"
)
REASONS = {
    "malformed",
    "invalid_field",
    "unknown_event_type",
    "unknown_app",
    "invalid_entity",
    "bot",
    "description_pii",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A home of its own; the environment is restored afterwards."""
    folder: Path = tmp_path_factory.mktemp("hostile")
    folder.chmod(0o755)
    with World.in_folder(folder) as world:
        world.finish(actions.migrate_all)
        yield world


def test_every_payload_of_a_file_is_accounted_for(world: World) -> None:
    books = by_file(
        world, 1_000, seed=7
    )  # It compares the books with what was sent, and the rows with an oracle.
    assert books["accepted"] > books.total() / 5
    assert {f"dropped {reason}" for reason in {*REASONS, "too_late", "in_future"}} <= books.keys()
    with world.connect() as connection:
        stored = connection.execute(STORED).fetchall()
    assert [row for row in stored if PRIVATE.search(" ".join(map(str, row)))] == []


def test_every_payload_over_http_is_accounted_for_or_refused(world: World) -> None:
    books = by_api(world, 600, seed=8)
    assert books["accepted"] > books.total() / 5
    assert {"refused", *(f"dropped {reason}" for reason in REASONS - {"bot"})} <= books.keys()
    with world.connect() as connection:
        stored = connection.execute(STORED).fetchall()
    assert [row for row in stored if PRIVATE.search(" ".join(map(str, row)))] == []


def test_a_row_that_is_not_as_sent_is_found(world: World) -> None:
    """Tests the comparison itself, which could otherwise pass by doing nothing."""
    key, day = "00000000-0000-4000-8000-000000000001", datetime.now(UTC) - timedelta(days=1)
    right = Stored(
        "cms",
        "journey_create_clicked",
        "/",
        None,
        None,
        '{"n": 1.0}',
        NOBODY,
        "",
        "cms.example.org",
        day,
    )
    line = {
        "eventType": right.event_type,
        "appName": right.app_name,
        "route": "/",
        "clientEventId": key,
    }
    file = world.home / "one.ndjson"
    file.write_bytes(
        json.dumps({**line, "createdAt": day.isoformat(), "description": {"n": 1}}).encode()
    )
    world.finish(actions.ingest_file, file, day)
    with world.connect() as connection:
        assert differences(connection, SECRET, {key: right}) == []
        for column, other in (
            ("route", "/x"),
            ("description", '{"n": 2}'),
            ("address", "192.0.2.1"),
            ("entity_id", "x"),
        ):
            wrong = differences(connection, SECRET, {key: replace(right, **{column: other})})
            assert len(wrong) == 1
        assert len(differences(connection, SECRET, {key[:-1] + "2": right})) == 1


@pytest.mark.parametrize(
    "encoding", [name for name in ENCODINGS if name not in ("as it is", "a key twice")]
)
@pytest.mark.embedded_only
def test_a_broken_line_is_one_drop(ingest: Ingest, encoding: str) -> None:
    counts = ingest.ingest_lines(
        [ENCODINGS[encoding](b'{"eventType": "journey_create_clicked", "appName": "cms"}')]
    )
    assert (counts.received, counts.dropped.total()) == (1, 1)


@pytest.fixture
def few_files() -> Iterator[int]:
    """A soft limit of open files that is lower than the number of connections; the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (250, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_hostile_connections_shut_nobody_out(world: World, few_files: int) -> None:
    assert by_connection(world, 300, seed=9).startswith("300 connections")


def test_more_connections_than_files_are_refused(world: World, few_files: int) -> None:
    if few_files == resource.RLIM_INFINITY:
        pytest.skip("this process may open any number of files")
    with pytest.raises(StuckError, match="hard limit is"):
        by_connection(world, few_files, seed=9)
