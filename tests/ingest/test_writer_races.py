"""Writers beside each other, beside a purge and beside a build (invariants 2, 4 and 5)."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

from support.checked import DAY, NOON, checked, good, versions
from support.stored import count, stored_books, stored_bots, stored_events, stored_intake
from support.traffic import IPHONE, line, traffic

from signal_pipeline.days.freshness import day_statuses
from signal_pipeline.ingest.books import Outcome
from signal_pipeline.ingest.writer import EventWriter
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.duckdb_engine import DuckdbEngine
from signal_pipeline.rollups.models import Models


def test_an_event_that_meets_a_purge_waits_for_it(
    writer: EventWriter, database: Database, connection: Connection
) -> None:
    writer.write([good()])
    with ThreadPoolExecutor(1) as pool, database.connect() as purge:
        with purge.transaction():
            purge.execute("select from signal.days where day = %s for update", [DAY])
            meeting = pool.submit(writer.write, [good()])
            waiting = (
                "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query"
                " like '%%execute lock_days%%'"
            )
            while not count(connection, waiting + " and datname = current_database()"):
                assert not meeting.done()
            purge.execute("update signal.days set state = 'purged' where day = %s", [DAY])
        assert meeting.result() == [Outcome("dropped", "too_late")]
    assert len(stored_events(connection)) == 1


def test_an_event_that_lands_during_a_build_leaves_the_day_stale(
    writer: EventWriter,
    database: Database,
    connection: Connection,
    models: Models,
    tmp_path: Path,
) -> None:
    """A late committer: its transaction began before the build, and ends after it."""
    engine = DuckdbEngine(database.url, tmp_path)
    writer.write([good()])

    def build_meanwhile(_: Connection) -> None:
        assert build_day(database, engine, models, DAY).raw_events == 1

    writer.write([good()], build_meanwhile)
    checksums = models.checksums
    (status,) = day_statuses(connection, checksums)
    assert set(status.rollups.values()) == {"stale"}
    assert build_day(database, engine, models, DAY).raw_events == 2
    (status,) = day_statuses(connection, checksums)
    assert set(status.rollups.values()) == {"fresh"}


@contextmanager
def left_at_an_error(barrier: threading.Barrier) -> Iterator[None]:
    """Let nobody wait at a barrier for one that has failed."""
    try:
        yield
    except BaseException:
        barrier.abort()
        raise


def test_the_same_ids_from_many_writers_in_any_order_are_stored_once(
    database: Database, connection: Connection
) -> None:
    events = checked(*traffic(DAY, 150), *traffic(DAY + timedelta(days=1), 150))
    writers, rounds = 4, 3
    together = threading.Barrier(writers)

    def send(number: int) -> Counter[str]:
        chance = random.Random(number)
        found: Counter[str] = Counter()
        with closing(EventWriter(database, "00000001")) as writer, left_at_an_error(together):
            for _ in range(rounds):
                shuffled = chance.sample(events, len(events))
                together.wait()
                for first in range(0, len(shuffled), 100):
                    found.update(
                        outcome.kind for outcome in writer.write(shuffled[first : first + 100])
                    )
        return found

    with ThreadPoolExecutor(writers) as pool:
        total = sum(pool.map(send, range(writers)), Counter[str]())
    assert total == {"accepted": 300, "duplicate": 300 * (writers * rounds - 1)}
    assert len(stored_events(connection)) == 300
    assert count(connection, "select count(*) from signal.event_keys") == 300
    booked: Counter[str] = Counter()
    for (_, _, _, outcome, _), number in stored_books(connection).items():
        booked[outcome] += number
    assert booked == total


def test_every_commit_of_many_writers_raises_the_version_by_one(
    database: Database, connection: Connection
) -> None:
    def send(number: int) -> None:
        with closing(EventWriter(database, "00000001")) as writer:
            for _ in range(10):
                writer.write([good(), good(NOON + timedelta(days=1))])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(4)))
    assert versions(connection) == {DAY: 40, DAY + timedelta(days=1): 40}


def test_writers_of_different_days_that_meet_on_the_day_of_receipt_lose_no_count(
    database: Database, connection: Connection
) -> None:
    apps, agents = (
        ["cms", "journeys-admin", "videos-admin"],
        ["curl/8.7.1", f"{IPHONE} Googlebot/2.1"],
    )
    together = threading.Barrier(4)

    def send(number: int) -> None:
        chance = random.Random(number)
        at = NOON - timedelta(days=number % 2)
        with closing(EventWriter(database, "00000001")) as writer, left_at_an_error(together):
            for _ in range(15):
                bots = [line(at, appName=app, userAgent=agent) for app in apps for agent in agents]
                batch = checked(*bots, *[line(at, appName=app) for app in apps])
                together.wait()
                writer.write(chance.sample(batch, len(batch)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(send, range(4)))
    assert stored_intake(connection).total() == stored_books(connection).total() == 4 * 15 * 9
    assert stored_bots(connection).total() == 4 * 15 * 6
