"""PostgreSQL's clock is days behind this machine's: events wait, and none is refused for good."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from support.days import days_ago, today
from support.wire import counts, event

from signal_pipeline.api.refusals import log_as_unavailable
from signal_pipeline.api.spooling_ingest import Spooled, SpoolingIngest
from signal_pipeline.events.event import AcceptedEvent
from signal_pipeline.ingest.event_rows import new_event_id
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.ingest.spool import Spool
from signal_pipeline.ingest.spool_files import kept_files
from signal_pipeline.postgres.database import Connection, Database, DatabaseUnreachableError
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

AHEAD = 3
SAYS_WHY = rf"no day {days_ago(-AHEAD)} yet: PostgreSQL's clock says {today()} \d\d:\d\d UTC"


@pytest.fixture
def ahead(
    api_settings: Settings, api_database: Database, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Ingest]:
    """An ingest on a machine that is three days ahead of PostgreSQL."""
    monkeypatch.setattr("signal_pipeline.ingest.spool_writes.today_utc", lambda: days_ago(-AHEAD))
    clock = lambda: datetime.now(UTC) + timedelta(days=AHEAD)  # noqa: E731
    with closing(Ingest.from_settings(api_settings, api_database, clock)) as ingest:
        yield ingest


@pytest.fixture
def let_it_come(rows: Connection) -> Iterator[Callable[[], None]]:
    """Makes the day, as PostgreSQL does once its clock is right. It is gone after the test."""
    day = days_ago(-AHEAD)

    def come() -> None:
        rows.execute("select signal.make_partition(%s)", [day])
        rows.execute("insert into signal.days (day) values (%s)", [day])

    yield come
    rows.execute("delete from signal.days where day = %s", [day])
    rows.execute(f"drop table if exists signal.events_{day:%Y%m%d}")


def _event(ingest: Ingest) -> AcceptedEvent:
    now = datetime.now(UTC) + timedelta(days=AHEAD)
    checked = ingest.acceptance.check_line(json.dumps(event()).encode(), now)
    assert isinstance(checked, AcceptedEvent)
    return msgspec.structs.replace(checked, id=new_event_id(checked.created_at))


def test_events_wait_in_the_spool_until_the_day_has_come(
    ahead: Ingest,
    api_database: Database,
    let_it_come: Callable[[], None],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    before = counts(api_database)[0]
    with closing(Spool(tmp_path, api_database, "00000000", 180)) as spool:
        both = SpoolingIngest(ahead, spool, None, clock=iter(range(0, 9_000, 90)).__next__)
        assert both.store([_event(ahead)]) == [Spooled()]
        assert both.store([_event(ahead)]) == [Spooled()]
        assert not both.drain_spool()
        assert "the spool is kept: no day" in caplog.text
        assert [path.suffix for path in kept_files(tmp_path)] == [".spool", ".spool"]
        assert counts(api_database)[0] == before
        let_it_come()
        both.drain_spool()
        assert kept_files(tmp_path) == []
    assert counts(api_database)[0] == before + 2


def test_without_a_spool_the_caller_is_told_to_send_again(ahead: Ingest) -> None:
    with pytest.raises(DatabaseUnreachableError, match=SAYS_WHY) as refused:
        SpoolingIngest(ahead, None, None).store([_event(ahead)])
    refusal = log_as_unavailable(refused.value)
    assert refusal is not None
    assert refusal.code == "SERVICE_UNAVAILABLE"


def test_an_event_that_is_ahead_of_both_clocks_holds_up_no_other(
    ahead: Ingest,
    api_settings: Settings,
    api_database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """This machine's clock was wrong when the event came, and is right now."""
    before = counts(api_database)[0]
    with closing(Ingest.from_settings(api_settings, api_database)) as ingest:
        good = ingest.acceptance.check_line(json.dumps(event()).encode(), datetime.now(UTC))
    assert isinstance(good, AcceptedEvent)
    monkeypatch.setattr("signal_pipeline.ingest.spool_writes.today_utc", today)
    with closing(Spool(tmp_path, api_database, "00000000", 180)) as spool:
        spool.append(
            [_event(ahead), msgspec.structs.replace(good, id=new_event_id(good.created_at))]
        )
        spool.drain()
    assert counts(api_database)[0] == before + 1
    assert [path.suffix for path in kept_files(tmp_path)] == [".refused"]
    (logged,) = [text for text in caplog.messages if "1 of 2 events of a spooled file" in text]
    assert f".refused: no day {days_ago(-AHEAD)} yet: PostgreSQL's clock says" in logged
