"""The commands that set Signal up and run it: `migrate`, `dev`, `demo`."""

from __future__ import annotations

from typing import Annotated

import typer

from signal_pipeline.cli import console
from signal_pipeline.errors import UsageError
from signal_pipeline.postgres.database import open_database
from signal_pipeline.settings import MAX_SHARDS, load_settings


def migrate(
    distribute: Annotated[
        bool,
        typer.Option(
            "--distribute",
            help=(
                "Also distribute events and event_keys over a Citus cluster. No command undoes"
                " this."
            ),
        ),
    ] = False,
    shards: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_SHARDS,
            metavar="N",
            help=(
                "How many shards each distributed table gets. Default for new tables: 4 for each"
                " worker."
            ),
        ),
    ] = None,
) -> None:
    """Bring the schema and the rollup tables up to date."""
    from signal_pipeline.rollups.models import load_models
    from signal_pipeline.schema.migrate import migrate as migrate_schema
    from signal_pipeline.schema.migrate import missing_roles

    settings = load_settings()
    if distribute:
        settings = settings.model_copy(update={"distributed": "citus"})
    if shards is not None:
        if not settings.distributed:
            raise UsageError("--shards needs --distribute or SIGNAL_DISTRIBUTED=citus")
        settings = settings.model_copy(update={"shards": shards})
    database = open_database(settings)
    migrate_schema(database, settings, load_models())
    console.say("The schema is up to date.")
    if missing := missing_roles(database):
        console.say(
            "warning: these least-privilege roles or memberships are missing:"
            f" {', '.join(missing)}. To make them, the login that migrates needs CREATEROLE, and"
            " the admin option on each of the roles that another login made. Grant these rights,"
            " and migrate again."
        )


def dev(
    port: Annotated[
        int, typer.Option(min=1, max=65_535, help="Port of the Dagster UI, on loopback.")
    ] = 3000,
) -> None:
    """Run the Dagster UI and daemon on the configured database."""
    from signal_pipeline.cli.dev import run_dev

    raise typer.Exit(run_dev(load_settings(), port))


def demo() -> None:
    """Simulate, ingest, build, purge, and show the numbers: Signal's main job in a minute."""
    from signal_pipeline.cli.demo import run_demo

    run_demo(load_settings())
