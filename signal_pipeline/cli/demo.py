"""Runs `signal-pipeline demo`: ingests simulated traffic, builds, purges, and shows the numbers.

The traffic is of the thirty days up to yesterday, and of three days that are already due for
purging. Each day comes as one landed file, which is ingested exactly once: a second run on the same
day changes no number.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta

import dagster as dg

from signal_pipeline.catalogue.load import Catalogue, load_catalogue
from signal_pipeline.cli import console
from signal_pipeline.cli.demo_summary import show_summary
from signal_pipeline.dagster.backfill import PURGED, plan_backfill, run_backfill
from signal_pipeline.dagster.home import open_instance
from signal_pipeline.dagster.liveness import execute_here
from signal_pipeline.dagster.names import NIGHTLY_JOB, load_names
from signal_pipeline.days.calendar import days_between, stored_start_date, today_utc
from signal_pipeline.errors import SignalError
from signal_pipeline.ingest.landing import drain_landing, prepare_landing
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.keys import ingest_secret
from signal_pipeline.postgres.database import Database, open_database
from signal_pipeline.reports.page.files import keep_page
from signal_pipeline.reports.page.render import usage_page
from signal_pipeline.rollups.models import load_models
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.settings import Settings
from signal_pipeline.simulation.traffic import simulate

DAYS = 30
DUE_DAYS = 3
EVENTS_PER_DAY = 3_000


class DemoError(SignalError):
    """The demo cannot run here, did not build a day, or its nightly job failed."""


def run_demo(settings: Settings) -> None:
    """Simulate, ingest, build through Dagster, purge, and print a summary.

    Raises DemoError on a server's database, in production, and if a build or the nightly job fails.
    """
    if settings.database_url or settings.production:
        raise DemoError(
            "the demo writes simulated events: unset SIGNAL_DATABASE_URL and SIGNAL_ENV, and set"
            " another SIGNAL_HOME"
        )
    logging.getLogger("signal_pipeline").setLevel(logging.ERROR)  # The summary counts the drops.
    today = today_utc()
    recent = days_between(today - timedelta(days=DAYS), today - timedelta(days=1))
    first_due = today - timedelta(days=settings.retention_days + DUE_DAYS)
    due = days_between(first_due, first_due + timedelta(days=DUE_DAYS - 1))
    with _step("start PostgreSQL and migrate"):
        database = open_database(settings)
        migrate(database, _set_start_date(settings, database, first_due), load_models())
    catalogue = load_catalogue(settings.catalogue)
    title = (
        f"simulate {DAYS} days, and {DUE_DAYS} that are due for purging; ingest them through the"
        " landing"
    )
    with _step(title), console.progress_over_days(len(due) + len(recent)) as progress:
        # Each due day is ingested with a clock of that time. By today's clock, its events would be
        # too late.
        for day in due:
            _land(settings, catalogue, day)
            _drain(settings, database, _clock_of(day))
            progress(1)
        for day in recent:
            _land(settings, catalogue, day)
        _drain(settings, database, lambda: datetime.now(UTC))
        progress(len(recent))
    with _step("build every rollup through Dagster"), open_instance(settings) as instance:
        # The day after the due days is built too, since it holds a few late retries.
        _build(database, instance, [*due, due[-1] + timedelta(days=1)], recent)
    with _step("the nightly job: checks, then retention"), open_instance(settings) as instance:
        _nightly(database, instance, recent[-1])
    with _step("write the usage page, small cells left out"):
        html = usage_page(database, load_models(), catalogue, recent[0], recent[-1])
        page = keep_page(settings.home_path, recent[0], recent[-1], html)
    with database.connect() as connection:
        show_summary(connection, recent[0], recent[-1], page)


@contextmanager
def _step(title: str) -> Iterator[None]:
    started = time.perf_counter()
    console.say(title, bold=True)
    yield
    console.say(f"  done in {time.perf_counter() - started:.1f} s")


def _set_start_date(settings: Settings, database: Database, day: date) -> Settings:
    """Return the settings with a start date early enough for the due days.

    The environment gets the same date, for code that reads the settings again.
    """
    try:
        with database.connect() as connection:
            day = min(day, stored_start_date(connection))
    except SignalError:
        pass  # A new database: the migration that follows stores the start date.
    os.environ["SIGNAL_START_DATE"] = str(day)
    return settings.model_copy(update={"start_date": day})


def _clock_of(day: date) -> Callable[[], datetime]:
    """Return a clock that shows when a day's file comes: two days after the day began."""
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=2)
    return lambda: at


def _land(settings: Settings, catalogue: Catalogue, day: date) -> None:
    prepare_landing(settings.landing_path)
    lines = simulate(catalogue=catalogue, days=1, events_per_day=EVENTS_PER_DAY, end=day, seed=1)
    draft = settings.landing_path / f".demo-{day}.tmp"
    draft.touch(mode=0o600)
    with draft.open("wb") as file:
        for chunk in lines:
            file.write(chunk)
    draft.rename(settings.landing_path / f"demo-{day}.ndjson")


def _drain(settings: Settings, database: Database, clock: Callable[[], datetime]) -> None:
    secret = ingest_secret(settings)
    with closing(Ingest.from_settings(settings, database, clock)) as ingest:
        drain_landing(database, ingest, settings.landing_path, secret)


def _build(
    database: Database,
    instance: dg.DagsterInstance,
    due: list[date],
    recent: list[date],
) -> None:
    from signal_pipeline.definitions import defs

    models = load_models()
    for days in (due, recent):
        with database.connect() as connection:
            plan = plan_backfill(connection, models, days[0], days[-1])
        with console.progress_over_days(len(plan.days)) as progress:
            result = run_backfill(
                instance, defs(), database, plan, list(models), len(days), progress
            )
        for day, reason in result.refused.items():
            if reason != PURGED:
                raise DemoError(f"{day} was not built: {reason}")
        console.say(f"  {len(result.built)} day(s) built, {len(result.refused)} purged before")


def _nightly(database: Database, instance: dg.DagsterInstance, yesterday: date) -> None:
    from signal_pipeline.definitions import defs

    job = defs().resolve_job_def(load_names().named(NIGHTLY_JOB))
    outcome = execute_here(job, instance, database, {}, partition_key=str(yesterday))
    if not outcome.success:
        raise DemoError(f"the nightly job failed: see run {outcome.run_id} with `make dev`")
