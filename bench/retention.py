"""Retention: the cost of purging a day, against DELETE and VACUUM.

It also measures how long a writer waits meanwhile, and the ledger's size.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from typing import LiteralString, NamedTuple

from bench.measure import Cost, median
from bench.peers import delete_vacuum, plain_table
from bench.run import Bench
from bench.server import HISTORY_DAYS, database_of, ingest_at_end_of
from bench.table import Row, faster, limit, seconds
from bench.traffic import YESTERDAY, fill_day, lines_of, multiply
from signal_pipeline.days.calendar import today_utc
from signal_pipeline.postgres.database import Connection
from signal_pipeline.privacy.retention import purge_due_days
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.duckdb_engine import DuckdbEngine
from signal_pipeline.rollups.models import load_models
from signal_pipeline.settings import Settings

DUE = [today_utc() - timedelta(days=HISTORY_DAYS + n) for n in range(1, 7)]
TO_PURGE, CACHED, EVICTED = DUE[:2], DUE[2:4], DUE[4:]
WRITES_PER_SECOND, EVENTS_PER_WRITE = 100, 5
READER_SECONDS = 5.0


class Purge(NamedTuple):
    """What the purge of one day cost: of its keys, of its events, and all of it in the peer.

    `wal` has the bytes of WAL that each of these three wrote.
    """

    keys: Cost
    drop: Cost
    peer: Cost
    wal: tuple[float, float, float]


def measure(bench: Bench) -> list[Row]:
    """Measure purges of days of the scale's size, in a database that holds a few of them."""
    models = load_models()
    with bench.server.database() as settings:
        fill_day(settings, lines_of(bench.folder, bench.events), YESTERDAY)
        database = database_of(settings)
        with database.connect() as connection:
            for day in DUE:
                multiply(connection, YESTERDAY, day, bench.events, 2)
            plain_table.make(connection, with_history=True)
            # In real use, a due day was vacuumed half a year ago. So no autovacuum may delay the
            # drop here, or appear in its WAL.
            connection.execute("vacuum analyze")
            connection.execute("alter system set autovacuum = off")
            connection.execute("select pg_reload_conf()")
            events = _number(
                connection,
                "select (sum(events) / count(distinct day))::bigint from signal.books where day <"
                " now() - interval '2 days'",
            )
            engine = DuckdbEngine(database.url, settings.tmp_path)
            for day in TO_PURGE:
                build_day(database, engine, models, day)
            # These days are purged by hand, in `_parts`.
            connection.execute("delete from signal.books where day = any(%s)", [CACHED + EVICTED])
            rows = _parts(bench, connection, events)
            connection.execute("alter system reset autovacuum")
            connection.execute("select pg_reload_conf()")
            rows.append(_pause(bench, settings))
    return [*rows, *_ledger(bench)]


def _number(connection: Connection, query: LiteralString) -> int:
    row = connection.execute(query).fetchone()
    assert row
    return int(str(row[0] or 0))


def _logged(bench: Bench, connection: Connection, work: Callable[[], object]) -> tuple[Cost, int]:
    """Return the cost of some work, and the bytes of WAL that it wrote."""
    bench.server.checkpoint()
    before = _number(connection, "select pg_current_wal_lsn() - '0/0'::pg_lsn")
    cost = bench.server.watch.cost(work)
    return cost, _number(connection, "select pg_current_wal_lsn() - '0/0'::pg_lsn") - before


def _parts(bench: Bench, connection: Connection, events: int) -> list[Row]:
    """Purge the days `CACHED` and `EVICTED` by hand, and measure each part."""
    cached = [_purged_by_hand(bench, connection, day) for day in CACHED]
    evicted = [_purged_by_hand(bench, connection, day, evicted=True) for day in EVICTED]
    connection.execute("drop table plain_table")
    connection.execute("delete from signal.days where day = any(%s)", [CACHED + EVICTED])
    return purge_rows(events, evicted, cached)


def purge_rows(events: int, evicted: Sequence[Purge], cached: Sequence[Purge]) -> list[Row]:
    """Return the rows about purges of days of `events` events each; the figures are medians.

    In the peer's table an index makes ids unique, and the peer's purge cleans that index too. In
    Signal the ledger makes them unique. So the peer's work compares with that of the keys and the
    events together.
    """
    what, name = f"purge of a day of {events:,} events", "DELETE + VACUUM"
    both, keys, drop, peer = (
        median(costs)
        for costs in zip(
            *((day.keys + day.drop, day.keys, day.drop, day.peer) for day in evicted), strict=True
        )
    )
    keys_wal, drop_wal, peer_wal = (
        statistics.median(sizes) for sizes in zip(*(day.wal for day in evicted), strict=True)
    )
    wal = keys_wal + drop_wal
    return [
        # A due day was written half a year ago, so no cache holds it any more.
        faster(f"{what}: the events and their keys, by time", both, name, peer, at_least=20),
        faster(
            f"{what}: the same, all files still in the system's cache",
            median(day.keys + day.drop for day in cached),
            name,
            median(day.peer for day in cached),
            at_least=20,
        ),
        Row(
            f"{what}: the events and their keys, by WAL written",
            f"{wal / 1e6:.1f} MB",
            f"{name}: {peer_wal / 1e6:.1f} MB",
            peer_wal / max(wal, 1),
            target="≥ 20×",
            met=peer_wal >= 20 * wal,
            data={"signal_bytes": wal, "peer_bytes": peer_wal},
        ),
        _share(f"{what}: of this, the drop of the events", drop, drop_wal),
        _share(f"{what}: of this, the ledger's keys", keys, keys_wal),
    ]


def _share(what: str, cost: Cost, wal: float) -> Row:
    return Row(what, seconds(cost), f"WAL {wal / 1e6:.2f} MB", data=cost.as_dict())


def _purged_by_hand(
    bench: Bench, connection: Connection, day: date, *, evicted: bool = False
) -> Purge:
    """Purge the ledger's keys, the partition, and the same day of the plain table."""
    partition = f"events_{day:%Y%m%d}"
    works: list[tuple[str, Callable[[], object]]] = [
        (
            "event_keys",
            lambda: connection.execute("delete from signal.event_keys where day = %s", [day]),
        ),
        (partition, lambda: connection.execute(f"drop table signal.{partition}")),
        ("plain_table", lambda: delete_vacuum.purge(connection, day)),
    ]
    done = []
    for table, work in works:
        if evicted:
            bench.server.evict(connection, table)
        done.append(_logged(bench, connection, work))
    (keys, keys_wal), (drop, drop_wal), (peer, peer_wal) = done
    return Purge(keys, drop, peer, (keys_wal, drop_wal, peer_wal))


def _pause(bench: Bench, settings: Settings) -> Row:
    """Measure the longest call of a steady writer while two days are purged.

    Meanwhile a long reader holds the partitions of these days.
    """
    stop, pauses = threading.Event(), [0.0]
    ready = threading.Event()

    def write() -> None:
        ingest, period = ingest_at_end_of(settings, YESTERDAY), 1 / WRITES_PER_SECOND
        ingest.ingest_lines(_clicks())
        ready.set()
        due = time.perf_counter()
        while not stop.is_set():
            due += period
            time.sleep(max(0.0, due - time.perf_counter()))
            started = time.perf_counter()
            ingest.ingest_lines(_clicks())
            pauses.append(time.perf_counter() - started)
        ingest.close()

    def read() -> None:
        with database_of(settings).connect() as connection, connection.transaction():
            connection.execute("select count(*) from signal.events")
            time.sleep(READER_SECONDS)

    threads = [threading.Thread(target=write), threading.Thread(target=read)]
    for thread in threads:
        thread.start()
    ready.wait()
    time.sleep(1)
    before = max(pauses)
    bench.server.checkpoint()
    started, known = time.perf_counter(), len(pauses)
    purged = purge_due_days(database_of(settings), load_models(), HISTORY_DAYS).purged
    took = time.perf_counter() - started
    during = max(pauses[known:])
    stop.set()
    for thread in threads:
        thread.join()
    assert purged == sorted(TO_PURGE), f"purged {purged}"
    rate = WRITES_PER_SECOND * EVENTS_PER_WRITE
    return limit(
        f"longest pause of a writer of {rate} events/s while two such days are proven and purged,"
        " and a reader's transaction holds them",
        during * 1000,
        "ms",
        200,
        f"the purges took {took:.1f} s, since the reader holds the days for"
        f" {READER_SECONDS:.0f} s; longest pause before the purges: {before * 1000:.0f} ms",
    )


def _clicks() -> list[bytes]:
    at = datetime.fromisoformat(f"{YESTERDAY}T12:00:00+00:00").isoformat()
    return [
        json.dumps(
            {
                "eventType": "journey_create_clicked",
                "appName": "cms",
                "clientEventId": str(uuid.uuid4()),
                "createdAt": at,
                "ip": "10.0.0.1",
            }
        ).encode()
        for _ in range(EVENTS_PER_WRITE)
    ]


def _ledger(bench: Bench) -> list[Row]:
    """Measure the ledger alone over many days of steady state.

    Each day a new day comes, the oldest goes, and autovacuum's work is done by hand.
    """
    kept, days, keys = 10, 30, bench.events // 20
    first = today_utc() - timedelta(days=kept + days)
    sizes, cost = [], Cost(0.0, 0.0, 0.0)
    with bench.server.database() as settings, database_of(settings).connect() as connection:
        for n in range(kept + days):
            connection.execute(
                "insert into signal.event_keys select id, %s from"
                " (select gen_random_uuid() as id from generate_series(1, %s) order by 1) as k",
                [first + timedelta(days=n), keys],
            )
            if n < kept:
                continue
            gone = first + timedelta(days=n - kept)

            def clean(gone: object = gone) -> None:
                connection.execute("delete from signal.event_keys where day = %s", [gone])
                connection.execute("vacuum signal.event_keys")

            cost += bench.server.watch.cost(clean)
            sizes.append(_number(connection, "select pg_total_relation_size('signal.event_keys')"))
    daily = Cost(cost.wall / days, cost.client / days, cost.server / days)
    return [
        limit(
            f"the ledger's largest size on {days} days of steady state ÷ its size on the first of"
            " them",
            max(sizes) / sizes[0],
            "×",
            1.5,
            f"{sizes[-1] / (kept * keys):.0f} bytes per key; delete and vacuum of {keys:,} keys:"
            f" {seconds(daily)}",
        )
    ]
