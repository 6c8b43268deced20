"""The bulk writer, which stores events with their keys, books, intake and versions.

All of that is one transaction (invariants 1 to 4). `events.acceptance` decides which events may be
stored. This module adds what only the database knows: whether an id is known, and whether a day is
purged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date

from signal_pipeline.days.calendar import ensure_days, today_utc
from signal_pipeline.events.browsers import HASH_RULES
from signal_pipeline.events.event import AcceptedEvent, Drop
from signal_pipeline.ingest.books import (
    ACCEPTED,
    BOOK_QUERIES,
    DUPLICATE,
    Outcome,
    address_gap_statements,
    books_of,
    books_statement,
    bots_statements,
)
from signal_pipeline.ingest.event_rows import EVENT_COLUMNS, copy_data, event_rows
from signal_pipeline.postgres.binary_arrays import DateArray, UuidArray
from signal_pipeline.postgres.database import Connection, Database, run_with_retries, safe_errors
from signal_pipeline.postgres.prepared_queries import (
    PreparedQuery,
    Statement,
    execute_together,
    prepare_queries,
)
from signal_pipeline.postgres.query import query

_COPY_EVENTS = f"copy signal.events ({', '.join(EVENT_COLUMNS)}) from stdin (format binary)"
_BEGIN: Statement = ("begin", [])
_COMMIT: Statement = ("commit", [])
_LOCK_DAYS = PreparedQuery("signal_pipeline.days", "lock_days")
_RAISE_VERSIONS = PreparedQuery("signal_pipeline.days", "raise_versions")
_ADD_DAY_KEYS = PreparedQuery(__package__, "add_day_keys")


@dataclass(frozen=True, slots=True)
class Batch:
    """Checked events, laid out for the database.

    `events` and `rows` hold the events that are offered to the ledger, each id once. Both are dicts
    by an event's position in `checked`. `ids` and `days` are the ids and days of these events,
    which the ledger gets. `outcomes` has every event's outcome so far; the events that are offered
    to the ledger count as ACCEPTED.
    """

    checked: Sequence[AcceptedEvent | Drop]
    outcomes: list[Outcome]
    bots: list[Drop]
    events: dict[int, AcceptedEvent]
    ids: UuidArray
    days: DateArray
    rows: dict[int, bytes]


def prepare(checked: Sequence[AcceptedEvent | Drop], closed: Set[date] = frozenset()) -> Batch:
    """Lay out a batch, without a database.

    The next batch can therefore be prepared while one is stored. Events of the days in `closed`,
    which are purged, are dropped.
    """
    events, bots, outcomes = _sort_out(checked, closed)
    every = list(events.values())
    return Batch(
        checked,
        outcomes,
        bots,
        events,
        UuidArray.of([event.client_event_id for event in every]),
        DateArray.of([event.day for event in every]),
        dict(zip(events, event_rows(every), strict=True)),
    )


class EventWriter:
    """A writer of batches of checked events over one connection, which is reopened if lost.

    Two threads must not use it at once.
    """

    def __init__(self, database: Database, key_id: str, hash_rules: int = HASH_RULES) -> None:
        self._database = database
        self._key_id = key_id
        self._hash_rules = hash_rules
        self._connection: Connection | None = None
        self._known_days: set[date] = set()

    def close(self) -> None:
        """Close the connection. The writer can be used again."""
        self._known_days.clear()  # The next connection can lead to a restored database.
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def write(
        self,
        checked: Batch | Sequence[AcceptedEvent | Drop],
        within: Callable[[Connection], None] | None = None,
        received_on: date | None = None,
    ) -> list[Outcome]:
        """Store a batch in one transaction, and return each event's outcome, in order.

        `checked` is either a prepared batch or a list that is prepared here. `within` is called in
        the same transaction (it stores a landed file's offset). `received_on` is the UTC date of
        receipt by the server's clock; None means today. Raises DatabaseError; then nothing of the
        batch is stored or in the books. The one exception is a connection that is lost during the
        commit: all of the batch can then be stored, and storing it again makes duplicates.
        """
        batch = checked if isinstance(checked, Batch) else prepare(checked)
        with safe_errors():
            return run_with_retries(lambda: self._write(batch, within, received_on or today_utc()))

    def _write(
        self, batch: Batch, within: Callable[[Connection], None] | None, received_on: date
    ) -> list[Outcome]:
        with self._connected() as connection:
            days = sorted({event.day for event in batch.events.values()})
            self._ensure_new_days(connection, days)
            closed = _lock_days(connection, days)
            if closed:
                batch = prepare(batch.checked, closed)
            known = _add_keys(connection, batch)
            new = {
                at: event
                for at, event in batch.events.items()
                if event.client_event_id not in known
            }
            outcomes = batch.outcomes.copy()
            for position in batch.events.keys() - new.keys():
                outcomes[position] = DUPLICATE
            _add_events(connection, [batch.rows[at] for at in new])
            books = books_of(batch.checked, outcomes, new.values())
            changed = sorted({entry.day for entry in books if entry.outcome == "accepted"})
            if within is not None:
                within(connection)
            execute_together(
                connection,
                books_statement(books, received_on),
                *address_gap_statements(new.values()),
                *bots_statements(batch.bots),
                _ADD_DAY_KEYS.with_values(self._key_id, self._hash_rules, changed),
                _RAISE_VERSIONS.with_values(changed),
                _COMMIT,
            )
        return outcomes

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        """Yield the connection, opened if necessary. Any error closes it, even an interrupt.

        A transaction left open would include the next batch, and psycopg's rollback would end the
        prepared queries.
        """
        try:
            if self._connection is None or self._connection.closed:
                self._connection = self._database.connect()
                prepare_queries(
                    self._connection, [_LOCK_DAYS, *BOOK_QUERIES, _ADD_DAY_KEYS, _RAISE_VERSIONS]
                )
            yield self._connection
        except BaseException:
            self.close()
            raise

    def _ensure_new_days(self, connection: Connection, days: list[date]) -> None:
        new = [day for day in days if day not in self._known_days]
        ensure_days(connection, new)
        self._known_days.update(new)


def _lock_days(connection: Connection, days: list[date]) -> set[date]:
    """Begin a transaction, lock the days against a purge, and return those already purged.

    The locks last until the commit.
    """
    cursor = execute_together(connection, _BEGIN, _LOCK_DAYS.with_values(days))
    cursor.nextset()
    return {day for day, state in cursor.fetchall() if state == "purged"}


def _sort_out(
    checked: Sequence[AcceptedEvent | Drop], closed: Set[date]
) -> tuple[dict[int, AcceptedEvent], list[Drop], list[Outcome]]:
    """Split a batch into events for the ledger, bots, and all outcomes so far.

    The events are keyed by their position in `checked`, and each id occurs once.
    """
    events: dict[int, AcceptedEvent] = {}
    bots: list[Drop] = []
    seen: set[str] = set()
    outcomes = [ACCEPTED] * len(checked)
    for position, item in enumerate(checked):
        if isinstance(item, Drop):
            outcomes[position] = Outcome("dropped", item.reason)
            if item.reason == "bot":
                bots.append(item)
        elif item.day in closed:
            outcomes[position] = Outcome("dropped", "too_late")
        elif item.client_event_id in seen:
            outcomes[position] = DUPLICATE
        else:
            seen.add(item.client_event_id)
            events[position] = item
    return events, bots, outcomes


def _add_keys(connection: Connection, batch: Batch) -> set[str]:
    """Add the events' ids to the ledger, and return those that were already known."""
    if not batch.events:
        return set()
    keys = {"ids": batch.ids, "days": batch.days}
    rows = connection.execute(query(__package__, "add_keys"), keys).fetchall()
    return {row[0] for row in rows}


def _add_events(connection: Connection, rows: Sequence[bytes]) -> None:
    """Store events whose ids are new.

    COPY writes whole pages at once, where INSERT would write single rows.
    """
    if rows:
        with connection.cursor().copy(_COPY_EVENTS) as copy:
            copy.write(copy_data(rows))
