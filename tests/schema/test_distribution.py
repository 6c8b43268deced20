"""Distributing the large tables: what is refused where there is no cluster.

`tests/test_citus.py` has what happens on a cluster.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from conftest import Fill
from support.commands import Signal, error_of, last_json, run_command

from signal_pipeline.days.calendar import today_utc
from signal_pipeline.days.placement import distributed_tables
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.schema.distribution import DistributionError, distribute
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


def test_nothing_is_distributed_on_plain_postgresql(connection: Connection) -> None:
    assert distributed_tables(connection) == {}
