"""Four days of a real access log, against the oracle.

Every number of every rollup, every event and every drop is compared.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from json import loads
from pathlib import Path

import pytest
from conftest import SECRET, START_DATE
from support.days import today
from support.oracle import Oracle
from support.outside import REAL_TRAFFIC, needs
from support.stored import (
    assert_rollups_agree,
    count,
    in_order,
    stored_books,
    stored_bots,
    stored_events,
    stored_intake,
)

from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.models import Models
from signal_pipeline.settings import Settings

DAYS = [date(2026, 11, day) for day in (15, 16, 17, 18)]
NOW = datetime(2026, 11, 19, tzinfo=UTC)

pytestmark = [
    needs(REAL_TRAFFIC),
    pytest.mark.skipif(
        not START_DATE <= DAYS[0] <= DAYS[-1] <= today(),
        reason="the clock shows a time before the days of the file, or too long after them",
    ),
]


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    """The oracle, after it has read the file."""
    oracle = Oracle(SECRET, START_DATE)
    oracle.take(REAL_TRAFFIC.read_bytes().split(b"\n"), NOW)
    return oracle


def test_every_number_of_real_traffic_is_the_oracles(
    database: Database,
    connection: Connection,
    models: Models,
    ingest_at: Callable[[datetime], Ingest],
    oracle: Oracle,
    tmp_path: Path,
) -> None:
    with REAL_TRAFFIC.open("rb") as stream:
        counts = ingest_at(NOW).ingest_stream(stream)
    assert counts.as_dict() == oracle.counts
    assert counts.received == 10_464
    assert stored_books(connection) == oracle.books
    assert stored_intake(connection) == oracle.intake
    assert stored_bots(connection) == oracle.bots
    assert oracle.bots.total() > 1_000
    assert stored_events(connection) == in_order(list(oracle.events.values()))
    assert count(connection, "select count(*) from signal.event_keys") == len(oracle.events)
    assert oracle.days() == DAYS
    for day in DAYS:
        assert_rollups_agree(database, connection, models, tmp_path, oracle, day)


@pytest.mark.embedded_only
def test_real_traffic_again_is_all_duplicates(
    connection: Connection, ingest_at: Callable[[datetime], Ingest], oracle: Oracle
) -> None:
    lines = REAL_TRAFFIC.read_bytes().split(b"\n")
    first = ingest_at(NOW).ingest_lines(lines)
    again = ingest_at(NOW).ingest_lines(reversed(lines))
    assert (again.accepted, again.duplicate) == (0, first.accepted + first.duplicate)
    assert again.dropped == first.dropped
    assert stored_events(connection) == in_order(list(oracle.events.values()))


@pytest.mark.embedded_only
def test_the_command_counts_real_traffic_as_the_oracle_does(environment: Settings) -> None:
    """Today's clock gives the same as November's, as long as the file's days are kept."""
    now = datetime.now(UTC)
    oracle = Oracle(SECRET, START_DATE)
    oracle.take(REAL_TRAFFIC.read_bytes().split(b"\n"), now)
    command = [
        sys.executable,
        "-c",
        "from signal_pipeline.cli import main; main()",
        "ingest",
        REAL_TRAFFIC,
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, env=dict(os.environ), check=True)
    assert loads(done.stdout.splitlines()[-1]) == oracle.counts
