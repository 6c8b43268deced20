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
            help="Also distribute events and event_keys over a Citus cluster, for good.",
        ),
    ] = False,
    shards: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=MAX_SHARDS,
            metavar="N",
            help="With --distribute: how many shards each table gets. Default: 4 for each worker.",
        ),
    ] = None,
) -> None:
    """Bring the schema and the rollup tables up to date."""
    from signal_pipeline.rollups.models import load_models
    from signal_pipeline.schema.migrate import migrate, missing_roles

    settings = load_settings()
    if distribute:
        settings = settings.model_copy(update={"distributed": "citus"})
    if shards is not None:
        if not settings.distributed:
            raise UsageError("--shards needs --distribute")
        settings = settings.model_copy(update={"shards": shards})
    database = open_database(settings)
    migrate(database, settings, load_models())
    console.say("The schema is up to date.")
    if missing := missing_roles(database):
        console.say(
            f"warning: the least-privilege roles are not set up, {', '.join(missing)} cannot be"
            " made: the migrating login needs CREATEROLE, and the admin option on roles that"
            " another made; grant it, and migrate again"
        )


def dev(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI, on loopback.")] = 3000,
) -> None:
    """Run the Dagster UI and daemon on the configured database."""
    from signal_pipeline.cli.dev import run_dev

    raise typer.Exit(run_dev(load_settings(), port))


def demo() -> None:
    """Simulate, ingest, build, purge, and show the numbers: Signal's main job in two minutes."""
    from signal_pipeline.cli.demo import run_demo

    run_demo(load_settings())
