"""Days: UTC dates, their windows, rows and versions, and the lock of builds, erasures and purges.

This is the only place that checks and computes a window.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import LiteralString

from psycopg import errors, sql
from psycopg.rows import scalar_row

from signal_pipeline.days.placement import distributed_tables
from signal_pipeline.errors import SignalError, UsageError
from signal_pipeline.postgres.copy_format import EPOCH
from signal_pipeline.postgres.database import Connection, DatabaseError
from signal_pipeline.postgres.locks import LockClass, run_in_short_tries, session_lock
from signal_pipeline.postgres.query import query
from signal_pipeline.settings import FIRST_START_DATE

DAYS_AHEAD = 3  # Two nights can be missed.
AHEAD_PATIENCE_SECONDS = 20.0
# Far longer than a build of a large day takes. The wait is bounded, because any login can take an
# advisory lock, and hang.
LOCK_PATIENCE_SECONDS = 600


class NotMigratedError(SignalError):
    """The database has no Signal schema, or no start date."""


class DayInUseError(DatabaseError):
    """Another session holds the lock of the day, and does not give it back."""

    def __init__(self, day: date, seconds: int, sqlstate: str | None) -> None:
        super().__init__(
            f"another session has held the lock of day {day} for {seconds} s: pg_locks says which",
            sqlstate,
        )


class WindowError(UsageError):
    """A window ends before it begins."""


def day_from_text(text: str) -> date:
    """Return the day of a text of the form YYYY-MM-DD. Raises ValueError for every other form.

    Python alone also takes 20260304 and 2026-W10-3.
    """
    day = date.fromisoformat(text)
    if text != day.isoformat():
        raise ValueError("not of the form YYYY-MM-DD")
    return day


def today_utc() -> date:
    """Return today's UTC date by this machine's clock."""
    return datetime.now(UTC).date()


def window(first: date, last: date | None = None) -> tuple[datetime, datetime]:
    """Return the half-open window `[start, end)` of UTC instants of some days.

    The days are `first` to `last`, inclusive; `last` defaults to `first`.
    """
    start = datetime(first.year, first.month, first.day, tzinfo=UTC)
    end = last or first
    return start, datetime(end.year, end.month, end.day, tzinfo=UTC) + timedelta(days=1)


def check_window(first: date, last: date) -> None:
    """Raise WindowError for a window that ends before it begins.

    Days before the start date and days to come are no error: callers report them as unknown.
    """
    if first > last:
        raise WindowError(f"the first day, {first}, is after the last, {last}")


def why_not_built(day: date, start_date: date, today: date) -> str | None:
    """Return why the day cannot hold events, and so cannot be built; None if it can hold some."""
    if day < start_date:
        return f"before the start date {start_date}"
    return "after today" if day > today else None


def days_between(first: date, last: date) -> list[date]:
    """Return every day from `first` to `last`, inclusive."""
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def first_kept_day(today: date, retention_days: int) -> date:
    """Return the first day that is not yet due for purging.

    All earlier days are due (requirement 9.1).
    """
    return today - timedelta(days=retention_days)


def new_start_date(today: date, retention_days: int) -> date:
    """Return the start date of a new installation that sets none."""
    return max(FIRST_START_DATE, first_kept_day(today, retention_days))


def stored_start_date(connection: Connection) -> date:
    """Return the first day that can hold events.

    Raises NotMigratedError on a database without the schema.
    """
    if connection.execute("select to_regclass('signal.instance')").fetchone() == (None,):
        raise NotMigratedError("the database has no Signal schema: run `signal-pipeline migrate`")
    scalar = connection.cursor(row_factory=scalar_row)
    start_date: date | None = scalar.execute("select start_date from signal.instance").fetchone()
    if start_date is None:
        raise NotMigratedError("the database has no start date: run `signal-pipeline migrate`")
    return start_date


def installed_day(connection: Connection) -> date:
    """Return the UTC date of the first migration."""
    scalar = connection.cursor(row_factory=scalar_row)
    day: date | None = scalar.execute(
        "select (created_at at time zone 'UTC')::date from signal.instance"
    ).fetchone()
    assert day is not None
    return day


def ensure_days(connection: Connection, days: list[date]) -> None:
    """Make the row and the partition of each day, each in its own short transaction."""
    for day in days:
        connection.execute("select signal.ensure_day(%s)", [day])


def make_partitions_ahead(connection: Connection) -> list[date]:
    """Make the partitions of the next days on a cluster; return the days that still have none.

    On a cluster, making a partition holds back the writers of all days, so it is not left to the
    first event of a new day. Each partition is made when no writer is in the way; `ensure_days`
    makes those that are still missing.
    """
    if not distributed_tables(connection):
        return []
    scalar = connection.cursor(row_factory=scalar_row)
    # The server's date: the function refuses a day too far ahead by the server's clock.
    today: date | None = scalar.execute("select (now() at time zone 'UTC')::date").fetchone()
    assert today is not None
    return [
        day
        for day in days_between(today + timedelta(days=1), today + timedelta(days=DAYS_AHEAD))
        if not run_in_short_tries(
            connection, "select signal.make_partition(%s)", [day], AHEAD_PATIENCE_SECONDS
        )
    ]


def lock_days(connection: Connection, days: list[date]) -> None:
    """Lock the rows of the days until the transaction ends, so that purges have to wait."""
    connection.execute(query(__package__, "lock_days"), [days])


def raise_versions(connection: Connection, days: list[date]) -> None:
    """Record that the raw events of these days have changed, which makes their builds stale."""
    connection.execute(query(__package__, "raise_versions"), [days])


def days_missing_raw_events(connection: Connection, days: list[date]) -> dict[date, int]:
    """Return the open days that hold fewer raw events than the books say.

    The values are the numbers of missing events. Purged days are left out.
    """
    if not days:
        return {}
    counted = for_each_day(query(__package__, "count_day"), days)
    statement = sql.SQL(query(__package__, "days_missing_raw_events")).format(counted=counted)
    return dict(connection.execute(statement).fetchall())


def for_each_day(day_query: LiteralString, days: Iterable[date]) -> sql.Composed:
    """Return one query of several days, from a query with `{day}`, `{start}` and `{end}`.

    Each day is counted by itself, so only its partition is read, and no row is sorted into days.
    A statement that joins raw events with other tables puts this query into a materialized CTE, so
    that it also runs where the raw events are distributed (docs/scale.md).
    """
    parts = []
    for day in days:
        start, end = window(day)
        parts.append(sql.SQL(day_query).format(day=day.isoformat(), start=start, end=end))
    return sql.SQL(" union all ").join(parts)


@contextmanager
def day_lock(
    connection: Connection, day: date, patience_seconds: int | None = None
) -> Iterator[None]:
    """Hold the day's session lock: builds, erasures and purges of a day exclude each other by it.

    Take the lock before the snapshot transaction begins. Inside REPEATABLE READ, the snapshot would
    be taken before the wait for the lock. The build would then miss what was committed during the
    wait, and nobody would notice. Raises DayInUseError if another session holds the lock for
    `patience_seconds`, by default LOCK_PATIENCE_SECONDS.
    """
    patience_seconds = patience_seconds or LOCK_PATIENCE_SECONDS
    number = (day - EPOCH.date()).days
    with ExitStack() as held:
        try:
            held.enter_context(session_lock(connection, LockClass.DAY, number, patience_seconds))
        except errors.LockNotAvailable as error:
            raise DayInUseError(day, patience_seconds, error.sqlstate) from None
        yield
