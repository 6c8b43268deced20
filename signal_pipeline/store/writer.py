"""The bulk writer: checked events go in, with their keys, books and versions, in one transaction.

What may be stored is decided in `events.acceptance`; this module adds what only the database knows: whether an id is known,
and whether a day is purged. Design invariants 1 to 4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from operator import attrgetter
from typing import Literal, NamedTuple, cast

from signal_pipeline.events.acceptance import Drop, Event
from signal_pipeline.store.copy_rows import EVENT_COLUMNS, KEY_COLUMNS, event_rows, key_rows
from signal_pipeline.store.database import Connection, Database, retried, safe_errors, sql
from signal_pipeline.store.days import ensure_days

_COPY_KEYS = f"copy staged_keys ({', '.join(KEY_COLUMNS)}) from stdin (format binary)"
_COPY_EVENTS = f"copy signal.events ({', '.join(EVENT_COLUMNS)}) from stdin (format binary)"
_subject = attrgetter("day", "app_name", "event_type")


class Outcome(NamedTuple):
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
            events, outcomes = _sorted_out(checked, _purged(connection, days))
            known = _add_keys(connection, list(events.values()))
            if known:
                for position in [at for at, event in events.items() if event.client_event_id in known]:
                    outcomes[position] = DUPLICATE
                    del events[position]
            _add_events(connection, list(events.values()))
            books = _books(checked, outcomes, events.values())
            changed = sorted({entry.day for entry in books if entry.outcome == "accepted"})
            # One round trip for all that is left.
            with connection.pipeline():
                _add_to_books(connection, books)
                _add_address_gaps(connection, events.values())
                connection.execute(sql("add_day_keys"), [self._key_id, changed])
                if within is not None:
                    within(connection)
                connection.execute(sql("raise_versions"), [changed])
        return outcomes

    def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._database.connect()
            self._connection.execute(sql("stage_keys"))
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


def _add_keys(connection: Connection, events: Sequence[Event]) -> set[str]:
    """Add the events' ids to the ledger; returns those that were known."""
    if not events:
        return set()
    cursor = connection.cursor()
    with cursor.copy(_COPY_KEYS) as copy:
        copy.write(key_rows(events))
    return {cast(str, row[0]) for row in cursor.execute(sql("add_keys")).fetchall()}


def _add_events(connection: Connection, events: Sequence[Event]) -> None:
    """Store events whose ids are new. COPY writes whole pages at once, where INSERT would write rows."""
    if events:
        with connection.cursor().copy(_COPY_EVENTS) as copy:
            copy.write(event_rows(events))


def _books(checked: Sequence[Event | Drop], outcomes: Sequence[Outcome], stored: Iterable[Event]) -> Books:
    books = Books(
        {Entry(*subject, "accepted", ""): events for subject, events in Counter(map(_subject, stored)).items()}
    )
    for item, outcome in zip(checked, outcomes, strict=True):
        if outcome is not ACCEPTED:
            books[Entry(*_subject(item), outcome.kind, outcome.reason or "")] += 1
    return books


def _add_to_books(connection: Connection, books: Books) -> None:
    columns = [list(column) for column in zip(*books, strict=True)] or [[]] * 5
    connection.execute(sql("add_to_books"), [*columns, list(books.values())])


def _add_address_gaps(connection: Connection, events: Iterable[Event]) -> None:
    gaps = Counter((event.day, event.app_name, event.address) for event in events if event.address != "given")
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
