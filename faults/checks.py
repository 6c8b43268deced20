"""The comparison of a database with the oracle: every promise that a crash could break."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path

from faults.oracle import BUCKETS_OF_BOT, OF_LANDING, Day
from signal_pipeline.days.freshness import day_statuses
from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups.models import load_models

# The rollups that the oracle works out itself. For the columns after app and type, each has the
# names that a line uses.
ROLLUPS: Mapping[str, tuple[str, ...]] = {
    "daily_app_activity": (),
    "daily_route_activity": ("route",),
    "daily_entity_activity": ("entityType", "entityId"),
}
COLUMNS = {"route": "route", "entityType": "entity_type", "entityId": "entity_id"}


def faults(connection: Connection, days: Mapping[date, Day], home: Path) -> list[str]:
    """Return what is wrong, one sentence each; empty if every promise holds.

    Before it is called, all work must have ended.
    """
    found = [*_leftovers(connection, home), *_intake(connection)]
    for day, oracle in days.items():
        found += (
            _purged_day(connection, day, oracle)
            if oracle.purged
            else _open_day(connection, day, oracle)
        )
        found += [*_books(connection, day, oracle), *_rollups(connection, day, oracle)]
    return found


def _rows(connection: Connection, query: str, *values: object) -> list[tuple[object, ...]]:
    return connection.execute(query, values).fetchall()  # type: ignore[arg-type]


def _window(day: date) -> list[str]:
    return [f"{day} 00:00+00", f"{date.fromordinal(day.toordinal() + 1)} 00:00+00"]


def _open_day(connection: Connection, day: date, oracle: Day) -> list[str]:
    found = []
    query = (
        "select client_event_id::text from signal.events where created_at >= %s and created_at < %s"
    )
    ids = Counter(str(row[0]) for row in _rows(connection, query, *_window(day)))
    wanted = Counter(oracle.stored.keys())
    if ids != wanted:
        found.append(
            f"{day}: {(wanted - ids).total()} event(s) lost, {(ids - wanted).total()} too many"
        )
    keys = {
        str(row[0])
        for row in _rows(
            connection, "select client_event_id::text from signal.event_keys where day = %s", day
        )
    }
    if keys != {*oracle.stored, *oracle.erased}:
        found.append(f"{day}: the ledger differs from the events")
    checksums = load_models().checksums
    statuses = day_statuses(connection, checksums, day, day)
    return found + [
        f"{day}: {dict(s.rollups)}" for s in statuses if set(s.rollups.values()) != {"fresh"}
    ]


def _purged_day(connection: Connection, day: date, oracle: Day) -> list[str]:
    found = []
    receipt = _rows(
        connection,
        "select raw_events, keys, accepted, erased, incomplete from signal.receipts where day = %s",
        day,
    )
    stored, erased = len(oracle.stored), len(oracle.erased)
    if receipt != [(stored, stored + erased, stored + erased, erased, False)]:
        found.append(f"{day}: the receipt is {receipt}")
    left = _rows(
        connection,
        "select to_regclass(%s), (select count(*) from signal.event_keys where day = d.day),"
        " d.state from signal.days as d where d.day = %s",
        f"signal.events_{day:%Y%m%d}",
        day,
    )
    if left != [(None, 0, "purged")]:
        found.append(f"{day}: purged, but {left} is left")
    audited = _rows(
        connection, "select count(*) from signal.audit where action = 'purge' and day = %s", day
    )
    if audited != [(1,)]:
        found.append(f"{day}: {audited} entries of its purge in the audit log")
    return found


def _books(connection: Connection, day: date, oracle: Day) -> list[str]:
    found = []
    query = (
        "select app_name, outcome, sum(events)::bigint from signal.books where day = %s group by"
        " 1, 2"
    )
    books = {
        (str(app), str(outcome)): events for app, outcome, events in _rows(connection, query, day)
    }
    apps = {line["appName"] for line in [*oracle.stored.values(), *oracle.erased.values()]}
    found += [
        f"{day}: books of {app_name}: accepted {books.get((app_name, 'accepted'))}, not"
        f" {oracle.accepted(app_name)}"
        for app_name in apps
        if books.get((app_name, "accepted"), 0) != oracle.accepted(app_name)
    ]
    erased = sum(int(str(events)) for (_, outcome), events in books.items() if outcome == "erased")
    if erased != len(oracle.erased):
        found.append(f"{day}: books: erased {erased}, not {len(oracle.erased)}")
    # A landed file is received exactly once, so its duplicates and drops are exact too.
    landed = (books.get((OF_LANDING, "duplicate"), 0), books.get((OF_LANDING, "dropped"), 0))
    if landed != (0, oracle.landing_drops):
        found.append(
            f"{day}: books of the landing: duplicate and dropped {landed}, not (0,"
            f" {oracle.landing_drops})"
        )
    query = (
        "select browser_family, os_family, device_type, events from signal.bots where day = %s and"
        " app_name = %s"
    )
    bots = _rows(connection, query, day, OF_LANDING)
    if bots != ([(*BUCKETS_OF_BOT, oracle.landing_bots)] if oracle.landing_bots else []):
        found.append(f"{day}: bots of the landing: {bots}, not {oracle.landing_bots}")
    return found


def _intake(connection: Connection) -> list[str]:
    """Compare the intake and the bots with the books.

    The intake counts by day of receipt and the books by day of the event, so only their totals must
    agree. The table of bots counts them by family; its sums must agree with the books of each day.
    """
    received = _rows(
        connection,
        """select app_name, outcome, reason, sum(events)::bigint from (
            select app_name, outcome, reason, events from signal.intake
            union all
            select app_name, outcome, reason, -events from signal.books where outcome <> 'erased'
        ) as difference group by 1, 2, 3 having sum(events) <> 0""",
    )
    bots = _rows(
        connection,
        """select day::text, app_name, sum(events)::bigint from (
            select day, app_name, events from signal.bots
            union all
            select day, app_name, -events from signal.books where reason = 'bot'
        ) as difference group by 1, 2 having sum(events) <> 0""",
    )
    return [f"the intake differs from the books by {row}" for row in received] + [
        f"the bots differ from the books by {row}" for row in bots
    ]


def _rollups(connection: Connection, day: date, oracle: Day) -> list[str]:
    found = []
    for name, dimensions in ROLLUPS.items():
        columns = ", ".join(
            [
                "app_name",
                "event_type",
                *(COLUMNS[d] for d in dimensions),
                "events",
                "users",
                "sessions",
            ]
        )
        rows = _rows(
            connection, f"select {columns} from signal.{name} where activity_date = %s", day
        )
        if Counter(tuple(map(str, row)) for row in rows) != oracle.rollup(dimensions):
            found.append(f"{day}: {name} is not what the lines say")
    for name in ("daily_device_activity", "daily_browser_activity", "daily_os_activity"):
        query = (
            f"select coalesce(sum(events), 0)::int from signal.{name} where activity_date = %s and"
            " event_type = '(all)'"
        )
        if _rows(connection, query, day) != [(len(oracle.stored),)]:
            found.append(f"{day}: {name} does not add up")
    return found


def _leftovers(connection: Connection, home: Path) -> list[str]:
    found = []
    locks = _rows(
        connection,
        "select count(*) from pg_locks as l join pg_database as d on d.oid = l.database"
        " where l.locktype = 'advisory' and d.datname = current_database()",
    )
    if locks != [(0,)]:
        found.append(f"{locks[0][0]} advisory lock(s) are stuck")
    strays = _rows(
        connection,
        """select c.relname::text from pg_class as c
        where c.relnamespace = 'signal'::regnamespace and c.relkind = 'r' and c.relname ~ '^events_[0-9]{8}$'
            and (not c.relispartition
                or to_date(right(c.relname, 8), 'YYYYMMDD') not in (select day from signal.days where state = 'open'))""",
    )
    if strays:
        found.append(f"partitions without an open day: {strays}")
    if waiting := list((home / "landing").glob("*.ndjson")):
        found.append(f"{len(waiting)} landed file(s) are left")
    if spilled := list((home / "tmp").glob("build-*")):
        found.append(f"{len(spilled)} spill folder(s) are left")
    return found
