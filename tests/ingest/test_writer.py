"""The bulk writer: one transaction, one event per id, balanced books (invariants 1 to 5).

Versions show each change.
"""

from __future__ import annotations

import random
import uuid
from contextlib import closing
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from psycopg import sql
from support.checked import DAY, NOON, checked, good, versions
from support.days import today
from support.stored import count, stored_books, stored_bots, stored_events, stored_intake
from support.traffic import IPHONE, line

from signal_pipeline.days.placement import distributed_tables
from signal_pipeline.events.event import Drop
from signal_pipeline.events.ids import MAX_ENTITY_ID_CHARACTERS
from signal_pipeline.ingest.books import ACCEPTED, DUPLICATE, Outcome
from signal_pipeline.ingest.writer import EventWriter
from signal_pipeline.postgres.database import Connection, Database, DatabaseError


def test_a_row_is_what_the_event_says(writer: EventWriter, connection: Connection) -> None:
    full = good(
        route="/journeys/[id]/ü",
        entityType="journey",
        entityId=str(uuid.UUID(int=7)),
        sessionId=str(uuid.UUID(int=8)).upper(),
        description={"b": [1, None, {"c": "ä"}], "a": 1.5},
    )
    bare = good(NOON + timedelta(microseconds=1), route=None)
    assert writer.write([full, bare]) == [ACCEPTED, ACCEPTED]
    stored = stored_events(connection)
    for event, row in zip((full, bare), stored, strict=True):
        stated: dict[str, Any] = msgspec.structs.asdict(event)
        stated["client_event_id"] = uuid.UUID(event.client_event_id)
        stated["session_id"] = event.session_id and uuid.UUID(event.session_id)
        stated["description"] = event.description and msgspec.json.decode(event.description)
        assert row == {name: stated[name] for name in row}


def test_the_longest_entity_id_fits_into_the_index(
    writer: EventWriter, connection: Connection
) -> None:
    characters = random.Random(1).choices(range(0x20000, 0x2A6DF), k=MAX_ENTITY_ID_CHARACTERS)
    longest = msgspec.structs.replace(
        good(entityType="journey", entityId=str(uuid.uuid4())),
        entity_id="".join(map(chr, characters)),
    )
    assert writer.write([longest]) == [ACCEPTED]
    assert stored_events(connection)[0]["entity_id"] == longest.entity_id


def test_ids_are_version_7_of_the_events_time(writer: EventWriter, connection: Connection) -> None:
    times = [NOON + timedelta(milliseconds=n) for n in range(200)]
    writer.write([good(at) for at in times])
    rows = connection.execute("select id, created_at from signal.events order by id").fetchall()
    assert len({row[0] for row in rows}) == 200
    for (found, at), expected in zip(rows, times, strict=True):
        assert isinstance(found, uuid.UUID)
        assert (found.version, found.variant) == (7, uuid.RFC_4122)
        assert at == expected
        assert found.int >> 80 == int(expected.timestamp() * 1000)


def test_the_same_id_is_one_row_whenever_it_comes(
    writer: EventWriter, connection: Connection
) -> None:
    first = good(route="/first")
    later = msgspec.structs.replace(first, created_at=NOON + timedelta(seconds=1), route="/later")
    next_day = good(NOON + timedelta(days=1), clientEventId=first.client_event_id.upper())
    assert writer.write([first, later, first]) == [ACCEPTED, DUPLICATE, DUPLICATE]
    assert writer.write([later, next_day]) == [DUPLICATE, DUPLICATE]
    (row,) = stored_events(connection)
    assert (row["route"], row["created_at"]) == ("/first", NOON)


def test_a_double_click_is_two_rows(writer: EventWriter, connection: Connection) -> None:
    assert writer.write([good(), good()]) == [ACCEPTED, ACCEPTED]
    assert len(stored_events(connection)) == 2


def test_outcomes_come_in_order_and_the_books_close(
    writer: EventWriter, connection: Connection
) -> None:
    known = good()
    writer.write([known])
    batch = checked(
        b"torn {",
        line(NOON),
        line(NOON, userAgent="curl/8.7.1"),
        line(NOON, appName="cms"),
        line(NOON, appName="watch"),
    )
    batch.insert(2, known)
    assert writer.write(batch) == [
        Outcome("dropped", "malformed"),
        ACCEPTED,
        DUPLICATE,
        Outcome("dropped", "bot"),
        ACCEPTED,
        Outcome("dropped", "unknown_app"),
    ]
    kind = "journey_create_clicked"
    assert stored_books(connection) == {
        (today(), "(unknown)", "(other)", "dropped", "malformed"): 1,
        (DAY, "journeys-admin", kind, "accepted", ""): 2,
        (DAY, "journeys-admin", kind, "duplicate", ""): 1,
        (DAY, "journeys-admin", kind, "dropped", "bot"): 1,
        (DAY, "cms", kind, "accepted", ""): 1,
        (DAY, "(unknown)", kind, "dropped", "unknown_app"): 1,
    }


def test_what_was_received_together_is_counted_by_the_day_of_its_receipt(
    writer: EventWriter, connection: Connection
) -> None:
    other = NOON + timedelta(days=1)
    known = good()
    batch = [
        known,
        known,
        good(other),
        good(appName="cms"),
        *checked(b"torn", line(NOON, userAgent="curl/8.7.1")),
    ]
    writer.write(batch, received_on=other.date())
    writer.write([known, good()])
    assert stored_intake(connection) == {
        (other.date(), "journeys-admin", "accepted", ""): 2,
        (other.date(), "journeys-admin", "duplicate", ""): 1,
        (other.date(), "journeys-admin", "dropped", "bot"): 1,
        (other.date(), "cms", "accepted", ""): 1,
        (other.date(), "(unknown)", "dropped", "malformed"): 1,
        (today(), "journeys-admin", "accepted", ""): 1,
        (today(), "journeys-admin", "duplicate", ""): 1,
    }


def test_bots_are_counted_by_their_buckets_and_nothing_else(
    writer: EventWriter, connection: Connection
) -> None:
    phone = line(NOON, userAgent=f"{IPHONE} Googlebot/2.1")
    batch = checked(
        phone,
        phone,
        line(NOON, userAgent="secret-tool/1"),
        line(NOON, appName="cms", userAgent="-"),
    )
    of_before = Drop(
        "bot", DAY, "cms", "journey_create_clicked"
    )  # As a spool of an earlier version holds it.
    writer.write([*batch, of_before])
    writer.write(checked(phone))
    assert stored_bots(connection) == {
        (DAY, "journeys-admin", "Other", "iOS", "mobile"): 3,
        (DAY, "journeys-admin", "unknown", "unknown", "unknown"): 1,
        (DAY, "cms", "unknown", "unknown", "unknown"): 1,
        (DAY, "cms", *["(not recorded)"] * 3): 1,
    }


def test_only_accepted_events_raise_a_version(writer: EventWriter, connection: Connection) -> None:
    other = NOON + timedelta(days=1)
    event = good()
    writer.write([event, good(), good(other)])
    assert versions(connection) == {DAY: 1, other.date(): 1}
    writer.write([event, *checked(b"torn", line(NOON, userAgent="curl/8.7.1"))])
    assert versions(connection) == {DAY: 1, other.date(): 1}
    writer.write([good(other)])
    assert versions(connection) == {DAY: 1, other.date(): 2}


def test_an_empty_batch_changes_nothing(writer: EventWriter, connection: Connection) -> None:
    assert writer.write([]) == []
    assert count(connection, "select count(*) from signal.books") == 0


def test_a_failure_leaves_nothing_behind(writer: EventWriter, connection: Connection) -> None:
    def fail(_: Connection) -> None:
        raise RuntimeError("the file's offset cannot be written")

    batch = [good(), *checked(b"torn", line(NOON, userAgent="curl/8.7.1"))]
    with pytest.raises(RuntimeError):
        writer.write(batch, fail)
    for table in ("events", "event_keys", "books", "intake", "bots", "day_keys", "address_gaps"):
        assert count(connection, f"select count(*) from signal.{table}") == 0
    assert versions(connection) == {}
    assert writer.write(batch)[0] == ACCEPTED


def test_an_interrupt_leaves_no_transaction_for_the_next_batch_to_end(
    writer: EventWriter, connection: Connection
) -> None:
    """Otherwise the next batch would take its own events for duplicates.

    It would also commit them unbooked.
    """
    event = good()

    def interrupt(_: Connection) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        writer.write([event], interrupt)
    assert stored_events(connection) == []
    assert writer.write([event]) == [ACCEPTED]
    assert (len(stored_events(connection)), versions(connection)) == (1, {DAY: 1})


def test_what_comes_within_is_in_the_same_transaction(
    writer: EventWriter, connection: Connection
) -> None:
    seen = []

    def look(inside: Connection) -> None:
        seen.append(
            (count(inside, "select count(*) from signal.events"), len(stored_events(connection)))
        )

    writer.write([good()], look)
    assert seen == [(1, 0)]


def test_events_of_a_purged_day_are_too_late(writer: EventWriter, connection: Connection) -> None:
    writer.write([good()])
    connection.execute("update signal.days set state = 'purged' where day = %s", [DAY])
    tomorrow = NOON + timedelta(days=1)
    assert writer.write([good(), good(tomorrow)]) == [Outcome("dropped", "too_late"), ACCEPTED]
    assert (
        stored_books(connection)[
            DAY, "journeys-admin", "journey_create_clicked", "dropped", "too_late"
        ]
        == 1
    )
    assert versions(connection) == {DAY: 1, tomorrow.date(): 1}


def test_missing_and_invalid_addresses_of_stored_events_are_counted(
    writer: EventWriter, connection: Connection
) -> None:
    missing = good(ip=None)
    writer.write([missing, missing, good(ip="nowhere"), good(ip="", appName="cms"), good()])
    writer.write([missing, good(ip=" ")])
    rows = connection.execute(
        "select app_name, missing, invalid from signal.address_gaps order by 1"
    ).fetchall()
    assert rows == [("cms", 1, 0), ("journeys-admin", 2, 1)]


def test_a_day_remembers_which_secrets_hashed_it(
    database: Database, connection: Connection
) -> None:
    known = good()
    for key_id, batch in (("aaaaaaaa", [known]), ("bbbbbbbb", [good()]), ("cccccccc", [known])):
        with closing(EventWriter(database, key_id)) as writer:
            writer.write(batch)
    rows = connection.execute("select day, key_id from signal.day_keys order by 2").fetchall()
    assert rows == [(DAY, "aaaaaaaa"), (DAY, "bbbbbbbb")]


def test_a_lost_connection_is_an_error_and_the_next_batch_opens_another(
    writer: EventWriter, connection: Connection
) -> None:
    writer.write([good()])

    def lose(inside: Connection) -> None:
        connection.execute("select pg_terminate_backend(%s)", [inside.info.backend_pid])

    event = good()
    with pytest.raises(DatabaseError):
        writer.write([event], lose)
    assert len(stored_events(connection)) == 1
    assert writer.write([event]) == [ACCEPTED]


@pytest.mark.parametrize("sqlstate", ["40P01", "40001"])
def test_a_batch_that_lost_a_race_is_stored_once(
    writer: EventWriter, connection: Connection, sqlstate: str
) -> None:
    for _ in range(8):  # psycopg prepares a query of its own after five uses.
        writer.write([good()])
    losses = [sqlstate]

    def lose_once(inside: Connection) -> None:
        if losses:
            raised = sql.Literal(losses.pop())
            inside.execute(sql.SQL("do $$ begin raise sqlstate {}; end $$").format(raised))

    assert writer.write([good()], lose_once) == [ACCEPTED]
    assert len(stored_events(connection)) == 9
    assert versions(connection) == {DAY: 9}


def test_a_day_that_a_restore_took_away_is_made_again(
    writer: EventWriter, connection: Connection
) -> None:
    writer.write([good()])
    connection.execute(
        sql.SQL("drop table {}").format(sql.Identifier("signal", f"events_{DAY:%Y%m%d}"))
    )
    connection.execute("delete from signal.days where day = %s", [DAY])
    event = good()
    with pytest.raises(DatabaseError):
        writer.write([event])
    assert writer.write([event]) == [ACCEPTED]
    assert versions(connection) == {DAY: 1}


def test_a_migration_between_two_batches_ends_no_writer(
    writer: EventWriter, connection: Connection
) -> None:
    """A connection keeps the plans of its queries, and PostgreSQL makes them anew if a table changes."""
    for _ in range(8):  # From the sixth time on, PostgreSQL can use a plan for all values.
        assert writer.write([good(), Drop("bot", DAY, "journeys-admin", "x")])[0] == ACCEPTED
    for table in ("books", "days"):
        connection.execute(
            sql.SQL("alter table signal.{} add column later text").format(sql.Identifier(table))
        )
    assert writer.write([good()]) == [ACCEPTED]
    assert versions(connection) == {DAY: 9}


def test_an_error_tells_no_value(writer: EventWriter, connection: Connection) -> None:
    broken = msgspec.structs.replace(
        good(description={"note": "something-private"}), entity_id="private-id"
    )
    with pytest.raises(DatabaseError) as raised:
        writer.write([broken])
    # A cluster reports a broken constraint of a worker as XX000.
    assert ("XX000" if distributed_tables(connection) else "23514") in str(raised.value)
    assert "private" not in f"{raised.value!r} {raised.value.__cause__!r}"
