"""Signal on a Citus cluster. No package index has Citus, so these run where somebody has built it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, time, timedelta
from functools import partial
from pathlib import Path

import psycopg
import pytest
from conftest import START_DATE
from support.bundle import SignalBundle
from support.cluster import (
    CLUSTER_URL,
    WHY_SKIPPED,
    create_cluster_database,
    drop_cluster_database,
)
from support.commands import error_of, last_json, run_command

from signal_pipeline.dagster.probes.book_balance import books_reconcile
from signal_pipeline.days import calendar
from signal_pipeline.days.calendar import (
    days_missing_raw_events,
    ensure_days,
    make_partitions_ahead,
    today_utc,
)
from signal_pipeline.days.placement import DistributedTable, distributed_tables
from signal_pipeline.days.profile import day_profile
from signal_pipeline.postgres.database import Database
from signal_pipeline.postgres.urls import with_database
from signal_pipeline.reports.newest_events import newest_events
from signal_pipeline.rollups.build import build_day, recorded_builds
from signal_pipeline.rollups.models import Models
from signal_pipeline.rollups.postgres_engine import PostgresEngine
from signal_pipeline.schema.distribution import (
    DISTRIBUTION_COLUMNS,
    SHARDS_PER_WORKER,
    DistributionError,
    distribute,
)
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import Settings

if CLUSTER_URL is None:
    pytest.skip(WHY_SKIPPED, allow_module_level=True)

YESTERDAY = today_utc() - timedelta(days=1)
LOCAL_ROWS = """
select coalesce(sum(pg_relation_size(oid)), 0) from pg_class
where relnamespace = 'signal'::regnamespace and relkind = 'r' and relname like 'event%'
"""


def expected_tables(shards: int) -> dict[str, DistributedTable]:
    """Both tables, each in so many shards of one copy."""
    return {
        name: DistributedTable(name, column, shards, 1)
        for name, column in DISTRIBUTION_COLUMNS.items()
    }


@pytest.fixture
def plain(server: str, models: Models, tmp_path: Path) -> Iterator[SignalBundle]:
    """A Signal on the cluster whose tables are not distributed yet; it has events of a day."""
    name = "signal_plain"
    create_cluster_database(server, name)
    database = Database(with_database(server, name))
    settings = Settings(
        _env_file=None,  # type: ignore[call-arg]
        database_url=database.url,
        env="development",
        home=tmp_path,
        salt_secret="a-secret-for-tests-of-more-than-32-bytes",
        start_date=START_DATE,
    )
    plain = SignalBundle(database, settings, models)
    plain.migrate()
    plain.fill(YESTERDAY, 40)
    yield plain
    drop_cluster_database(server, name)


def test_filled_tables_are_distributed_with_their_rows_and_once(plain: SignalBundle) -> None:
    before = plain.rows("select id from signal.events order by id")
    with plain.database.connect() as connection:
        assert distributed_tables(connection) == {}
        # As after a run that was killed between the two tables.
        connection.execute(
            "select create_distributed_table('signal.events', 'user_hash', shard_count => 3)"
        )
        assert distribute(plain.database) == ["event_keys"]
        assert distributed_tables(connection) == expected_tables(3)
    assert plain.rows("select id from signal.events order by id") == before
    assert plain.rows(LOCAL_ROWS) == [(0,)]
    assert distribute(plain.database) == []
    settings = plain.settings.model_copy(update={"distributed": "citus"})
    migrate(plain.database, settings, plain.models)


def test_another_column_a_worker_and_another_login_are_refused(plain: SignalBundle) -> None:
    with plain.database.connect() as connection:
        connection.execute("create role signal_stranger login")
        try:
            stranger = Database(plain.database.url.replace("postgres@", "signal_stranger@"))
            connection.execute("grant usage on schema signal to signal_stranger")
            with pytest.raises(DistributionError, match="does not own the tables"):
                distribute(stranger)
        finally:
            connection.execute("drop owned by signal_stranger")
            connection.execute("drop role signal_stranger")
        host, port = connection.execute(
            "select node_name, node_port from citus_get_active_worker_nodes()"
        ).fetchall()[0]
        worker = psycopg.conninfo.make_conninfo(plain.database.url, host=host, port=port)
        with pytest.raises(DistributionError, match="this is a worker"):
            distribute(Database(worker))
        connection.execute("select create_distributed_table('signal.events', 'client_event_id')")
        with pytest.raises(DistributionError, match="by client_event_id, not by user_hash"):
            distribute(plain.database)


def test_the_number_of_shards_is_chosen_once(
    plain: SignalBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGNAL_DATABASE_URL", plain.database.url)
    monkeypatch.setenv("SIGNAL_ENV", "development")
    monkeypatch.setenv("SIGNAL_HOME", str(tmp_path))
    signal = partial(run_command, cwd=tmp_path)
    too_few = signal("migrate", "--distribute", "--shards", 1)
    assert "each worker needs a shard of its own" in error_of(too_few)
    with plain.database.connect() as connection:
        assert distributed_tables(connection) == {}
        assert signal("migrate", "--distribute", "--shards", 6).returncode == 0
        assert distributed_tables(connection) == expected_tables(6)
        for same in (["--shards", 6], []):
            assert signal("migrate", "--distribute", *same).returncode == 0
        for other in (4, 12):
            refused = error_of(signal("migrate", "--distribute", "--shards", other))
            assert "signal.event_keys is already distributed, in 6 shards" in refused
        assert distributed_tables(connection) == expected_tables(6)
    status = signal("status", "--json")
    assert "signal.events by user_hash in 6 shards" in status.stderr
    assert last_json(status)["distributed"] == {
        "event_keys": {"by": "client_event_id", "shards": 6},
        "events": {"by": "user_hash", "shards": 6},
    }


def test_each_worker_gets_four_shards_unless_told_otherwise(plain: SignalBundle) -> None:
    with plain.database.connect() as connection:
        # Not the default of the cluster.
        connection.execute("alter database signal_plain set citus.shard_count = 5")
    distribute(plain.database)
    with plain.database.connect() as connection:
        workers = connection.execute(
            "select count(*) from citus_get_active_worker_nodes()"
        ).fetchone()
        assert workers is not None
        assert distributed_tables(connection) == expected_tables(SHARDS_PER_WORKER * workers[0])


@pytest.mark.parametrize("table", DISTRIBUTION_COLUMNS)
def test_copies_of_a_shard_are_refused_until_they_are_gone(plain: SignalBundle, table: str) -> None:
    before = plain.rows("select id from signal.events order by id")
    with plain.database.connect() as connection:
        connection.execute("set citus.shard_replication_factor = 2")
        connection.execute(
            "select create_distributed_table(%s, %s)",
            [f"signal.{table}", DISTRIBUTION_COLUMNS[table]],
        )
        with pytest.raises(DistributionError, match=f"signal.{table} has 2 copies of a shard"):
            distribute(plain.database)
        with pytest.raises(DistributionError, match=f"signal.{table} has 2 copies of a shard"):
            plain.migrate()
        assert distributed_tables(connection).keys() == {table}
        # As the message says.
        connection.execute("select undistribute_table(%s)", [f"signal.{table}"])
    plain.migrate()
    assert distribute(plain.database) == list(DISTRIBUTION_COLUMNS)
    assert plain.rows("select id from signal.events order by id") == before


@pytest.mark.parametrize("engine", ["duckdb", "postgres"])
def test_a_distributed_day_is_counted_built_and_purged(bundle: SignalBundle, engine: str) -> None:
    due = today_utc() - timedelta(days=bundle.settings.retention_days + 1)
    for day in (due, YESTERDAY):
        bundle.fill(day, 60)
        if engine == "postgres":
            build_day(bundle.database, PostgresEngine(), bundle.models, day)
        else:
            bundle.build(day)
    with bundle.database.connect() as connection:
        tables = distributed_tables(connection)
        assert tables.keys() == DISTRIBUTION_COLUMNS.keys()
        assert days_missing_raw_events(connection, [due, YESTERDAY]) == {}
        assert day_profile(connection, YESTERDAY).events == 60
        assert books_reconcile(connection).passed
        builds = recorded_builds(connection, bundle.models, [due, YESTERDAY])
        assert [(build.day, build.raw_events) for build in builds] == [(due, 60), (YESTERDAY, 60)]
    assert len(newest_events(bundle.database, {"app_name": "cms"}, None, None, 5, 60)) == 5
    assert bundle.purge().purged == [due]
    ((size,),) = bundle.rows("select bytes from signal.receipts")
    assert size > tables["events"].shards * 8192  # Each shard has at least a page.


def test_both_engines_count_the_same_on_the_workers(bundle: SignalBundle) -> None:
    """Sessions with several users on several nodes count once; a day is read in several parts."""
    bundle.fill(YESTERDAY, 400)
    with bundle.database.connect() as connection:
        sessions = "md5((get_byte(user_hash, 0) % 7)::text)::uuid"
        connection.execute(f"update signal.events set session_id = {sessions}")  # type: ignore[arg-type]
        ((shared,),) = connection.execute(
            "with pairs as materialized (select session_id, user_hash from signal.events group by"
            " 1, 2) select count(*) - count(distinct session_id) from pairs"
        ).fetchall()
        assert shared > 5
    bundle.build(YESTERDAY)
    by_duckdb = [
        bundle.rows(f"select * from signal.{name} order by 1, 2, 3, 4") for name in bundle.models
    ]
    build_day(bundle.database, PostgresEngine(), bundle.models, YESTERDAY)
    for name, rows in zip(bundle.models, by_duckdb, strict=True):
        assert bundle.rows(f"select * from signal.{name} order by 1, 2, 3, 4") == rows


def test_two_writers_and_a_purge_do_not_wait_for_each_other(bundle: SignalBundle) -> None:
    """Each holds its transaction open while the next one writes."""
    days = [YESTERDAY - timedelta(days=n) for n in range(3)]
    with bundle.database.connect() as connection:
        ensure_days(connection, days)
        keys = (
            "insert into signal.event_keys select gen_random_uuid(), %s from generate_series(1, 50)"
            " on conflict do nothing returning client_event_id"
        )
        with ExitStack() as opened:
            for statement, day in (
                (keys, days[0]),
                (keys, days[1]),
                ("delete from signal.event_keys where day = %s", days[2]),
                (keys, days[1]),
            ):
                other = opened.enter_context(bundle.database.connect())
                other.execute("set lock_timeout = '5s'")
                opened.enter_context(other.transaction())
                other.execute(statement, [day])


def test_the_first_event_of_a_day_whose_partition_is_there_holds_back_no_other_day(
    bundle: SignalBundle,
) -> None:
    with bundle.database.connect() as connection:
        assert make_partitions_ahead(connection) == []
        ensure_days(connection, [YESTERDAY])
    tomorrow = today_utc() + timedelta(days=1)
    with bundle.database.connect() as first, first.transaction():
        first.execute("select signal.ensure_day(%s)", [tomorrow])
        with bundle.database.connect() as other:
            other.execute("set citus.propagate_set_commands = 'local'")
            with other.transaction():
                other.execute("set local lock_timeout = '5s'")
                other.execute(
                    "insert into signal.events (id, created_at, app_name, event_type, user_hash,"
                    " device_type, browser_family, os_family, client_event_id) select"
                    " gen_random_uuid(), %s, 'cms', 'x', sha256(n::text::bytea), 'desktop',"
                    " 'Chrome', 'Windows', gen_random_uuid() from generate_series(1, 200) as n",
                    [datetime.combine(YESTERDAY, time(12), UTC)],
                )


def test_partitions_ahead_give_way_to_a_writer(
    bundle: SignalBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are made by tries of a moment, so no writer waits behind them for the one that writes."""
    monkeypatch.setattr(calendar, "AHEAD_PATIENCE_SECONDS", 0.5)
    bundle.fill(YESTERDAY, 60)
    with bundle.database.connect() as connection:
        with bundle.database.connect() as writer, writer.transaction():
            writer.execute("update signal.events set route = '/'")
            assert len(make_partitions_ahead(connection)) == calendar.DAYS_AHEAD
            bundle.fill(YESTERDAY, 20, seed=2)
        assert make_partitions_ahead(connection) == []
    assert bundle.rows("select max(day) from signal.days") == [(YESTERDAY,)]
