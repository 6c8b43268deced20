"""The measurements' data: simulated landing lines, and days multiplied from them in PostgreSQL."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from pathlib import Path

from psycopg import sql

from bench.server import HISTORY_DAYS, database_of, ingest_at_end_of
from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.days.calendar import days_between, today_utc, window
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings
from signal_pipeline.simulation.traffic import simulate

YESTERDAY = today_utc() - timedelta(days=1)
HISTORY = days_between(YESTERDAY - timedelta(days=HISTORY_DAYS - 1), YESTERDAY)
# A Monday's weight in `simulate`. Dividing by it gives about as many lines as wanted.
WEIGHT = 1.22

# An id starts with its time and ends with random digits. With both exchanged, the id is random.
_ID = re.compile(rb'"clientEventId":"(.{8})-(.{4})-(.{9})-(.{8})(.{4})"')

# Copies a day's events to another day. Each copy has new ids of the new time, new people and new
# sessions, but the same routes; every second copy has entities of its own.
_COPIES = """
insert into {target} (
    id, created_at, app_name, event_type, route, entity_type, entity_id, user_hash, session_id, device_type, browser_family,
    os_family, client_event_id, description
)
select
    uuidv7(age), created_at + %(shift)s, app_name, event_type, route, entity_type,
    case when n %% 2 = 0 then entity_id else md5(entity_id || n)::uuid::text end,
    sha256(user_hash || int4send(n)), md5(session_id::text || n)::uuid, device_type, browser_family, os_family,
    case when %(random_ids)s then gen_random_uuid() else uuidv7(age) end, description
from (
    select *, created_at + %(shift)s - now() as age
    from signal.events where created_at >= %(start)s and created_at < %(end)s limit %(most)s
) as e
cross join generate_series(%(first)s::int, %(last)s::int) as n
"""


def lines_of(
    folder: Path, lines: int, day: date = YESTERDAY, seed: int = 1, *, random_ids: bool = False
) -> Path:
    """Return a file of about `lines` simulated lines of one day.

    The client's ids are of version 7, or random with `random_ids`.
    """
    path = folder / f"lines-{lines}-{day}-{seed}{'-random' * random_ids}.ndjson"
    if not path.exists():
        monday = day - timedelta(days=day.weekday())
        chunks = simulate(
            catalogue=load_catalogue(None),
            days=1,
            events_per_day=max(50, round(lines / WEIGHT)),
            end=monday,
            seed=seed,
        )
        with path.open("wb") as file:
            for chunk in chunks:
                # Some retries come a day later. The later date is first, so none is replaced twice.
                dated = chunk
                for days in (1, 0):
                    old, new = (str(each + timedelta(days)).encode() for each in (monday, day))
                    dated = dated.replace(old, new)
                file.write(
                    _ID.sub(rb'"clientEventId":"\4-\5-\3-\1\2"', dated) if random_ids else dated
                )
    return path


def fill_day(settings: Settings, file: Path, day: date) -> int:
    """Ingest a file of one day as if it came on that day; return how many events were accepted."""
    ingest = ingest_at_end_of(settings, day)
    try:
        with file.open("rb") as stream:
            return ingest.ingest_stream(stream).accepted
    finally:
        ingest.close()


def multiply(
    connection: Connection,
    source: date,
    target: date,
    events: int,
    copies: int,
    *,
    random_ids: bool = False,
) -> None:
    """Fill a day that has no events yet with copies of another day's events.

    Some events of `source` are copied, each `copies` times, which gives at most `events` events.
    Keys, books and version are filled too.
    """
    start, end = window(source)
    partition = sql.Identifier("signal", f"events_{target:%Y%m%d}")
    with connection.transaction():
        # The partition is made as by signal.ensure_day, but it is indexed after it is filled.
        connection.execute(
            sql.SQL(
                "create table {} (like signal.events including defaults including constraints)"
            ).format(partition)
        )
        connection.execute(
            sql.SQL(_COPIES).format(target=partition),
            {
                "shift": target - source,
                "start": start,
                "end": end,
                "most": events // copies,
                "random_ids": random_ids,
                "first": 1 + 1000 * (target - source).days,
                "last": copies + 1000 * (target - source).days,
            },
        )
        first, after = (sql.Literal(at.isoformat()) for at in window(target))
        connection.execute(
            sql.SQL(
                "alter table signal.events attach partition {} for values from ({}) to ({})"
            ).format(partition, first, after)
        )
        connection.execute("insert into signal.days (day, version) values (%s, 1)", [target])
        connection.execute(
            sql.SQL(
                "insert into signal.books (day, app_name, event_type, outcome, events) select %s,"
                " app_name, event_type, 'accepted', count(*) from {} group by app_name, event_type"
            ).format(partition),
            [target],
        )
        connection.execute(
            sql.SQL(
                "insert into signal.event_keys select client_event_id, %s::date from {} order by"
                " client_event_id"
            ).format(partition),
            [target],
        )


def fill_history(settings: Settings, events_per_day: int, *, random_ids: bool = False) -> None:
    """Fill all of `HISTORY` except yesterday, over two connections.

    Yesterday must have at least `events_per_day` events.
    """

    def fill(days: list[date]) -> None:
        with database_of(settings).connect() as connection:
            for day in days:
                multiply(connection, YESTERDAY, day, events_per_day, 1, random_ids=random_ids)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fill, [HISTORY[:-1][::2], HISTORY[:-1][1::2]]))
    with database_of(settings).connect() as connection:
        connection.execute("vacuum analyze signal.events")
        connection.execute("vacuum analyze signal.event_keys")
