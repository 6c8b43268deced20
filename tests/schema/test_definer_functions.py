"""Functions that change tables with the rights of their owner, and the transactions that call them.

On a cluster each user has connections of its own to the workers. Such a function waits there for
what its transaction has read as another user: for itself.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from psycopg.pq import TransactionStatus
from support.bundle import SignalBundle
from support.days import due_day, tomorrow, yesterday

from signal_pipeline.postgres.database import Connection
from signal_pipeline.privacy.erasure import Subject, erase
from signal_pipeline.reports.of_raw_events import raw_report
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.postgres_engine import PostgresEngine

pytestmark = pytest.mark.embedded_only

CHANGES_TABLES = """
select proname from pg_proc
where pronamespace = 'signal'::regnamespace and prosecdef
    and prosrc ~* '(create|alter|drop) table|signal\\.make_partition'
"""


@pytest.fixture
def faults(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Calls of such functions in transactions that had touched the raw events before."""
    names = [name for (name,) in connection.execute(CHANGES_TABLES).fetchall()]
    assert sorted(names) == ["drop_partition", "ensure_day", "make_partition"]
    calls = re.compile(rf"signal\.({'|'.join(names)})\(")
    touched: dict[psycopg.Connection[object], bool] = defaultdict(bool)
    found: list[str] = []
    called: set[str] = set()
    execute = psycopg.Cursor.execute

    def watch(cursor: psycopg.Cursor[object], query: object, *values: object, **named: object):  # type: ignore[no-untyped-def]
        text = query.as_string(cursor) if isinstance(query, sql.Composable) else str(query)
        if cursor.connection.info.transaction_status == TransactionStatus.IDLE:
            touched[cursor.connection] = False
        if call := calls.search(text):
            called.add(call[1])
            if touched[cursor.connection]:
                found.append(text)
        touched[cursor.connection] |= bool(re.search(r"\bsignal\.events\b", text))
        return execute(cursor, query, *values, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(psycopg.Cursor, "execute", watch)
    yield found
    assert called == {*names}


def test_no_transaction_calls_one_after_it_has_read_the_same_tables(
    bundle: SignalBundle, faults: list[str]
) -> None:
    due, newest = due_day(), yesterday()
    for day in (due, newest):
        bundle.fill(day, 30)
        bundle.build(day)
        build_day(bundle.database, PostgresEngine(), bundle.models, day)
    raw_report(bundle.database, ["app"], {}, newest, newest)
    ((user,),) = bundle.rows("select user_hash from signal.events limit 1")
    for day in (due, newest):
        erase(bundle.database, Subject.user(user, day), b"a" * 32)
        bundle.build(day)
    assert bundle.purge().purged == [due]
    with bundle.database.connect() as connection:
        connection.execute("select signal.make_partition(%s)", [tomorrow()])
    assert faults == []


def test_one_that_does_is_found(bundle: SignalBundle, faults: list[str]) -> None:
    due = due_day()
    bundle.fill(due, 1)
    bundle.build(due)
    assert bundle.purge().purged == [due]
    with bundle.database.connect() as connection, connection.transaction():
        connection.execute("select count(*) from signal.events")
        connection.execute("select signal.ensure_day(%s)", [yesterday()])
        connection.execute("select signal.make_partition(%s)", [yesterday()])
    assert len(faults) == 2
