"""The purge of one day of raw events (requirement 9).

Under the day's lock, one transaction locks the day's row, has another connection prove the day,
writes the receipt and deletes (invariants 6 and 9).
"""

from __future__ import annotations

from datetime import date
from typing import LiteralString

from psycopg import errors
from psycopg.types.json import Jsonb

from signal_pipeline.days.calendar import DayInUseError, day_lock
from signal_pipeline.days.placement import partition_bytes
from signal_pipeline.postgres.database import Connection, Database, run_with_retries
from signal_pipeline.postgres.query import query
from signal_pipeline.privacy import audit_log
from signal_pipeline.privacy.partition_drop import drop_partition
from signal_pipeline.privacy.purge_proof import (
    PurgeFacts,
    UnprovenError,
    prove,
    read_purge_facts,
)
from signal_pipeline.rollups.models import Models

PATIENCE_SECONDS = 30  # For every lock except the one on the table that is dropped.
OPEN_DAY: LiteralString = "select version from signal.days where day = %s and state = 'open'"


class PurgedMeanwhileError(UnprovenError):
    """Another run has purged the day since this one read which days are due."""


def open_connection(database: Database) -> Connection:
    """Open one of the two connections of a run, with a bound for its waits.

    One connection purges, and the other reads the raw events of a day while the first has locked
    the day. The reads need their own connection, because a drop on a cluster runs with the rights
    of the owner. If the same transaction had read the raw events with the rights of another user,
    the drop would wait for that read, and so for itself.
    """
    connection = database.connect()
    try:
        # Without a bound, a hanging session could hold up all later days. Three sessions could also
        # wait for each other for ever: the purge for the proof, the proof for a change of a table,
        # and this change for the purge. PostgreSQL cannot see that the purge waits for the proof.
        connection.execute(f"set lock_timeout = '{PATIENCE_SECONDS:d}s'")
    except BaseException:
        connection.close()
        raise
    return connection


def purge_day(
    connection: Connection,
    proving: Connection,
    day: date,
    models: Models,
    actor: bytes | None,
    *,
    dry_run: bool = False,
    forced: str | None = None,
) -> None:
    """Prove a day and delete its raw events, or with `dry_run` only prove it.

    With a reason in `forced`, the day is deleted without its proof. `proving` reads the raw events;
    both connections are from `open_connection`. Raises UnprovenError if the day stays, and
    PurgedMeanwhileError if it is gone already.
    """
    try:
        with day_lock(connection, day, PATIENCE_SECONDS):
            if dry_run:
                _read_version(connection, day, OPEN_DAY)
                _read_facts(proving, day, models, must_prove=True)
                return
            run_with_retries(lambda: _purge_locked(connection, proving, day, models, actor, forced))
    except (DayInUseError, errors.LockNotAvailable):
        raise UnprovenError(
            f"a writer, a build, an erasure or another purge had it in use for {PATIENCE_SECONDS}"
            " s: a later try can succeed"
        ) from None


def _purge_locked(
    connection: Connection,
    proving: Connection,
    day: date,
    models: Models,
    actor: bytes | None,
    forced: str | None,
) -> None:
    with connection.transaction():
        # The transaction idles while the other connection proves the day.
        connection.execute("set local idle_in_transaction_session_timeout = 0")
        # From here no writer can touch the day: each takes FOR KEY SHARE on this row first. Nothing
        # in this transaction reads the raw events; `open_connection` says why.
        version = _read_version(connection, day, f"{OPEN_DAY} for update")
        facts, size = _read_facts(proving, day, models, must_prove=forced is None)
        if facts.version != version:  # A URL of several hosts can lead to a standby.
            raise UnprovenError("its proof was read from another server, which is behind")
        connection.execute(
            query(__package__, "write_receipt"),
            {
                "day": day,
                "raw_events": facts.raw_events,
                "first_event": facts.first_event,
                "last_event": facts.last_event,
                "keys": facts.keys,
                "accepted": facts.accepted,
                "erased": facts.erased,
                "version": facts.version,
                "incomplete": forced is not None,
                "reason": forced,
                "rollups": Jsonb(facts.builds),
                "bytes": size,
            },
        )
        audit_log.record(
            connection,
            "purge" if forced is None else "purge_incomplete",
            day=day,
            actor=actor,
            details={"raw_events": facts.raw_events, "keys": facts.keys, "reason": forced},
        )
        connection.execute("delete from signal.event_keys where day = %s", [day])
        connection.execute(
            "update signal.days set state = 'purged', incomplete = %s where day = %s",
            [forced is not None, day],
        )
        drop_partition(connection, day)


def _read_version(connection: Connection, day: date, statement: LiteralString) -> int:
    row = connection.execute(statement, [day]).fetchone()
    if row is None:
        raise PurgedMeanwhileError("another run has purged it meanwhile")
    version: int = row[0]
    return version


def _read_facts(
    proving: Connection, day: date, models: Models, *, must_prove: bool
) -> tuple[PurgeFacts, int]:
    """Return the facts of a day, and the size of its partition in bytes.

    Raise UnprovenError if the facts must prove the day, and do not.
    """
    try:
        with proving.transaction():
            facts = read_purge_facts(proving, day)
            if must_prove:
                prove(proving, day, models, facts)
            return facts, partition_bytes(proving, day)
    except errors.LockNotAvailable:
        raise UnprovenError(
            f"a table that its proof reads was in use for {PATIENCE_SECONDS} s: a later try can"
            " succeed"
        ) from None
