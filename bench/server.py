"""The PostgreSQL that everything runs on: Signal's own embedded server in a temporary home.

Each piece of work has a database of its own.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

import psycopg
from pydantic import SecretStr

from bench.measure import Stopwatch
from signal_pipeline.days.calendar import today_utc
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.postgres.embedded import start_embedded
from signal_pipeline.postgres.embedded_folders import data_folder
from signal_pipeline.postgres.urls import with_database
from signal_pipeline.rollups.models import load_models
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import Settings

SECRET = "a-secret-for-measurements-of-32-bytes"  # noqa: S105 # pragma: allowlist secret - of simulated traffic
HISTORY_DAYS = 180


@dataclass(slots=True)
class Server:
    """One embedded server."""

    home: Path
    url: str = ""
    watch: Stopwatch = field(init=False)
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.url = start_embedded(self.home)
        pid = int((data_folder(self.home) / "postmaster.pid").read_text().split("\n", 1)[0])
        self.watch = Stopwatch(pid)

    @contextmanager
    def database(self, *, migrated: bool = True) -> Iterator[Settings]:
        """Yield settings for a new database, which is dropped afterwards.

        The start date in them leaves room for the whole history.
        """
        name = f"bench_{next(self._numbers)}"
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"create database {name} template template0 encoding 'UTF8'")
            try:
                settings = self.settings(name)
                if migrated:
                    migrate(Database(settings.database_url or ""), settings, load_models())
                yield settings
            finally:
                connection.execute(f"drop database {name} with (force)")

    def settings(self, name: str) -> Settings:
        """Return settings for a database of this server."""
        return Settings(
            _env_file=None,  # type: ignore[call-arg]
            database_url=with_database(self.url, name),
            env="development",
            home=self.home,
            salt_secret=SecretStr(SECRET),
            start_date=today_utc() - timedelta(days=2 * HISTORY_DAYS),
        )

    def checkpoint(self) -> None:
        """Write everything out, so that a measurement does not pay for the previous one."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("checkpoint")

    def evict(self, connection: Connection, prefix: str) -> None:
        """Remove the files of tables and indexes with this prefix from the system's cache.

        A checkpoint writes them out first. This works on Linux only; elsewhere the files stay in
        the cache.
        """
        self.checkpoint()
        rows = connection.execute(
            "select pg_relation_filepath(oid) from pg_class where starts_with(relname, %s) and"
            " relkind in ('r', 'i')",
            [prefix],
        )
        for (path,) in rows.fetchall():
            file = data_folder(self.home) / str(path)
            for part in file.parent.glob(f"{file.name}*"):
                with part.open("rb") as opened:
                    if sys.platform == "linux":
                        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def plain_environment() -> dict[str, str]:
    """Return this process's environment without any setting of Signal and Dagster."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.upper().startswith(("SIGNAL", "DAGSTER"))
    }


def forget_settings() -> None:
    """Make this process forget the user's settings, in its environment and in `.env`."""
    for name in os.environ.keys() - plain_environment().keys():
        del os.environ[name]
    Settings.model_config["env_file"] = None


def database_of(settings: Settings) -> Database:
    """Return the database of these settings."""
    return Database(settings.database_url or "")


def ingest_at_end_of(settings: Settings, day: date) -> Ingest:
    """Return an ingest whose clock is stopped at the end of a day.

    So any day inside the history can be filled as if its events came on that day.
    """
    at = datetime.fromisoformat(f"{day}T23:59:59+00:00")
    return Ingest.from_settings(settings, database_of(settings), lambda: at)


def environment(settings: Settings) -> dict[str, str]:
    """Return the environment of a child process that works on the same database.

    Start the process in the bench's own folder, where it finds no `.env`.
    """
    return {
        **plain_environment(),
        "SIGNAL_ENV": "development",
        "SIGNAL_DATABASE_URL": settings.database_url or "",
        "SIGNAL_HOME": str(settings.home),
        "SIGNALS_SALT_SECRET": SECRET,
        "SIGNAL_START_DATE": str(settings.start_date),
    }
