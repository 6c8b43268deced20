"""The audit: who did what to which day, append-only. Actors stand in it as HMACs, and never a value
of an event.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Mapping
from datetime import date

from psycopg.types.json import Jsonb

from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings, audit_key

MAX_REASON = 200


def actor_hmac(settings: Settings, actor: str) -> bytes:
    """Who acted, as 32 bytes under the audit's own key: the same actor gives the same bytes, and
    they tell no name.
    """
    return hmac.digest(audit_key(settings), b"signal/actor\x1f" + actor.encode(), "sha256")


def operator(settings: Settings) -> bytes:
    """The person at the command line, by the number that the system knows: a name could be set in
    the environment.
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
    """Add an operator's entry, in the caller's transaction. `details` holds kinds, counts and
    reasons; never a value or a filter. PostgreSQL sets its time, and refuses an action that it does
    not know (RaiseException).
    """
    connection.execute(
        "select signal.audit_operator(%s, %s, %s, %s)",
        [action, day, actor, Jsonb(dict(details or {}))],
    )


def record_read(connection: Connection, actor: bytes, events: int) -> None:
    """Add that somebody has read so many raw events through the API."""
    connection.execute("select signal.audit_read(%s, %s)", [actor, events])
