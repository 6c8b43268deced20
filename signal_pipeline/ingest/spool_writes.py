"""Stores what a file of the spool holds, once, and finds out what PostgreSQL will never take."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from signal_pipeline.days.calendar import today_utc
from signal_pipeline.events.event import AcceptedEvent, Drop
from signal_pipeline.ingest.drop_log import kinds_of_drops, log_drops
from signal_pipeline.ingest.writer import EventWriter, prepare
from signal_pipeline.postgres.database import DAY_AHEAD, Connection, DatabaseError
from signal_pipeline.postgres.query import query

# The beginnings of the SQLSTATEs of errors that the row itself causes: bad data, a constraint, a
# limit such as the size of an entry of an index, a guard of our own.
_REFUSED_FOR_GOOD = ("22", "23", "54", "P0001")


class _AlreadyStored(Exception):
    """The sign that a file was stored before and only has to be removed."""


def write_once(
    writer: EventWriter,
    items: Sequence[AcceptedEvent | Drop],
    received_on: date,
    identity: bytes,
    size: int,
) -> str | None:
    """Store items under an identity, unless they were stored before.

    Return None if they are stored. If they are damaged, or if PostgreSQL will never take them,
    return why not, in a text that repeats none of their values. Raises DatabaseError for everything
    else. Then nothing is stored, unless the connection was lost during the commit; the next call
    with the same identity notices that.
    """
    try:
        batch = prepare(items)
    except ValueError:
        return "an id or a hash is damaged"

    def claim_identity(connection: Connection) -> None:
        row = connection.execute(
            query(__package__, "start_landed_file"), [identity, size]
        ).fetchone()
        assert row is not None
        if row[1] is not None:
            raise _AlreadyStored
        connection.execute(query(__package__, "finish_landed_file"), [identity])

    try:
        outcomes = writer.write(batch, claim_identity, received_on)
    except _AlreadyStored:
        return None
    except DatabaseError as error:
        if not _is_for_good(error, items):
            raise
        # Any trigger can raise P0001, with a text of its own, and such a text can hold values.
        return str(error) if error.sqlstate != "P0001" else "a rule of the database (P0001)"
    # The drops of the file were logged when it was spooled.
    log_drops(
        kinds_of_drops(
            (item, outcome)
            for item, outcome in zip(items, outcomes, strict=True)
            if isinstance(item, AcceptedEvent)
        )
    )
    return None


def _is_for_good(error: DatabaseError, items: Sequence[AcceptedEvent | Drop]) -> bool:
    """Return whether PostgreSQL will never take these items.

    PostgreSQL refuses items of a day that its clock has not reached. If only its clock is behind,
    the items wait until it has caught up. If the day is also in the future for this machine's
    clock, that clock was wrong when the items were accepted, and waiting could hold up the spool
    for years: such items are refused for good.
    """
    if error.sqlstate == DAY_AHEAD:
        tomorrow = today_utc() + timedelta(days=1)
        return any(isinstance(item, AcceptedEvent) and item.day > tomorrow for item in items)
    return (error.sqlstate or "").startswith(_REFUSED_FOR_GOOD)
