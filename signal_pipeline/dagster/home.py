"""Where Dagster keeps its state: `DAGSTER_HOME`, `dagster.yaml` and its database.

The database is on the same PostgreSQL server as Signal's, unless it is configured elsewhere.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psycopg
import yaml
from psycopg import sql
from sqlalchemy import create_engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from signal_pipeline.dagster.names import load_names
from signal_pipeline.postgres.database import ensure_database, open_database
from signal_pipeline.postgres.query import query
from signal_pipeline.postgres.urls import sqlalchemy_url, with_database
from signal_pipeline.settings import Settings, SettingsError
from signal_pipeline.system.child_environments import DATABASE_VARIABLE

DAGSTER_DATABASE = "signal_dagster"
UNFINISHED_DATABASE = "signal_dagster_unfinished"
CONNECT_SECONDS = 10
STATEMENT_MILLISECONDS = 60_000
RECYCLE_SECONDS = 3_600
MORE_CONNECTIONS = 8  # Each storage can open this many, beside the one that it keeps open.
SLOTS_OF_A_POOL = 1


def prepare_dagster(settings: Settings) -> Path:
    """Make `DAGSTER_HOME` and its database, and set the environment for Dagster's processes.

    An existing `DAGSTER_HOME` or `SIGNAL_DAGSTER_DATABASE_URL` is respected: an instance that
    others have configured stays as it is. Returns the folder. Raises SettingsError for a relative
    DAGSTER_HOME, for a `dagster.yaml` that is not YAML, and for a `SIGNAL_DAGSTER_DATABASE_URL`
    that Dagster cannot use.
    """
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(settings.home_path / "dagster")))
    if not home.is_absolute():
        raise SettingsError("DAGSTER_HOME: is not an absolute path")
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    ours = home == settings.home_path / "dagster" or not any(home.iterdir())
    if ours and not config.exists():
        shutil.copyfile(project_file("dagster.yaml"), config)
    if not config.exists() or DATABASE_VARIABLE not in _read_config(config):
        return home
    if settings.dagster_database_url:
        url = sqlalchemy_url(settings.dagster_database_url)
        _try_database(url)
    else:
        server = open_database(settings).url
        _make_database(server)
        url = sqlalchemy_url(with_database(server, DAGSTER_DATABASE))
    os.environ[DATABASE_VARIABLE] = url
    return home


def database_url(home: Path) -> str | None:
    """Return the URL of Dagster's database once `prepare_dagster` has made the home.

    Returns None if a `dagster.yaml` that others have written keeps Dagster's state elsewhere.
    """
    config = home / "dagster.yaml"
    is_used = config.exists() and DATABASE_VARIABLE in _read_config(config)
    return os.environ[DATABASE_VARIABLE] if is_used else None


def _read_config(config: Path) -> str:
    """Return the text of `dagster.yaml`; only Dagster knows what it means.

    Raises SettingsError if it is not YAML.
    """
    try:
        text = config.read_text(encoding="utf-8")
        yaml.compose(text, yaml.SafeLoader)
    except UnicodeDecodeError:
        raise SettingsError(f"{config}: is not UTF-8 text: write it anew") from None
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise SettingsError(f"{config}: {line}is not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, RecursionError):
        raise SettingsError(f"{config}: is not valid YAML") from None
    return text


def _try_database(url: str) -> None:
    """Connect once with Dagster's own driver.

    If Dagster itself failed to connect, its error would be a traceback with the URL. Raises
    SettingsError instead.
    """
    try:
        engine = create_engine(
            url, poolclass=NullPool, connect_args={"connect_timeout": CONNECT_SECONDS}
        )
        with engine.connect():
            pass
    except (SQLAlchemyError, ValueError, TypeError) as error:  # The driver's own, and Python's.
        kind = type(error).__name__
        raise SettingsError(
            f"{DATABASE_VARIABLE}: cannot connect to this database: check that the server runs and"
            f" the URL is right ({kind})"
        ) from None


def _make_database(server: str) -> None:
    """Make Dagster's database with all its tables, unless it exists, and limit our pools in it.

    Dagster makes its tables one by one, in no transaction, and at a later start looks for only one
    of them. If its process were killed meanwhile, Dagster would never work in that database. So
    the tables are made in a database of another name, which is renamed when they are complete.
    """
    names = sql.Identifier(DAGSTER_DATABASE), sql.Identifier(UNFINISHED_DATABASE)
    with psycopg.connect(with_database(server, "postgres"), autocommit=True) as connection:
        # This session holds the lock, and is idle while Dagster makes its tables.
        connection.execute("set idle_session_timeout = 0")
        connection.execute("select pg_advisory_lock(hashtext(%s))", [DAGSTER_DATABASE])
        known = connection.execute(
            "select 1 from pg_database where datname = %s", [DAGSTER_DATABASE]
        ).fetchone()
        if known is not None:
            _limit_new_pools(with_database(server, DAGSTER_DATABASE))
            return
        connection.execute(sql.SQL("drop database if exists {1} with (force)").format(*names))
        ensure_database(server, UNFINISHED_DATABASE)
        with _instance_in(with_database(server, UNFINISHED_DATABASE)) as instance:
            # Opening the instance has made all tables; this reads one.
            instance.get_run_records(limit=1)
            _limit_pools(instance)
        # A session of anybody else in the new database, such as a monitor's, would block the
        # rename.
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
            [UNFINISHED_DATABASE],
        )
        connection.execute(sql.SQL("alter database {1} rename to {0}").format(*names))


def _limit_new_pools(url: str) -> None:
    """Limit our pools in an existing database of Dagster's.

    A new prefix makes new pools, which have no limit yet. Opening Dagster's storage costs each
    start a tenth of a second, so it is opened only if a pool lacks its limit.
    """
    with psycopg.connect(url) as connection:
        limited = connection.execute(query(__package__, "limited_pools")).fetchall()
    if load_names().pools - {name for (name,) in limited}:
        with _instance_in(url) as instance:
            _limit_pools(instance)


@contextmanager
def _instance_in(url: str) -> Iterator[dg.DagsterInstance]:
    """Yield Dagster's instance with its storage in this database."""
    os.environ[DATABASE_VARIABLE] = sqlalchemy_url(url)
    try:
        with dg.DagsterInstance.get() as instance:
            yield instance
    finally:
        del os.environ[DATABASE_VARIABLE]


def _limit_pools(instance: dg.DagsterInstance) -> None:
    """Give each of our pools one slot, unless it has a limit of its own.

    Otherwise the first run of a pool would make the pool, with Dagster's `default_limit`. In
    PostgreSQL this can fail if two runs do it at once. And as soon as `default_limit` changes,
    every run of such a pool fails.
    """
    storage = instance.event_log_storage
    limited = {pool.name for pool in storage.get_pool_limits() if not pool.from_default}
    for pool in sorted(load_names().pools - limited):
        storage.set_concurrency_slots(pool, SLOTS_OF_A_POOL)


def project_file(name: str) -> Path:
    """Return the path of `dagster.yaml` or `workspace.yaml`.

    In the wheel, the file is inside the package; in a checkout, it is at the root.
    """
    package = Path(__file__).parents[1]
    return package / name if (package / name).exists() else package.parent / name


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """Return Dagster's instance, the same one that `signal-pipeline dev` shows."""
    prepare_dagster(settings)
    instance = dg.DagsterInstance.get()
    # Keep connections open, as Dagster's own web server does. Otherwise each event of a run opens
    # several.
    instance.optimize_for_webserver(
        statement_timeout=STATEMENT_MILLISECONDS,
        pool_recycle=RECYCLE_SECONDS,
        max_overflow=MORE_CONNECTIONS,
    )
    return instance
