"""Queries that a connection prepares once, and then runs by name, several in one message."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg.rows import TupleRow

from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.query import query

# One statement of a message: its text, and the values of its placeholders.
Statement = tuple[LiteralString, Sequence[object]]


@dataclass(frozen=True, slots=True)
class PreparedQuery:
    """A query of `sql/<name>.sql` in a package, whose plan PostgreSQL keeps for a connection.

    PostgreSQL plans the first five calls. Then it keeps one plan for all values, unless that plan
    seems to cost more. For a transaction of a few rows, planning takes longer than running. (A plan
    for all values cannot be forced from the first call: with `plan_cache_mode =
    force_generic_plan`, the ledger's query on the same connection would fail on a Citus cluster.)
    In the query, each placeholder that is not compared with a column needs a cast.
    """

    package: str
    name: LiteralString

    def with_values(self, *values: object) -> Statement:
        """Return the statement that runs the query with these values."""
        return f"execute {self.name} ({', '.join(['%s'] * len(values))})", values

    @property
    def preparation(self) -> LiteralString:
        """The statement that prepares the query."""
        first, *others = query(self.package, self.name).split("%s")
        numbered = "".join(f"${number}{text}" for number, text in enumerate(others, start=1))
        return f"prepare {self.name} as {first}{numbered}"


def prepare_queries(connection: Connection, queries: Iterable[PreparedQuery]) -> None:
    """Prepare queries on a new connection.

    If psycopg has prepared a query of its own on the connection, its `Connection.rollback` sends
    `DEALLOCATE ALL`, which also ends the queries that were prepared here.
    """
    for prepared in queries:
        connection.execute(prepared.preparation)


def execute_together(
    connection: Connection, *statements: Statement
) -> psycopg.ClientCursor[TupleRow]:
    """Execute statements in one message, and return a cursor at the result of the first.

    The time of a small transaction is mostly round trips. At each of them, the thread releases
    Python's interpreter lock, and then waits to get the lock back. psycopg's pipeline would not
    help, because it waits for each of its statements.
    """
    cursor = psycopg.ClientCursor(connection)
    cursor.execute("; ".join([cursor.mogrify(text, values) for text, values in statements]))
    return cursor
