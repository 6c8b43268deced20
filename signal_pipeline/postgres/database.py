"""Connections to PostgreSQL, the SQL files, and errors without row text.

Everything that talks to PostgreSQL gets its connection here. What is stored, and how, stands in the
other modules.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
from psycopg import errors

from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.embedded import start_embedded
from signal_pipeline.settings import Settings

Connection = psycopg.Connection[tuple[object, ...]]
Result = TypeVar("Result")

TRANSACTION_ATTEMPTS = 8
# SQLSTATEs, or how they begin. Each of these ends the connection; a cancelled statement (57014)
# says nothing of the server.
_LOST = ("08", "57P", "25P03", "25P04")
# No room, too many connections, a fault of the disk; read-only, as a standby is until it is
# promoted; an unknown outcome.
_NOTHING_NOW = ("53", "58030", "25006", "40003")
_NOT_NOW = (
    *_NOTHING_NOW,
    "40001",
    "40P01",
    "55P03",
    "57014",
)  # A lost race, a lock or the statement given up.
_NOT_HERE = ("42", "3F")  # The login may not, or the schema is another than ours.


class DatabaseError(SignalError):
    """PostgreSQL refused a statement. Holds the SQLSTATE and names of objects, never a value."""

    def __init__(self, message: str, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate

    @property
    def passes(self) -> bool:
        """Whether PostgreSQL is there, but does not do it for now."""
        return (self.sqlstate or "").startswith(_NOT_NOW)

    @property
    def takes_nothing(self) -> bool:
        """Whether PostgreSQL is there, but does nothing of the kind for anybody for now: as good as
        away.
        """
        return (self.sqlstate or "").startswith(_NOTHING_NOW)

    @property
    def not_here(self) -> bool:
        """Whether it is the login or the schema that is at fault, not what was asked: it fails for
        everything alike.
        """
        return (self.sqlstate or "").startswith(_NOT_HERE)


class DatabaseUnreachableError(DatabaseError):
    """PostgreSQL cannot be reached, or went away. Trying again later may help."""


class Database:
    """One PostgreSQL database, by its libpq URL. `statement_seconds` bounds each statement; 0 means
    no bound.
    """

    def __init__(self, url: str, statement_seconds: float = 0) -> None:
        self.url = url
        self._statement_ms = int(statement_seconds * 1000)

    def connect(self) -> Connection:
        """Open a connection in autocommit mode with a UTC session; raises
        DatabaseUnreachableError.
        """
        with safe_errors():
            return psycopg.connect(
                self.url,
                autocommit=True,
                connect_timeout=10,
                # A server that vanished without a word is noticed within half a minute.
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=20_000,
                application_name="signal",
                options=(
                    "-c timezone=UTC -c client_encoding=UTF8 -c"
                    f" statement_timeout={self._statement_ms}"
                ),
            )


def open_database(settings: Settings) -> Database:
    """The database of `SIGNAL_DATABASE_URL`, else the embedded one, started if need be."""
    return Database(settings.database_url or start_embedded(settings.home_path))


@contextmanager
def safe_errors() -> Iterator[None]:
    """Turn psycopg's errors into DatabaseError without row text: DETAIL and CONTEXT lines carry
    values.
    """
    try:
        yield
    except psycopg.Error as error:
        raise _without_values(error) from None


def _without_values(error: psycopg.Error) -> DatabaseError:
    # A guard of our own (P0001) words its message itself, without values of a row.
    if isinstance(error, errors.RaiseException):
        return DatabaseError(error.diag.message_primary or "refused", error.sqlstate)
    if (
        error.sqlstate.startswith(_LOST)
        if error.sqlstate
        else isinstance(error, psycopg.OperationalError)
    ):
        return DatabaseUnreachableError(
            "cannot reach PostgreSQL: check that the server runs and SIGNAL_DATABASE_URL is right"
            f" ({_kind(error)})",
            error.sqlstate,
        )
    names = [
        f"{label} {name}"
        for label, name in (
            ("table", error.diag.table_name),
            ("constraint", error.diag.constraint_name),
        )
        if name
    ]
    advice = (
        ": give this login the role for its work (docs/operations.md)"
        if error.sqlstate == "42501"
        else ""
    )
    return DatabaseError(
        f"PostgreSQL refused a statement: {', '.join([_kind(error), *names])}{advice}",
        error.sqlstate,
    )


def _kind(error: psycopg.Error) -> str:
    kind = type(error).__name__
    return f"{kind}, SQLSTATE {error.sqlstate}" if error.sqlstate else kind


def retried(transaction: Callable[[], Result]) -> Result:
    """Run a whole transaction, again on a deadlock or a serialization failure (40P01, 40001)."""
    for attempt in range(1, TRANSACTION_ATTEMPTS + 1):
        try:
            return transaction()
        except (errors.DeadlockDetected, errors.SerializationFailure):
            if attempt == TRANSACTION_ATTEMPTS:
                raise
            time.sleep(0.01 * 2**attempt)
    raise AssertionError("unreachable")
