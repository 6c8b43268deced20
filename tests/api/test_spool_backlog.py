"""A long outage leaves a long spool: draining it holds up neither new events nor the end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import msgspec
import pytest
from support.waits import PATIENCE_SECONDS
from support.wire import counts, event

from signal_pipeline.api.group_commit import GroupCommit
from signal_pipeline.api.spooling_ingest import SpoolingIngest
from signal_pipeline.events.event import AcceptedEvent, Drop
from signal_pipeline.ingest.event_rows import new_event_id
from signal_pipeline.ingest.pipeline import Ingest, utc_now
from signal_pipeline.ingest.spool import Spool
from signal_pipeline.ingest.spool_files import waiting_files
from signal_pipeline.postgres.database import Connection, Database, DatabaseUnreachableError
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

FILES = 4


class CountingDatabase(Database):
    """Counts the connections that are opened."""

    opened = 0

    def connect(self) -> Connection:
        self.opened += 1
        return super().connect()


@pytest.fixture
def ingest(api_settings: Settings, api_database: Database) -> Iterator[Ingest]:
    """An ingest with today's clock."""
    with closing(Ingest.from_settings(api_settings, api_database)) as events:
        yield events


@pytest.fixture
def backlog(
    ingest: Ingest, api_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Spool]:
    """A spool in which files wait, and whose drain has time for only one of them."""
    monkeypatch.setattr("signal_pipeline.ingest.spool.DRAIN_SECONDS", 0)
    with closing(Spool(tmp_path, CountingDatabase(api_database.url), "00000000", 180)) as spool:
        for _ in range(FILES):
            spool.append([new_event(ingest)])
        yield spool


def new_event(ingest: Ingest) -> AcceptedEvent | Drop:
    checked = ingest.acceptance.check_line(json.dumps(event()).encode(), utc_now())
    assert isinstance(checked, AcceptedEvent)
    return msgspec.structs.replace(checked, id=new_event_id(checked.created_at))


def test_a_drain_is_bounded(backlog: Spool, api_database: Database, tmp_path: Path) -> None:
    before, files = counts(api_database)[0], waiting_files(tmp_path)
    for stored in range(1, FILES + 1):
        backlog.drain()
        assert waiting_files(tmp_path) == files[stored:]
        assert counts(api_database)[0] == before + stored
        assert backlog.waiting == (stored < FILES)


def test_a_drain_opens_one_connection(
    ingest: Ingest, api_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal_pipeline.ingest.spool.DRAIN_SECONDS", PATIENCE_SECONDS)
    database = CountingDatabase(api_database.url)
    with closing(Spool(tmp_path, database, "00000000", 180)) as spool:
        for _ in range(FILES):
            spool.append([new_event(ingest)])
        spool.drain()
    assert (database.opened, waiting_files(tmp_path)) == (1, [])


class HangingIngest(Ingest):
    """An ingest whose database fails a try only after `seconds` of a clock of its own."""

    tries, seconds, now = 0, 10.0, 1_000.0

    def store(self, *_: object) -> NoReturn:
        self.tries += 1
        self.now += self.seconds
        raise DatabaseUnreachableError("cannot reach PostgreSQL")


class HangingDatabase(Database):
    """A database of such an ingest."""

    ingest: HangingIngest

    def connect(self) -> NoReturn:
        self.ingest.store()


def test_a_database_that_hangs_does_not_hold_up_each_batch(
    api_settings: Settings, api_database: Database, tmp_path: Path
) -> None:
    hanging = HangingDatabase(api_database.url)
    with (
        closing(HangingIngest.from_settings(api_settings, api_database)) as ingest,
        closing(Spool(tmp_path, hanging, "00000000", 180)) as spool,
    ):
        assert isinstance(ingest, HangingIngest)
        hanging.ingest = ingest
        both = SpoolingIngest(ingest, spool, None, clock=lambda: ingest.now)

        def tries_of_a_batch() -> int:
            before = ingest.tries
            assert [answer.kind for answer in both.store([new_event(ingest)])] == ["spooled"]
            return ingest.tries - before

        assert [tries_of_a_batch() for _ in range(3)] == [1, 0, 0]
        assert not both.drain_spool()
        assert ingest.tries == 1
        ingest.now += 10
        assert [tries_of_a_batch() for _ in range(2)] == [1, 0]
        ingest.now, ingest.seconds = ingest.now + 10, 0.001  # It refuses at once.
        assert [tries_of_a_batch() for _ in range(2)] == [1, 0]
        ingest.now += 0.001
        assert tries_of_a_batch() == 1
        assert len(waiting_files(tmp_path)) == 8


def test_new_events_are_spooled_behind_the_waiting_ones(
    backlog: Spool, ingest: Ingest, tmp_path: Path
) -> None:
    files, both = waiting_files(tmp_path), SpoolingIngest(ingest, backlog, None)
    new = new_event(ingest)
    assert [answer.kind for answer in both.store([new])] == ["spooled"]
    left = waiting_files(tmp_path)
    assert left[:-1] == files[1:]
    while backlog.waiting:
        assert both.drain_spool() == backlog.waiting
    assert [answer.kind for answer in both.store([new, new_event(ingest)])] == [
        "duplicate",
        "accepted",
    ]


def test_an_idle_server_drains_everything(
    backlog: Spool, ingest: Ingest, api_database: Database, tmp_path: Path
) -> None:
    before = counts(api_database)[0]

    async def idle() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), GroupCommit(ingest, backlog):
            while waiting_files(tmp_path):
                await asyncio.sleep(0.01)

    asyncio.run(idle())
    assert counts(api_database)[0] == before + FILES


def test_a_server_ends_before_everything_is_drained(
    backlog: Spool, ingest: Ingest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signal_pipeline.api.committer.SPOOL_SECONDS", 600)

    async def store_one() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), GroupCommit(ingest, backlog) as commits:
            await commits.store([new_event(ingest)])

    asyncio.run(store_one())
    assert waiting_files(tmp_path)


def test_a_long_list_is_made_once(backlog: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listing a hundred thousand files takes as long as a drain may take."""
    backlog.drain()
    lists = 0

    def counted(folder: Path | None) -> list[Path]:
        nonlocal lists
        lists += 1
        return waiting_files(folder)

    monkeypatch.setattr("signal_pipeline.ingest.spool.waiting_files", counted)
    for _ in range(FILES - 2):
        backlog.drain()
    assert (lists, backlog.waiting) == (0, True)
    backlog.drain()
    assert (lists, backlog.waiting) == (1, False)


def test_a_file_that_somebody_takes_away_holds_nothing_up(backlog: Spool, tmp_path: Path) -> None:
    backlog.drain()
    waiting_files(tmp_path)[0].unlink()
    while backlog.waiting:
        backlog.drain()
    assert waiting_files(tmp_path) == []
