"""The victims' work: each function runs in a process that can be killed at any moment.

The functions are Signal's own entry points, called as the command and the runs call them.
"""

from __future__ import annotations

import logging
import os
import sys
from contextlib import closing, suppress
from datetime import date, datetime
from pathlib import Path

from signal_pipeline.api.server import run_server
from signal_pipeline.dagster.backfill import plan_backfill, run_backfill
from signal_pipeline.dagster.home import open_instance
from signal_pipeline.definitions import defs
from signal_pipeline.ingest import pipeline as ingest_module
from signal_pipeline.ingest.landing import drain_landing
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.keys import ingest_secret
from signal_pipeline.postgres.database import open_database
from signal_pipeline.privacy import retention
from signal_pipeline.privacy.erasure import Subject, erase
from signal_pipeline.rollups.build import DayPurgedError, build_day
from signal_pipeline.rollups.engine import open_engine
from signal_pipeline.rollups.models import load_models
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import load_settings

# About twenty lines. So a small file takes many commits, and a process can die between any two.
SMALL_BATCH = 8 * 1024
ACTOR = b"f" * 32
ERRORS = "victims.log"


def quiet() -> None:
    """Send a victim's errors to a file of its home, not to the terminal."""
    logging.disable(logging.CRITICAL)
    sys.stderr = (load_settings().home_path / ERRORS).open("a")


def migrate_all() -> None:
    """Start the database and bring it up to date."""
    settings = load_settings()
    migrate(open_database(settings), settings, load_models())


def ingest_file(path: Path, now: datetime) -> None:
    """Ingest a file as the command does, with `now` as the time."""
    quiet()
    ingest_module.BATCH_BYTES = SMALL_BATCH
    with (
        closing(Ingest.from_settings(load_settings(), clock=lambda: now)) as ingest,
        path.open("rb") as stream,
    ):
        ingest.ingest_stream(stream)


def drain(now: datetime) -> None:
    """Drain the landing as a run of raw_events does, with `now` as the time."""
    quiet()
    ingest_module.BATCH_BYTES = SMALL_BATCH
    settings = load_settings()
    database = open_database(settings)
    with closing(Ingest.from_settings(settings, database, clock=lambda: now)) as ingest:
        drain_landing(database, ingest, settings.landing_path, ingest_secret(settings))


def serve(port: int, spool: Path, url: str | None) -> None:
    """Serve the API until killed or told to stop.

    With a `url`, the server cannot start the database again.
    """
    quiet()
    os.environ["SIGNAL_SPOOL_DIR"] = str(spool)
    if url is not None:
        os.environ["SIGNAL_DATABASE_URL"] = url
    run_server(load_settings(), "127.0.0.1", port)


def backfill(first: date, last: date) -> None:
    """Rebuild days through Dagster, whose storage is on the same server."""
    quiet()
    settings, models = load_settings(), load_models()
    database = open_database(settings)
    with database.connect() as connection:
        plan = plan_backfill(connection, models, first, last)
    with open_instance(settings) as instance:
        result = run_backfill(instance, defs(), database, plan, list(models), 60, lambda done: None)
    if len(result.built) != len(plan.days):
        raise SystemExit(
            f"{len(result.built)} of {len(plan.days)} days were built: {result.refused}"
        )


def build(day: date) -> None:
    """Build every rollup of a day, as a run does for each of its days."""
    quiet()
    settings = load_settings()
    database = open_database(settings)
    with suppress(DayPurgedError):
        build_day(database, open_engine(settings, database), load_models(), day)


def purge() -> None:
    """Run the retention by hand."""
    quiet()
    settings = load_settings()
    retention.purge_due_days(
        open_database(settings), load_models(), settings.retention_days, actor=ACTOR
    )


def erase_user(user_hash: bytes, day: date) -> None:
    """Fulfil a data subject's request for erasure."""
    quiet()
    erase(open_database(load_settings()), Subject.user(user_hash, day), ACTOR)
