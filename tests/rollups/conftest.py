"""A real PostgreSQL with the few tables that rollups need, and rollups made up for a test."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from support.guarded import INSERT, OPEN_DAY, PURGED_DAY
from support.rollup_events import DAY, END, MICROSECOND, START, Event

from signal_pipeline.postgres.database import Connection
from signal_pipeline.postgres.embedded import start_embedded
from signal_pipeline.rollups.duckdb_engine import DuckdbEngine
from signal_pipeline.rollups.engine import Engine
from signal_pipeline.rollups.models import Models, load_models
from signal_pipeline.rollups.postgres_engine import PostgresEngine
from signal_pipeline.schema.rollup_tables import migrate_rollups

OWN_FOLDER = Path(__file__).parents[2] / "dbt_like_sql"
SCHEMA_FOLDER = Path(__file__).parents[2] / "signal_pipeline/schema"
GUARDS = SCHEMA_FOLDER / "sql/guards.sql"
EXPECTED_EVENTS = SCHEMA_FOLDER / "migrations/versions/0008_expected_events.sql"

SCHEMA = """
drop schema if exists signal cascade;
create schema signal;
create schema if not exists signal_reporting;
create table signal.events (
    id uuid not null default gen_random_uuid(),
    created_at timestamptz not null,
    app_name text collate "C" not null,
    event_type text collate "C" not null,
    route text collate "C",
    entity_type text collate "C",
    entity_id text collate "C",
    user_hash bytea not null,
    session_id uuid,
    device_type text collate "C" not null,
    browser_family text collate "C" not null,
    os_family text collate "C" not null,
    client_event_id uuid not null default gen_random_uuid(),
    description jsonb
);
create table signal.days (
    day date primary key,
    version bigint not null default 0,
    state text not null default 'open'
);
create table signal.books (day date, outcome text, events bigint);
"""


@pytest.fixture(scope="session")
def server_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The URL of a PostgreSQL server of our own."""
    return start_embedded(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def url(server_url: str) -> str:
    """The URL of a database of our own on the server."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute("drop database if exists rollups_test with (force)")
        connection.execute("create database rollups_test")
    return make_conninfo(server_url, dbname="rollups_test")


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    """A connection in autocommit mode to a new, empty schema without rollups."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("set client_min_messages = 'warning'")
        connection.execute(SCHEMA + GUARDS.read_text() + EXPECTED_EVENTS.read_text())
        yield connection


@pytest.fixture(scope="session")
def models() -> Models:
    """Our own models."""
    return load_models()


@pytest.fixture
def rollups(connection: Connection, models: Models) -> Connection:
    """The same connection, with the tables of our own models."""
    with connection.transaction():
        migrate_rollups(connection, models)
    return connection


@pytest.fixture
def guarded(rollups: Connection) -> Connection:
    """Rollups with an open day, and a purged day that has one row of an '(all)' event."""
    rollups.execute("insert into signal.days values (%s), (%s)", [OPEN_DAY, PURGED_DAY])
    rollups.execute(INSERT, [PURGED_DAY, "(all)"])
    rollups.execute("update signal.days set state = 'purged' where day = %s", [PURGED_DAY])
    return rollups


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of our own `dbt_like_sql`, to change."""
    return shutil.copytree(OWN_FOLDER, tmp_path / "dbt_like_sql")


AddRollup = Callable[..., None]


@pytest.fixture
def add_rollup(folder: Path) -> AddRollup:
    """Adds one rollup to the copied folder: one SQL file, and one entry in `schema.yml`."""

    def add(name: str, extra_select: str, extra_group: str, extra_columns: str, grain: str) -> None:
        group = f", {extra_group}" if extra_group else ""
        (folder / "models" / f"{name}.sql").write_text(f"""select
    cast(cast($1 as timestamptz) at time zone 'UTC' as date) as activity_date,
    app_name,
    event_type,
    {extra_select},
    count(*) as events,
    count(distinct user_hash) as users,
    count(distinct session_id) as sessions
from signal.events
where created_at >= $1 and created_at < $2
group by app_name, event_type{group}
""")
        schema = folder / "schema.yml"
        schema.write_text(
            schema.read_text()
            + f"""
  - name: {name}
    description: Made up. One row per {grain}.
    owner: team:signal
    columns:
      - *activity_date
      - *app_name
      - *event_type
{extra_columns}
      - *events
      - *users
      - *sessions
    data_tests:
      - dbt_utils.unique_combination_of_columns:
          arguments: {{combination_of_columns: [{grain}]}}
"""
        )

    return add


@pytest.fixture(params=["duckdb", "postgres"])
def engine(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> Engine:
    """Each of the two engines in turn."""
    return DuckdbEngine(url, tmp_path / "tmp") if request.param == "duckdb" else PostgresEngine()


@pytest.fixture
def day(rollups: Connection) -> Connection:
    """A connection to a database that knows the day, without events."""
    rollups.execute("insert into signal.days values (%s, 7)", [DAY])
    return rollups


@pytest.fixture(scope="module")
def many_events() -> list[Event]:
    """Some thousand events over three days; everything that can be null sometimes is."""
    chance = random.Random(20260308)
    times = [
        START - timedelta(days=1) + timedelta(seconds=chance.uniform(0, 259_200))
        for _ in range(6000)
    ]
    times += [START - MICROSECOND, START, END - MICROSECOND, END]
    return [
        Event(
            time,
            chance.choice(["cms", "journeys-admin", "videos-admin"]),
            chance.choice(["a_clicked", "b_opened", "c_picked"]),
            chance.choice([None, "/", "/journeys/[id]", "/über/ß", "/Ä"]),
            chance.choice([None, ("journey", str(UUID(int=chance.randrange(40))))]),
            chance.randrange(300),
            chance.choice([None, chance.randrange(500)]),
            chance.choice(["desktop", "mobile"]),
            chance.choice(["Chrome", "Safari", "Samsung Internet"]),
            chance.choice(["macOS", "Other"]),
            chance.choice([None, {"language": "de"}]),
        )
        for time in times
    ]
