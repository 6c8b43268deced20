"""Distribution: the two large tables spread over the machines of a Citus cluster.

All other tables stay on the coordinator. docs/scale.md has the rules that follow from this.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from signal_pipeline.days.placement import DistributedTable, citus_version, distributed_tables
from signal_pipeline.errors import SignalError
from signal_pipeline.postgres.database import Connection, Database, DatabaseError
from signal_pipeline.postgres.locks import MIGRATE_LOCK, transaction_lock
from signal_pipeline.postgres.query import query

# All events of a user are on one node, so that each node counts its own users.
DISTRIBUTION_COLUMNS: Mapping[str, str] = {"events": "user_hash", "event_keys": "client_event_id"}
FIRST_VERSION = (13, 2)  # The oldest version that Signal has been tried with.
# Each shard costs every ingest and rollup a little; the workers can grow in number by this factor.
SHARDS_PER_WORKER = 4


class DistributionError(SignalError):
    """The tables cannot be distributed here; the text says what is missing."""


def distribute(database: Database, shards: int | None = None) -> list[str]:
    """Distribute the tables that are not distributed yet; return their names.

    Each table gets `shards` shards; None means as many as the other table has, or else
    `SHARDS_PER_WORKER` for each worker. Each table moves in a transaction of its own, with the rows
    that it holds, while its writers wait. The next call finishes what an interrupted one began.
    This user has to own a table only if the table has to change. Raises DistributionError if the
    extension, its version, the cluster or the rights of this user do not allow the distribution, or
    if a table is already distributed in another way.
    """
    try:
        with database.connect() as connection:
            workers = _refuse_without_citus(connection)
            return [
                name
                for name in DISTRIBUTION_COLUMNS
                if _distribute(connection, name, shards, workers)
            ]
    except DatabaseError as error:
        if error.sqlstate == "42501":
            raise DistributionError(
                "cannot distribute: this user lacks a right on a node of the cluster: the login"
                " must own the schema and must be able to log in on each worker"
            ) from None
        raise


def refuse_copies(database: Database) -> None:
    """Raise DistributionError if a shard has copies; do nothing on plain PostgreSQL.

    `Database.connect` tells Citus that the order of statements does not matter
    (`citus.all_modifications_commutative`). So the copies of a shard could get statements in
    different orders, and would then differ.
    """
    with database.connect() as connection:
        for table in distributed_tables(connection).values():
            _refuse_copies_of(table)


def send_ddl(connection: Connection, to_workers: bool) -> None:
    """Decide whether the DDL of this transaction is sent on to the workers of a cluster.

    Plain PostgreSQL takes the setting for a variable that nobody reads.
    """
    connection.execute(
        "select set_config('citus.enable_ddl_propagation', %s, true)",
        ["on" if to_workers else "off"],
    )


def _refuse_without_citus(connection: Connection) -> int:
    """Return the number of workers, or raise DistributionError if nothing can be distributed."""
    version = citus_version(connection)
    oldest = ".".join(map(str, FIRST_VERSION))
    if version is None:
        raise DistributionError(
            "cannot distribute: this database does not have the extension citus: install Citus"
            f" {oldest} or later on every node and run `create extension citus` (docs/scale.md)"
        )
    numbers = re.match(r"([0-9]+)\.([0-9]+)", version)
    if numbers is None or tuple(map(int, numbers.groups())) < FIRST_VERSION:
        raise DistributionError(
            f"cannot distribute: the extension citus is version {version}: Signal needs"
            f" {oldest} or later"
        )
    row = connection.execute(query(__package__, "cluster_facts")).fetchone()
    assert row is not None
    is_coordinator, workers = row
    if not is_coordinator:
        raise DistributionError(
            "cannot distribute: this is a worker: SIGNAL_DATABASE_URL must name the coordinator"
        )
    if not workers:
        raise DistributionError(
            "cannot distribute: the cluster has no worker for this database: add one with"
            " `select citus_add_node(...)`"
        )
    return int(workers)


def _distribute(connection: Connection, name: str, shards: int | None, workers: int) -> bool:
    """Distribute a table; return False if it was distributed already, and True otherwise."""
    table = f"signal.{name}"
    with connection.transaction():
        transaction_lock(connection, MIGRATE_LOCK)
        present = distributed_tables(connection)
        for each in present.values():
            _refuse_unlike(each, shards)
        if name in present and not _has_rows_left_behind(connection, table):
            return False
        _refuse_other_than_owner(connection, table)
        if name not in present:
            others = [each.shards for each in present.values()]
            number = shards or max(others, default=SHARDS_PER_WORKER * workers)
            if number < workers:
                raise DistributionError(
                    f"cannot distribute in {number} shard(s) over {workers} workers: each worker"
                    " needs a shard of its own"
                )
            # `Database.connect` relies on shards that have one copy.
            connection.execute("set local citus.shard_replication_factor = 1")
            connection.execute(
                "select create_distributed_table(%s, %s, colocate_with => 'none', shard_count =>"
                " %s)",
                [table, DISTRIBUTION_COLUMNS[name], number],
            )
        # Citus leaves copies of the moved rows on the coordinator's disk, where no erasure would
        # find them.
        if _has_rows_left_behind(connection, table):
            connection.execute("select truncate_local_data_after_distributing_table(%s)", [table])
    return name not in present


def _has_rows_left_behind(connection: Connection, table: str) -> bool:
    found = connection.execute(query(__package__, "rows_left_behind"), {"table": table})
    return found.fetchone() == (True,)


def _refuse_other_than_owner(connection: Connection, table: str) -> None:
    """Raise DistributionError if this user does not own a table that has to change."""
    owned = connection.execute(
        "select pg_has_role(relowner, 'usage') from pg_class where oid = to_regclass(%s)", [table]
    )
    if owned.fetchone() != (True,):
        raise DistributionError(
            "cannot distribute: this user does not own the tables: set SIGNAL_DISTRIBUTED=citus and"
            " run `signal-pipeline migrate` as the owner of the schema"
        )


def _refuse_unlike(table: DistributedTable, shards: int | None) -> None:
    """Raise DistributionError if a table is distributed in another way than it should be."""
    name, column = f"signal.{table.name}", DISTRIBUTION_COLUMNS.get(table.name)
    if column not in (None, table.by_column):
        raise DistributionError(
            f"cannot distribute: {name} is distributed by {table.by_column}, not by {column}"
        )
    _refuse_copies_of(table)
    if shards not in (None, table.shards):
        raise DistributionError(
            f"cannot distribute: {name} is already distributed, in {table.shards} shards: ask for"
            f" {table.shards}, or for no number; docs/scale.md says how to change it"
        )


def _refuse_copies_of(table: DistributedTable) -> None:
    if table.copies > 1:
        raise DistributionError(
            f"signal.{table.name} has {table.copies} copies of a shard, and Signal cannot keep them"
            f" equal: stop the ingest, run `select undistribute_table('signal.{table.name}')`, and"
            " then `signal-pipeline migrate --distribute`"
        )
