"""The audit log: who did what to which day, append-only.

It holds actors as HMACs, and never a value of an event.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from datetime import date

from psycopg.types.json import Jsonb

from signal_pipeline.keys import audit_key
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings

MAX_REASON = 200


def actor_hmac(settings: Settings, actor: str) -> bytes:
    """Return who acted, as an HMAC of 32 bytes under the audit log's own key.

    The same actor always gives the same bytes, and the bytes reveal no name.
    """
    name = actor.encode("utf-8", "surrogatepass")
    return hmac.digest(audit_key(settings), b"signal/actor\x1f" + name, "sha256")


def operator(settings: Settings) -> bytes:
    """Return the person at the command line, as an actor of the audit log.

    The person is known by the system's user number, because a name could be set in the environment.
    """
    return actor_hmac(settings, f"os:{os.getuid()}")


def record(
    connection: Connection,
    action: str,
    *,
    day: date | None = None,
    actor: bytes | None = None,
    details: Mapping[str, object] | None = None,
) -> None:
    """Add an entry of an operator or of a run of Dagster, in the caller's transaction.

    For a run, `actor` is None. `details` holds kinds, counts, dates, reasons, and the ids of
    certificates and runs, but never a value or a filter. PostgreSQL sets the time of the entry, and
    refuses an action that it does not know (RaiseException).
    """
    connection.execute(
        "select signal.audit_operator(%s, %s, %s, %s)",
        [action, day, actor, Jsonb(dict(details or {}))],
    )


def record_read(connection: Connection, actor: bytes, events: int) -> None:
    """Record that somebody has read this many raw events through the API."""
    connection.execute("select signal.audit_read(%s, %s)", [actor, events])
