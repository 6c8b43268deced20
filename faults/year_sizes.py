"""The sizes after so many days of the long walk, and what grows that must not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from signal_pipeline.dagster.home import DAGSTER_DATABASE
from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.embedded_folders import data_folder

SIZES = """
select pg_database_size(current_database()), pg_database_size(%s),
    (select coalesce(sum(pg_total_relation_size(oid)), 0) from pg_class
        where relnamespace = 'signal'::regnamespace and relkind = 'r' and (relname ~ '^events_' or relname = 'event_keys')),
    (select count(*) from signal.events), (select count(*) from signal.receipts)
"""
# What must not grow for ever. The retention bounds the raw events and their bytes (`raw`). `home`
# counts the bytes of the files beside the database.
STEADY = (
    "raw",
    "home",
    "events",
)
SLACK_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes, rows, and average seconds per day.

    The bytes are those of both databases, of raw events with their keys, of the files beside
    PostgreSQL's, and of PostgreSQL's files, WAL included.
    """

    days: int
    signal: int
    dagster: int
    raw: int
    home: int
    postgres: int
    events: int
    receipts: int
    seconds: float

    def line(self) -> str:
        """Return one line of JSON."""
        return json.dumps(asdict(self))


def measure(connection: Connection, home: Path, days: int, seconds: float) -> Sizes:
    """Return the present sizes."""
    row = connection.execute(SIZES, [DAGSTER_DATABASE]).fetchone()
    assert row
    signal, dagster, raw, events, receipts = (int(str(value)) for value in row)
    server = data_folder(home.resolve())
    beside, of_server = _bytes_below(home, without=server), _bytes_below(server)
    return Sizes(days, signal, dagster, raw, beside, of_server, events, receipts, round(seconds, 2))


def growing(sizes: Sequence[Sizes], since: int) -> dict[str, list[int]]:
    """Return what grows after so many days although it must not, with its curve."""
    steady = [each for each in sizes if each.days > since]
    curves = {name: [getattr(each, name) for each in steady] for name in STEADY}
    half = len(steady) // 2
    return {
        name: curve
        for name, curve in curves.items()
        if half and max(curve[half:]) > 1.25 * max(curve[:half]) + SLACK_BYTES * (name != "events")
    }


def _bytes_below(folder: Path, without: Path | None = None) -> int:
    total = 0
    for path in folder.rglob("*"):
        if without is None or without not in path.parents:
            with suppress(OSError):  # The file is gone.
                total += path.lstat().st_size if path.is_file() else 0
    return total
