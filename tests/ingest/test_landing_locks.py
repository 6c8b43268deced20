"""Several drains of one landing: each file is taken by one of them, also when its lock is lost."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from conftest import SECRET
from psycopg import sql
from support.days import days_ago
from support.stored import received, stored_events
from support.traffic import traffic

from signal_pipeline.errors import SignalError
from signal_pipeline.ingest.landing import drain_landing, landed_files
from signal_pipeline.ingest.pipeline import Counts, Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.locks import LockClass
from signal_pipeline.settings import Settings

DAY = days_ago(3)
Land = Callable[..., Path]
Drain = Callable[[], Counts]


def test_several_drains_at_once_take_each_file_once(
    land: Land, settings: Settings, database: Database, connection: Connection, small_batches: None
) -> None:
    for number in range(6):
        land([*traffic(DAY, 60, seed=number), b"torn"], f"{number}.ndjson")

    def drain_once(_: int) -> Counts:
        with closing(Ingest.from_settings(settings, database)) as ingest:
            return drain_landing(database, ingest, settings.landing_path, SECRET.encode()).counts

    total = Counts()
    with ThreadPoolExecutor(4) as pool:
        for counts in pool.map(drain_once, range(4)):
            total.merge(counts)
    total.merge(drain_once(0))
    assert total.as_dict() == {
        "received": 366,
        "accepted": 360,
        "duplicate": 0,
        "dropped": {"malformed": 6},
    }
    assert received(connection) == 366
    assert landed_files(settings.landing_path) == []


def test_a_drain_that_lost_its_lock_books_nothing_twice(
    land: Land,
    drain: Drain,
    settings: Settings,
    database: Database,
    connection: Connection,
    ingest: Ingest,
    small_batches: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    land([*traffic(DAY, 100), b"torn", *traffic(DAY, 100, seed=2), b"torn too"])
    store, stored = ingest.store, []

    def lose_the_lock_at_the_second(*arguments: object) -> object:
        stored.append(1)
        if len(stored) == 2:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory' and"
                " classid = %s",
                [LockClass.LANDED_FILE.value],
            )
            with closing(Ingest.from_settings(settings, database)) as other:
                drain_landing(database, other, settings.landing_path, SECRET.encode())
        return store(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(ingest, "store", lose_the_lock_at_the_second)
    with pytest.raises(SignalError):
        drain()
    assert received(connection) == 202
    assert len(stored_events(connection)) == 200


def test_a_server_that_ends_idle_sessions_does_not_release_a_file(
    land: Land,
    drain: Drain,
    ingest: Ingest,
    connection: Connection,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection.execute(
        sql.SQL("alter database {} set idle_session_timeout = 300").format(
            sql.Identifier(connection.info.dbname)
        )
    )
    stored = ingest.ingest_stream

    def slowly(*arguments: Any, **options: Any) -> Counts:
        connection.execute("select pg_sleep(1)")
        (locks,) = connection.execute(
            "select count(*) from pg_locks where locktype = 'advisory' and classid = %s",
            [LockClass.LANDED_FILE.value],
        ).fetchall()
        assert locks == (1,)
        return stored(*arguments, **options)

    monkeypatch.setattr(ingest, "ingest_stream", slowly)
    land(traffic(DAY, 5))
    assert drain().accepted == 5
