"""The drop of a purged day's table of raw events, and why PostgreSQL can refuse it."""

from __future__ import annotations

from datetime import date

from psycopg import errors

from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.locks import run_in_short_tries
from signal_pipeline.privacy.purge_proof import UnprovenError

DROP_PATIENCE_SECONDS = 60.0
MAX_OBJECTS = 3  # An error names at most this many objects that depend on the table.


class DropRefusedError(UnprovenError):
    """The day passes its proof, but PostgreSQL does not drop its table; the text says why."""


def drop_partition(connection: Connection, day: date) -> None:
    """Drop the day's partition, if it has one, waiting for its lock in short tries.

    The caller's transaction has written the day's receipt. Raises UnprovenError if the partition
    stays in use, and DropRefusedError if somebody's objects or rights are in the way.
    """
    table = f"signal.events_{day:%Y%m%d}"
    try:
        # Each try is a savepoint, so that a failed one does not undo the deletes of the
        # transaction.
        is_dropped = run_in_short_tries(
            connection, "select signal.drop_partition(%s)", [day], DROP_PATIENCE_SECONDS
        )
    except errors.DependentObjectsStillExist as error:
        # Unlike the details of other errors, this one holds only names of objects.
        objects = "; ".join((error.diag.message_detail or table).splitlines()[:MAX_OBJECTS])
        raise DropRefusedError(
            f"PostgreSQL does not drop its table while other objects depend on it ({objects}):"
            " drop those objects"
        ) from None
    except errors.InsufficientPrivilege:
        raise DropRefusedError(
            f"its table {table} belongs to another login, or this login may not purge: make the"
            " owner of signal.events its owner, and give this login signal_admin"
        ) from None
    if not is_dropped:
        raise UnprovenError(
            f"its partition was in use for {DROP_PATIENCE_SECONDS:.0f} s: a later try can succeed"
        )
