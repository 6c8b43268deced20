"""Databases on every node of a Citus cluster that somebody runs by hand (SIGNAL_TEST_CITUS_URL)."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import make_conninfo

from signal_pipeline.postgres.database import Database
from signal_pipeline.postgres.urls import with_database

CLUSTER_URL = os.environ.get("SIGNAL_TEST_CITUS_URL")
WHY_SKIPPED = (
    "SIGNAL_TEST_CITUS_URL is not set: it names the database `postgres` of a coordinator, where a"
    " superuser has created the extension and added the workers"
)


def create_cluster_database(url: str, name: str, template: str = "template0") -> None:
    """Create a database on every node; from `template0` with the extension and the same nodes."""
    places = _nodes(url)
    for place in [("", ""), *places[1:]]:
        _run_each(
            url,
            place,
            "postgres",
            # Only the extension's own daemon is connected to a template, and that would refuse it.
            sql.SQL(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = {}"
            ).format(template),
            sql.SQL("create database {} template {}").format(
                sql.Identifier(name), sql.Identifier(template)
            ),
        )
        if template == "template0":
            _run_each(url, place, name, sql.SQL("create extension citus"))
    if template == "template0":
        host, *workers = places
        _run_each(
            url,
            ("", ""),
            name,
            sql.SQL("select citus_set_coordinator_host({}, {})").format(host[0], int(host[1])),
            *(
                sql.SQL("select citus_add_node({}, {})").format(node, int(port))
                for node, port in workers
            ),
        )


def drop_cluster_database(url: str, name: str) -> None:
    """Drop a database on every node.

    The extension's daemon comes back to a database from which it was sent away, sometimes just
    before the drop, which PostgreSQL then refuses.
    """
    drop = sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name))
    for place in [("", ""), *_nodes(url)[1:]]:
        for is_last in (False, False, False, False, True):
            try:
                _run_each(url, place, "postgres", drop)
                break
            except (errors.ObjectInUse, errors.InternalError_):
                if is_last:
                    raise
                time.sleep(0.5)


@contextmanager
def copied_database(server: str, name: str, template: str) -> Iterator[Database]:
    """Yield a copy of a database on a server or on a cluster; it is dropped at the end."""
    if server == CLUSTER_URL:
        create_cluster_database(server, name, template)
        yield Database(with_database(server, name))
        drop_cluster_database(server, name)
        return
    with psycopg.connect(server, autocommit=True) as connection:
        names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
        connection.execute(
            sql.SQL("create database {name} template {template} strategy file_copy").format(**names)
        )
        yield Database(with_database(server, name))
        connection.execute(sql.SQL("drop database {name} with (force)").format(**names))


def _nodes(url: str) -> list[tuple[str, str]]:
    """Return host and port of each node, the coordinator first."""
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        return connection.execute(
            "select nodename, nodeport::text from pg_dist_node order by groupid"
        ).fetchall()


def _run_each(
    url: str, place: tuple[str, str], name: str, *statements: sql.Composed | sql.SQL
) -> None:
    host, port = place
    where = {"host": host, "port": port} if host else {}
    conninfo = make_conninfo(url, dbname=name, **where)
    with closing(psycopg.connect(conninfo, autocommit=True)) as connection:
        for statement in statements:
            connection.execute(statement)
