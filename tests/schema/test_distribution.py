"""Distributing the large tables: what is refused where there is no cluster.

`tests/test_citus.py` has what happens on a cluster.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from conftest import As, Fill
from support.commands import Signal, error_of, last_json, run_command

from signal_pipeline.days.calendar import today_utc
from signal_pipeline.days.placement import distributed_tables
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.rollups.models import Models
from signal_pipeline.schema.distribution import DistributionError, distribute
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only


@pytest.fixture
def signal(environment: Settings, tmp_path: Path) -> Signal:
    """Runs the command with the test's settings; keyword arguments change the environment."""
    return partial(run_command, cwd=tmp_path)


@pytest.mark.parametrize("wanted", ["option", "variable"])
def test_plain_postgresql_is_refused_with_one_line_and_stays_as_it_was(
    signal: Signal, fill: Fill, connection: Connection, wanted: str
) -> None:
    fill(today_utc(), 5)
    if wanted == "option":
        done = signal("migrate", "--distribute")
    else:
        done = signal("migrate", SIGNAL_DISTRIBUTED="citus")
    assert done.returncode == 1
    error = error_of(done)
    assert "does not have the extension citus" in error
    assert "13.2" in error
    assert connection.execute("select count(*) from signal.events").fetchone() == (5,)
    assert signal("migrate").returncode == 0
    done = signal("status", "--json")
    assert "istributed" not in done.stderr
    assert "distributed" not in last_json(done)


@pytest.mark.parametrize("number", ["0", "-4", "64001", "a-dozen", "4.5", ""])
def test_a_wrong_number_of_shards_is_a_usage_error(signal: Signal, number: str) -> None:
    done = signal("migrate", "--distribute", f"--shards={number}")
    assert done.returncode == 2
    assert "Invalid value for '--shards'" in done.stderr


def test_shards_without_a_distribution_are_refused_before_anything_changes(
    signal: Signal, connection: Connection
) -> None:
    connection.execute("comment on schema signal is 'of an older version'")
    done = signal("migrate", "--shards", 8)
    assert done.returncode == 2
    assert "--shards needs --distribute" in error_of(done)
    comment = "select obj_description('signal'::regnamespace)"
    assert connection.execute(comment).fetchone() == ("of an older version",)  # type: ignore[call-overload]
    assert "does not have the extension" in error_of(
        signal("migrate", "--shards", 8, SIGNAL_DISTRIBUTED="citus")
    )


@pytest.mark.parametrize("version", ["12.1-1", "9.5-3", "13.1-1", "trunk"])
def test_an_old_version_of_the_extension_is_refused(
    database: Database, connection: Connection, version: str
) -> None:
    connection.execute(
        "insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable,"
        " extversion) select 99999, 'citus', extowner, extnamespace, false, %s from pg_extension"
        " limit 1",
        [version],
    )
    with pytest.raises(DistributionError, match=f"version {version}: Signal needs 13.2 or later"):
        distribute(database)


CLUSTER = """
set allow_system_table_mods = on;
insert into pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
select 99999, 'citus', extowner, extnamespace, false, '13.2-1' from pg_extension limit 1;
create function pg_catalog.citus_is_coordinator() returns boolean return true;
create function pg_catalog.column_to_column_name(regclass, text) returns text return $2;
create table pg_catalog.pg_dist_node as
select true as isactive, true as shouldhaveshards, 'primary' as noderole;
create table pg_catalog.pg_dist_partition as
select * from (values
    ('signal.events'::regclass, 'user_hash', 'h'), ('signal.event_keys', 'client_event_id', 'h')
) as t (logicalrelid, partkey, partmethod);
create table pg_catalog.pg_dist_shard as
select logicalrelid, row_number() over () as shardid from pg_dist_partition;
create table pg_catalog.pg_dist_placement as select shardid, 1 as shardstate from pg_dist_shard;
grant select on all tables in schema pg_catalog to public;
"""


@pytest.mark.parametrize("left", ["rows", "table"])
def test_only_what_is_left_to_do_needs_the_owner(
    database: Database,
    connection: Connection,
    as_role: As,
    settings: Settings,
    models: Models,
    fill: Fill,
    left: str,
) -> None:
    """What Citus would say of tables that are distributed is written down here by hand."""
    connection.execute(CLUSTER)  # type: ignore[call-overload]
    distributed = settings.model_copy(update={"distributed": "citus"})
    admin = as_role("signal_admin")
    migrate(admin, distributed, models)
    if left == "rows":
        fill(today_utc(), 5)
    else:
        connection.execute("delete from pg_dist_partition where partkey = 'client_event_id'")
    with pytest.raises(DistributionError, match="does not own the tables"):
        distribute(admin)


def test_nothing_is_distributed_on_plain_postgresql(connection: Connection) -> None:
    assert distributed_tables(connection) == {}
