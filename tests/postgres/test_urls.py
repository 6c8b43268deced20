"""URLs of PostgreSQL: what is written is what libpq and SQLAlchemy read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import make_url

from signal_pipeline.postgres.urls import (
    DatabaseUrlError,
    read_url,
    sqlalchemy_url,
    with_database,
    write_url,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)
HOSTS = st.sampled_from(
    ["h", "db.example.org", "::1", "a,b", "/tmp/a folder", "/tmp/x+y", "@name", "fe80::1%eth0"]
)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "postgresql://postgres@/signal?host=%2Ftmp%2Fx",
            "postgresql+psycopg2://postgres@/signal_dagster?host=%2Ftmp%2Fx",
        ),
        (
            "postgresql://u:p@db.example.org:5433/app",
            "postgresql+psycopg2://u:p@db.example.org:5433/signal_dagster",
        ),
        (
            "postgres://u:p@h/app?sslmode=require",
            "postgresql+psycopg2://u:p@h/signal_dagster?sslmode=require",
        ),
        ("postgresql://u:p@h", "postgresql+psycopg2://u:p@h/signal_dagster"),
        ("postgres://u:p%40x@h/app", "postgresql+psycopg2://u:p%40x@h/signal_dagster"),
        ("postgresql://u@[::1]:5/x", "postgresql+psycopg2://u@[::1]:5/signal_dagster"),
        ("host=h user=u password='a b'", "postgresql+psycopg2://u:a%20b@h/signal_dagster"),
        (
            "postgresql://u@a:1,b:2/x?options=-c%20a%3Db",
            "postgresql+psycopg2://u@/signal_dagster?host=a%2Cb&port=1%2C2&options=-c%20a%3Db",
        ),
    ],
)
def test_another_database_on_the_same_server_for_sqlalchemy(url: str, expected: str) -> None:
    assert sqlalchemy_url(with_database(url, "signal_dagster")) == expected
    assert sqlalchemy_url(expected) == expected
    assert make_url(expected).database == "signal_dagster"


def test_a_url_for_sqlalchemy_is_made_from_any_form_that_libpq_reads() -> None:
    assert sqlalchemy_url("postgres://u@h/runs") == "postgresql+psycopg2://u@h/runs"
    with pytest.raises(DatabaseUrlError) as refused:
        sqlalchemy_url("mysql://u:hidden@h/runs")
    assert "hidden" not in str(refused.value)


@given(
    user=st.none() | TEXTS,
    password=st.none() | TEXTS,
    host=HOSTS,
    database=TEXTS,
    options=TEXTS,
)
def test_libpq_and_sqlalchemy_read_what_is_written(
    user: str | None, password: str | None, host: str, database: str, options: str
) -> None:
    login = {"user": user, "password": password}
    parts = {
        **{name: value for name, value in login.items() if value is not None},
        "host": host,
        "port": "1,2" if "," in host else "5433",
        "dbname": database,
        "options": options,
    }
    assert read_url(write_url(parts)) == parts
    read = make_url(sqlalchemy_url(write_url(parts)))
    assert (read.username or None, read.password, read.database) == (user, password, database)
    assert read.query["options"] == options
    assert host in (read.host, read.query.get("host"))
