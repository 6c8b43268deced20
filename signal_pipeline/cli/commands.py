"""Every command of `signal-pipeline`, in the panels of its help, and what becomes of an error.

A command's module reads its arguments, calls a package and prints. That package explains what the
command does. `show.py` has the columns and words of most results, and `console.py` decides how they
look on a terminal.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping

import typer

from signal_pipeline.cli import console
from signal_pipeline.cli.alerts import alert_test
from signal_pipeline.cli.backfill import backfill
from signal_pipeline.cli.data import catalogue, ingest, simulate
from signal_pipeline.cli.data_subjects import erase, subject
from signal_pipeline.cli.dbt import dbt_sources
from signal_pipeline.cli.psql import sql
from signal_pipeline.cli.reports import report
from signal_pipeline.cli.retention import retention
from signal_pipeline.cli.rotation import rotate_secret
from signal_pipeline.cli.serve import schema, serve, token
from signal_pipeline.cli.start import demo, dev, migrate
from signal_pipeline.cli.status import status
from signal_pipeline.errors import SignalError, UsageError
from signal_pipeline.postgres.database import safe_errors
from signal_pipeline.settings import env_file_warning
from signal_pipeline.system.ending_signals import exit_on_signals
from signal_pipeline.system.extras import explain_missing
from signal_pipeline.system.standard_streams import open_closed_streams
from signal_pipeline.texts.printable import PrintableFormatter

INTERRUPTED = 130  # What a shell says of a command that Ctrl-C ended.
COMPLETION = "_SIGNAL_PIPELINE_COMPLETE"  # Set by the shell's completion script.
# Each command is named after its function: `rotate-secret` after `rotate_secret`.
PANELS: Mapping[str, tuple[Callable[..., None], ...]] = {
    "Set up and run": (demo, migrate, dev, serve, alert_test),
    "Events": (ingest, simulate, catalogue),
    "Rollups": (status, backfill),
    "Numbers": (report, sql, dbt_sources),
    "Privacy": (retention, subject, erase, rotate_secret),
    "Clients of the API": (schema, token),
}
app = typer.Typer(
    help="Signal: privacy-first usage analytics on PostgreSQL and Dagster.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for panel, commands in PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)


def _run() -> None:
    try:
        app()
    except ModuleNotFoundError as error:
        raise explain_missing(error) from None


def main() -> None:
    """Run the command; an error that a user can act on is one line on stderr."""
    open_closed_streams()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    exit_on_signals()
    # While the shell completes a word, nothing else belongs on its line.
    if COMPLETION not in os.environ and (warning := env_file_warning()):
        console.say(f"warning: {warning}")
    try:
        with safe_errors():
            _run()
    except UsageError as error:
        console.complain(str(error))
        sys.exit(2)
    except SignalError as error:
        console.complain(str(error))
        sys.exit(1)
    except BrokenPipeError:
        sys.exit(1)
    # A file or folder cannot be read or made; its name came from the user.
    except OSError as error:
        console.complain(
            ": ".join(str(part) for part in (error.strerror or error, error.filename) if part)
        )
        sys.exit(1)
    except (KeyboardInterrupt, SystemExit) as ended:
        # If a command is interrupted, Typer ends it with this code.
        if isinstance(ended, SystemExit) and ended.code != INTERRUPTED:
            raise
        console.complain("interrupted; what was committed stays")
        sys.exit(INTERRUPTED)
