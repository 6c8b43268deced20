"""Arrays in PostgreSQL's binary format arrive as what they were made of."""

from __future__ import annotations

from datetime import date
from uuid import UUID

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from signal_pipeline.postgres.binary_arrays import DateArray, UuidArray
from signal_pipeline.postgres.database import Connection

shared_connection = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)


@shared_connection
@given(ids=st.lists(st.uuids()), days=st.lists(st.dates()))
def test_arrays_arrive_as_they_were(
    connection: Connection, ids: list[UUID], days: list[date]
) -> None:
    row = connection.execute(
        "select %s, %s", [UuidArray.of(list(map(str, ids))), DateArray.of(days)]
    ).fetchone()
    assert row == (ids, days)


def test_they_need_no_cast(connection: Connection) -> None:
    arrays = [UuidArray.of([str(UUID(int=7))]), DateArray.of([date(1999, 12, 31)])]
    row = connection.execute("select pg_typeof(%s)::text, pg_typeof(%s)::text", arrays).fetchone()
    assert row == ("uuid[]", "date[]")
