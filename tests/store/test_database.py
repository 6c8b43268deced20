"""What an error of PostgreSQL says: whether the server is away, and nothing of a row."""

from __future__ import annotations

import pytest

from signal_pipeline.store.database import Database, DatabaseError, DatabaseUnreachableError, safe_errors


def test_a_cancelled_statement_does_not_mean_that_the_server_is_away(database: Database) -> None:
    impatient = Database(database.url, statement_seconds=0.05)
    with pytest.raises(DatabaseError) as raised, safe_errors(), impatient.connect() as connection:
        connection.execute("select pg_sleep(5)")
    assert not isinstance(raised.value, DatabaseUnreachableError)
    assert raised.value.sqlstate == "57014"
