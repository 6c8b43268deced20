"""Connections that stay open: which come back, and which do not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
from psycopg.pq import TransactionStatus

from signal_pipeline.postgres.database import Connection, Database, DatabaseError
from signal_pipeline.postgres.kept_connections import KeptConnections


@pytest.fixture
def kept(database: Database) -> Iterator[KeptConnections]:
    """The test's database, with connections that stay open and short statements."""
    with closing(KeptConnections(database.url, statement_seconds=0.5)) as connections:
        yield connections


def backend(connections: KeptConnections) -> int:
    """The process in PostgreSQL that answers next."""
    with connections.connect() as connection:
        return connection.info.backend_pid


def test_a_connection_is_used_again(kept: KeptConnections) -> None:
    first = backend(kept)
    assert [backend(kept) for _ in range(20)] == [first] * 20


def test_nobody_shares_a_connection(kept: KeptConnections) -> None:
    with kept.connect() as one, kept.connect() as other:
        both = {one.info.backend_pid, other.info.backend_pid}
    assert len(both) == 2
    with kept.connect() as one, kept.connect() as other:
        assert {one.info.backend_pid, other.info.backend_pid} == both


def test_a_refused_statement_ends_the_connection(kept: KeptConnections) -> None:
    pid = backend(kept)
    with pytest.raises(DatabaseError, match="57014"), kept.connect() as connection:
        connection.execute("select pg_sleep(5)")
    assert connection.closed
    assert backend(kept) != pid


def test_a_refused_question_leaves_the_connection_clean(kept: KeptConnections) -> None:
    def refuse() -> None:
        with kept.connect() as connection, connection.transaction():
            connection.execute("set transaction isolation level repeatable read read only")
            raise ValueError("x")

    pid = backend(kept)
    with pytest.raises(ValueError, match="x"):
        refuse()
    assert backend(kept) == pid
    with kept.connect() as connection:
        assert connection.info.transaction_status == TransactionStatus.IDLE
        assert connection.execute("show transaction_read_only").fetchone() == ("off",)


def test_an_open_transaction_ends_with_the_connection(kept: KeptConnections) -> None:
    with kept.connect() as connection:
        connection.execute("begin")
    assert connection.closed


def test_a_connection_that_the_server_ended_is_not_used(
    kept: KeptConnections, connection: Connection
) -> None:
    first = backend(kept)
    connection.execute("select pg_terminate_backend(%s, 10000)", [first])
    assert backend(kept) != first


def test_closing_ends_them_all(kept: KeptConnections, connection: Connection) -> None:
    with kept.connect() as one, kept.connect() as other:
        pass
    kept.close()
    assert one.closed
    assert other.closed
