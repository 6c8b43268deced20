"""What a batch adds to the books, the intake, the bots and the gaps of addresses.

The functions count, and return statements; `writer.py` runs them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date
from operator import attrgetter
from typing import Literal, NamedTuple

from signal_pipeline.events.event import AcceptedEvent, Drop
from signal_pipeline.postgres.prepared_queries import PreparedQuery, Statement

_subject = attrgetter("day", "app_name", "event_type")
_bot = attrgetter("day", "app_name", "browser_family", "os_family", "device_type")

NOT_RECORDED = "(not recorded)"

_ADD_TO_BOOKS, _ADD_BOTS, _ADD_ADDRESS_GAPS = BOOK_QUERIES = tuple(
    PreparedQuery(__package__, name) for name in ("add_to_books", "add_bots", "add_address_gaps")
)


class Outcome(NamedTuple):
    """What became of one event; `reason` is set only for a drop."""

    kind: Literal["accepted", "duplicate", "dropped"]
    reason: str | None = None


ACCEPTED = Outcome("accepted")
DUPLICATE = Outcome("duplicate")


class BookEntry(NamedTuple):
    """The key of one line of the books, to which a batch adds a count."""

    day: date
    app_name: str
    event_type: str
    outcome: str
    reason: str


Books = Counter[BookEntry]


def books_of(
    checked: Sequence[AcceptedEvent | Drop],
    outcomes: Sequence[Outcome],
    stored: Iterable[AcceptedEvent],
) -> Books:
    """Return what a batch adds to the books."""
    books = Books(
        {
            BookEntry(*subject, "accepted", ""): events
            for subject, events in Counter(map(_subject, stored)).items()
        }
    )
    for item, outcome in zip(checked, outcomes, strict=True):
        if outcome is not ACCEPTED:
            books[BookEntry(*_subject(item), outcome.kind, outcome.reason or "")] += 1
    return books


def books_statement(books: Books, received_on: date) -> Statement:
    """Return the statement that adds to the books, and to the intake of a UTC date."""
    columns = [list(column) for column in zip(*books, strict=True)] or [[]] * 5
    return _ADD_TO_BOOKS.with_values(*columns, list(books.values()), received_on)


def bots_statements(drops: Iterable[Drop]) -> list[Statement]:
    """Return the statement that counts bots by the buckets of their user agents, if there are any.

    A drop from the spool of an earlier version has no buckets, and is counted as NOT_RECORDED.
    """
    bots = Counter(map(_bot, drops))
    if not bots:
        return []
    days, apps, *buckets = zip(*bots, strict=True)
    named = [[bucket or NOT_RECORDED for bucket in column] for column in buckets]
    return [_ADD_BOTS.with_values(list(days), list(apps), *named, list(bots.values()))]


def address_gap_statements(events: Iterable[AcceptedEvent]) -> list[Statement]:
    """Return the statement that counts events without a valid address, if there are any."""
    gaps = Counter(
        (event.day, event.app_name, event.address) for event in events if event.address != "given"
    )
    if not gaps:
        return []
    keys = sorted({(day, app_name) for day, app_name, _ in gaps})
    return [
        _ADD_ADDRESS_GAPS.with_values(
            [day for day, _ in keys],
            [app_name for _, app_name in keys],
            [gaps[(*key, "missing")] for key in keys],
            [gaps[(*key, "invalid")] for key in keys],
        )
    ]
