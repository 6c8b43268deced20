"""The bulk writer: checked events go in, with their keys, books and versions, in one transaction.

What may be stored is decided in `events.acceptance`; this module adds what only the database knows: whether an id is known,
and whether a day is purged. Design invariants 1 to 4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, NamedTuple, cast

from signal_pipeline.events.acceptance import Drop, Event
from signal_pipeline.store.copy_rows import COLUMNS, copy_rows
from signal_pipeline.store.database import Connection, Database, retried, safe_errors, sql
from signal_pipeline.store.days import ensure_days

_COPY = f"copy stage ({', '.join(COLUMNS)}) from stdin (format binary)"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one event; `reason` is set for a drop only."""

    kind: Literal["accepted", "duplicate", "dropped"]
    reason: str | None = None


ACCEPTED = Outcome("accepted")
DUPLICATE = Outcome("duplicate")


class Entry(NamedTuple):
    """One line of the books, as counted for a call."""

    day: date
    app_name: str
    event_type: str
    outcome: str
    reason: str


Books = Counter[Entry]


class EventWriter:
    """Writes batches of checked events over one connection, which it opens again when it was lost.

    Not for use by two threads at once.
    """

    def __init__(self, database: Database, key_id: str) -> None:
        self._database = database
        self._key_id = key_id
        self._connection: Connection | None = None
        self._known_days: set[date] = set()

    def close(self) -> None:
        """Close the connection; the writer may be used again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def write(
        self,
        checked: Sequence[Event | Drop],
        within: Callable[[Connection], None] | None = None,
    ) -> list[Outcome]:
        """Store a batch in one transaction and return each event's outcome, in order.

        `within` is called in the same transaction (a landed file's offset). Raises DatabaseError; then nothing of the
        batch is stored, and nothing is in the books.
        """
        with safe_errors():
            try:
                return retried(lambda: self._write(checked, within))
            except Exception:
                self.close()
                raise

    def _write(
        self,
        checked: Sequence[Event | Drop],
        within: Callable[[Connection], None] | None,
    ) -> list[Outcome]:
        connection = self._connected()
        days = sorted({item.day for item in checked if isinstance(item, Event)})
        self._ensure(connection, days)
        with connection.transaction():
            closed = _purged(connection, days)
            events, outcomes = _sorted_out(checked, closed)
            duplicates = _store(connection, list(events.values()))
            books, gaps = Books(), Counter[tuple[date, str, str]]()
            for position, event in events.items():
                if event.client_event_id in duplicates:
                    outcomes[position] = DUPLICATE
                elif event.address != "given":
                    gaps[event.day, event.app_name, event.address] += 1
            for item, outcome in zip(checked, outcomes, strict=True):
                books[Entry(item.day, item.app_name, item.event_type, outcome.kind, outcome.reason or "")] += 1
            changed = sorted({entry.day for entry in books if entry.outcome == "accepted"})
            _add_to_books(connection, books)
            _add_address_gaps(connection, gaps)
            connection.execute(sql("add_day_keys"), [self._key_id, changed])
            if within is not None:
                within(connection)
            connection.execute(sql("raise_versions"), [changed])
        return outcomes

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._database.connect()
            self._connection.execute(sql("stage"))
        return self._connection

    def _ensure(self, connection: Connection, days: list[date]) -> None:
        new = [day for day in days if day not in self._known_days]
        ensure_days(connection, new)
        self._known_days.update(new)


def _purged(connection: Connection, days: list[date]) -> set[date]:
    """Hold the days against a purge until commit, and return those that are purged already."""
    rows = connection.execute(sql("lock_days"), [days]).fetchall()
    return {cast(date, day) for day, state in rows if state == "purged"}


def _sorted_out(checked: Sequence[Event | Drop], closed: set[date]) -> tuple[dict[int, Event], list[Outcome]]:
    """Split a batch: events to offer the ledger by position (each id once), and all outcomes so far."""
    events: dict[int, Event] = {}
    seen: set[str] = set()
    outcomes = [ACCEPTED] * len(checked)
    for position, item in enumerate(checked):
        if isinstance(item, Drop):
            outcomes[position] = Outcome("dropped", item.reason)
        elif item.day in closed:
            outcomes[position] = Outcome("dropped", "too_late")
        elif item.client_event_id in seen:
            outcomes[position] = DUPLICATE
        else:
            seen.add(item.client_event_id)
            events[position] = item
    return events, outcomes


def _store(connection: Connection, events: list[Event]) -> set[str]:
    """Store the events whose ids are new; returns the ids that were known."""
    if not events:
        return set()
    cursor = connection.cursor()
    with cursor.copy(_COPY) as copy:
        copy.write(copy_rows(events))
    rows = cursor.execute(sql("store_events")).fetchall()
    return {cast(str, row[0]) for row in rows}


def _add_to_books(connection: Connection, books: Books) -> None:
    columns = [list(column) for column in zip(*books, strict=True)] or [[]] * 5
    connection.execute(sql("add_to_books"), [*columns, list(books.values())])


def _add_address_gaps(connection: Connection, gaps: Counter[tuple[date, str, str]]) -> None:
    if not gaps:
        return
    keys = sorted({(day, app_name) for day, app_name, _ in gaps})
    connection.execute(
        sql("add_address_gaps"),
        [
            [day for day, _ in keys],
            [app_name for _, app_name in keys],
            [gaps[(*key, "missing")] for key in keys],
            [gaps[(*key, "invalid")] for key in keys],
        ],
    )
