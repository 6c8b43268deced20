"""What an error of PostgreSQL says: whether the server is away, and nothing about a row."""

from __future__ import annotations

from typing import LiteralString

import pytest

from signal_pipeline.postgres.database import (
    Connection,
    Database,
    DatabaseError,
    DatabaseUnreachableError,
    safe_errors,
)


def test_a_cancelled_statement_does_not_mean_that_the_server_is_away(database: Database) -> None:
    impatient = Database(database.url, statement_seconds=0.05)
    with pytest.raises(DatabaseError) as raised, impatient.connect() as connection:
        connection.execute("select pg_sleep(5)")
    assert not isinstance(raised.value, DatabaseUnreachableError)
    assert raised.value.sqlstate == "57014"


@pytest.mark.parametrize(
    ("sqlstate", "away", "is_transient", "is_misconfigured"),
    [
        ("08006", True, False, False),
        ("57P01", True, False, False),  # Shut down, as 57P02 and 57P03.
        ("57P05", True, False, False),  # Idle for too long; 25P03 is the same inside a transaction.
        ("25P03", True, False, False),
        ("40001", False, True, False),
        ("40P01", False, True, False),
        ("53300", False, True, False),
        ("55P03", False, True, False),
        ("25006", False, True, False),
        ("42501", False, False, True),
        ("42P01", False, False, True),
        ("3F000", False, False, True),
        ("22001", False, False, False),
        ("23514", False, False, False),
        ("XX000", False, False, False),
    ],
)
def test_an_error_says_whether_to_wait_or_to_look(
    connection: Connection, sqlstate: str, away: bool, is_transient: bool, is_misconfigured: bool
) -> None:
    with pytest.raises(DatabaseError) as raised, safe_errors():
        connection.execute(
            f"do $$begin raise exception 'a value' using errcode = '{sqlstate}'; end$$"
        )  # type: ignore[arg-type]
    error = raised.value
    assert (
        isinstance(error, DatabaseUnreachableError),
        error.is_transient,
        error.is_misconfigured,
    ) == (
        away,
        is_transient,
        is_misconfigured,
    )
    assert sqlstate in str(error)
    assert "a value" not in str(error)


def test_a_refused_row_is_told_by_its_table_and_column_and_not_by_its_values(
    connection: Connection,
) -> None:
    connection.execute("create temporary table searches (found text not null, typed text)")
    with (
        pytest.raises(DatabaseError, match="table searches, column found") as raised,
        safe_errors(),
    ):
        connection.execute("insert into searches values (null, 'a value')")
    assert "a value" not in str(raised.value)


@pytest.mark.parametrize(
    "statement",
    [
        "select from signal.of_a_later_version",
        "select of_a_later_version from signal.days",
        "select signal.of_a_later_version()",
        "select of_a_later_version.events()",
    ],
)
def test_who_has_not_migrated_is_told_to(connection: Connection, statement: LiteralString) -> None:
    with pytest.raises(DatabaseError, match="run `signal-pipeline migrate`"), safe_errors():
        connection.execute(statement)


def test_who_may_not_is_told_to_ask_for_a_role(connection: Connection) -> None:
    connection.execute("set role signal_reader")
    with pytest.raises(DatabaseError, match="role for its work"), safe_errors():
        connection.execute("select from signal.events")
