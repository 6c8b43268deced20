"""The command `signal-pipeline`: reads arguments, calls the package, prints.

It exits 0 if done, 1 if failed, 2 for wrong usage. The module that a command calls explains what it
does; `console.py` decides how its result looks.
"""

from __future__ import annotations

import logging
import sys
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.cli import console
from signal_pipeline.cli import serve as api_commands
from signal_pipeline.cli.alerts import app as alerts_app
from signal_pipeline.cli.options import From, Json, To, check_order, parse_day, parse_text
from signal_pipeline.cli.privacy import app as privacy_app
from signal_pipeline.cli.reports import app as reports_app
from signal_pipeline.days.calendar import today_utc
from signal_pipeline.ending_signals import exit_on_signals
from signal_pipeline.errors import SignalError, UsageError
from signal_pipeline.postgres.database import open_database, safe_errors
from signal_pipeline.printable import PrintableFormatter
from signal_pipeline.settings import load_settings, open_env_file

if TYPE_CHECKING:  # The command must start fast, and these import Dagster and sqlglot.
    from signal_pipeline.dagster.backfill import BackfillPlan
    from signal_pipeline.rollups.models import Models

app = typer.Typer(
    help="Signal: privacy-first usage analytics on PostgreSQL and Dagster.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.add_typer(alerts_app)
app.add_typer(privacy_app)
app.add_typer(reports_app)


@app.command()
def migrate() -> None:
    """Bring the schema and the rollup tables up to date."""
    from signal_pipeline.rollups.models import load_models
    from signal_pipeline.schema.migrate import migrate as run
    from signal_pipeline.schema.migrate import missing_roles

    settings = load_settings()
    database = open_database(settings)
    run(database, settings, load_models())
    console.say("The schema is up to date.")
    if missing := missing_roles(database):
        console.say(
            f"warning: the least-privilege roles are not set up, {', '.join(missing)} cannot be"
            " made: the migrating login needs CREATEROLE, and the admin option on roles that"
            " another made; grant it, and migrate again"
        )


@app.command()
def ingest(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="NDJSON files, plain or compressed with gzip or zstd; - is stdin.",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Ingest NDJSON. Files are never removed; a second run counts as duplicates.

    A file that is not NDJSON, or is cut short, is named, and the other files are ingested; then the
    command fails.
    """
    from signal_pipeline.ingest.ndjson import StreamError
    from signal_pipeline.ingest.pipeline import Counts, CutShortError, Ingest

    # The table says it all.
    logging.getLogger("signal_pipeline.ingest.pipeline").setLevel(logging.ERROR)
    paths = [(name, _readable(name)) for name in files]
    counts, failures = Counts(), list[str]()
    with closing(Ingest.from_settings(load_settings())) as events:
        for name, path in paths:
            found = Counts()
            try:
                with console.bytes_read(path) as (stream, progress):
                    found = events.ingest_stream(stream, progress=progress)
            except StreamError as error:
                failures.append(f"{name}: {error}")
                if isinstance(error, CutShortError):
                    found = error.counts
            except OSError as error:
                failures.append(f"{name}: {error.strerror}")
            console.warn_of_malformed(name, found)
            counts.merge(found)
    console.show_counts(counts)
    if as_json:
        console.print_json(counts.as_dict())
    if failures:
        raise SignalError("; ".join(failures))


def _readable(name: str) -> Path | None:
    if name == "-":
        return None
    path = Path(name)
    if not path.exists():
        raise SignalError(f"no such file: {name}")
    if path.is_dir():
        raise SignalError(f"{name} is a directory: name a file")
    return path


@app.command()
def simulate(
    days: Annotated[int, typer.Option(min=1)],
    events_per_day: Annotated[int, typer.Option(min=1)],
    seed: int = 1,
    end: Annotated[date | None, typer.Option(parser=parse_day, metavar="YYYY-MM-DD")] = None,
    out: Annotated[Path | None, typer.Option(help="A file; default stdout.")] = None,
) -> None:
    """Write realistic traffic as NDJSON. The last day is --end, by default yesterday."""
    from signal_pipeline.simulation.traffic import simulate as lines

    chunks = lines(
        catalogue=load_catalogue(load_settings().catalogue),
        days=days,
        events_per_day=events_per_day,
        end=end or date.fromordinal(today_utc().toordinal() - 1),
        seed=seed,
        until=datetime.now(UTC),
    )
    with out.open("wb") if out else closing(sys.stdout.buffer) as stream:
        for chunk in chunks:
            stream.write(chunk)


@app.command()
def backfill(
    first: From,
    last: To,
    rollup: Annotated[list[str] | None, typer.Option(help="Default: every rollup.")] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Only list what would be rebuilt.")] = False,
    diff: Annotated[
        bool, typer.Option("--diff", help="With --plan: compute it, and show what would change.")
    ] = False,
    only_stale: Annotated[
        bool, typer.Option("--only-stale", help="Leave fresh days alone; resumes a backfill.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Rebuild the rollups of the days from --from to --to through Dagster."""
    from signal_pipeline.dagster import backfill as backfills
    from signal_pipeline.rollups.models import load_models

    check_order(first, last)
    if diff and not plan:
        raise UsageError("--diff goes with --plan: it only shows")
    settings, models = load_settings(), load_models()
    chosen = backfills.chosen_models(models, rollup or [])
    database = open_database(settings)
    with database.connect() as connection:
        planned = backfills.plan_backfill(connection, chosen, first, last, only_stale=only_stale)
    if plan:
        _show_plan(planned, chosen, diff, as_json)
        return
    from signal_pipeline.dagster.home import open_instance
    from signal_pipeline.dagster.partitions import DAYS_PER_RUN

    with open_instance(settings) as instance, console.days_done(len(planned.days)) as progress:
        from signal_pipeline.definitions import defs

        result = backfills.run_backfill(
            instance, defs(), database, planned, list(chosen), DAYS_PER_RUN, progress
        )
    console.show_backfill(result)
    if as_json:
        console.print_json(result.as_dict())
    if not result.built and (planned.days or not planned.fresh):
        raise typer.Exit(1)


def _show_plan(plan: BackfillPlan, models: Models, diff: bool, as_json: bool) -> None:
    from signal_pipeline.dagster.backfill import BackfillResult, plan_differences
    from signal_pipeline.rollups.engine import open_engine

    differences = None
    if diff:
        settings = load_settings()
        database = open_database(settings)
        with console.days_done(len(plan.days)) as progress:
            differences = plan_differences(
                database, open_engine(settings, database), models, plan, progress
            )
    console.show_plan(plan, differences)
    if as_json:
        value = {
            **BackfillResult(refused=plan.refused).as_dict(),
            "would_build": [str(day) for day in plan.days],
        }
        if differences is not None:
            value["differences"] = [difference.as_dict() for difference in differences]
        console.print_json(value)


@app.command()
def retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Prove, but delete nothing.")] = False,
    as_of: Annotated[date | None, typer.Option(parser=parse_day, metavar="YYYY-MM-DD")] = None,
    purge_incomplete: Annotated[
        date | None, typer.Option(parser=parse_day, metavar="YYYY-MM-DD")
    ] = None,
    reason: Annotated[
        str, typer.Option(parser=parse_text, metavar="TEXT", help="Why an unproven day is deleted.")
    ] = "",
    confirm_days: Annotated[
        int,
        typer.Option(
            min=0, metavar="N", help="Up to N raw days that are due by the clock alone may go."
        ),
    ] = 0,
    as_json: Json = False,
) -> None:
    """Delete raw days past their retention, each after its rollups are proven complete.

    Some days can be past it by the clock alone, because Signal saw nothing of the days between.
    They are kept until you confirm them.
    """
    from signal_pipeline.privacy import retention as job
    from signal_pipeline.privacy.audit_log import operator
    from signal_pipeline.rollups.models import load_models

    if as_of and as_of > today_utc() and not dry_run:
        raise UsageError(f"--as-of {as_of} is after today: only with --dry-run")
    if purge_incomplete and not reason.strip():
        raise UsageError("--purge-incomplete needs --reason TEXT")
    if purge_incomplete and (dry_run or as_of or confirm_days):
        raise UsageError(
            "--purge-incomplete deletes that day now: it goes with none of --dry-run, --as-of and"
            " --confirm-days"
        )
    settings, models = load_settings(), load_models()
    database, actor = open_database(settings), operator(settings)
    keep = settings.retention_days
    if purge_incomplete:
        result = job.purge_incomplete(database, models, purge_incomplete, reason, keep, actor=actor)
    else:
        result = job.purge_due_days(
            database,
            models,
            keep,
            as_of=as_of,
            dry_run=dry_run,
            confirm_days=confirm_days,
            actor=actor,
        )
    console.show_purged(result)
    if as_json:
        console.print_json(result.as_dict())
    if result.refusal and not dry_run:
        raise SignalError(result.refusal)


@app.command()
def status(
    receipts: Annotated[
        bool, typer.Option("--receipts", help="List the receipts of purges.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show each day: events by the books, version, state, and each rollup's freshness.

    Events by the books are those accepted and not erased; a purged day has 0. The check
    books_reconcile counts what is stored.
    """
    from signal_pipeline.days.coverage import days_note, read_coverage
    from signal_pipeline.days.freshness import day_statuses
    from signal_pipeline.days.quality import day_quality
    from signal_pipeline.days.receipts import list_receipts
    from signal_pipeline.rollups.models import load_models

    checksums = load_models().checksums
    with open_database(load_settings()).connect() as connection:
        days = day_statuses(connection, checksums)
        quality = day_quality(connection, days[0].day, days[-1].day) if days else {}
        gaps = read_coverage(connection, days[0].day, today_utc()).untouched if days else []
        # A reader may not see the receipts.
        proofs = list_receipts(connection) if receipts else None
    if proofs is not None:
        console.show_receipts(proofs)
    else:
        console.show_days(days, quality)
        for note in days_note(gaps, "are not listed: no event of them came, and nothing was built"):
            console.say(f"note: {note}")
    if as_json:
        console.print_json(console.status_object(days, quality, proofs))


@app.command()
def catalogue(
    typescript: Annotated[
        bool, typer.Option("--typescript", help="Print the client's types instead.")
    ] = False,
) -> None:
    """Show what Signal accepts, and which event types were never seen or are long dead."""
    from signal_pipeline.catalogue.typescript import typescript_types
    from signal_pipeline.reports.event_type_usage import read_usage

    settings = load_settings()
    accepted = load_catalogue(settings.catalogue)
    if typescript:
        sys.stdout.write(typescript_types(accepted))
    else:
        console.show_catalogue(accepted, read_usage(settings), today_utc())


@app.command()
def dev(
    port: Annotated[int, typer.Option(help="Port of the Dagster UI, on loopback.")] = 3000,
) -> None:
    """Run the Dagster UI and daemon on the configured database."""
    from signal_pipeline.cli.dev import run_dev

    raise typer.Exit(run_dev(load_settings(), port))


@app.command()
def demo() -> None:
    """Simulate, ingest, build, purge, and show the numbers: Signal's main job in two minutes."""
    from signal_pipeline.cli.demo import run_demo

    run_demo(load_settings())


api_commands.register(app)


def main() -> None:
    """Run the command; an error that a user can act on is one line on stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(PrintableFormatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    exit_on_signals()
    if warning := open_env_file():
        console.say(f"warning: {warning}")
    try:
        with safe_errors():
            app()
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
    except KeyboardInterrupt:
        console.complain("interrupted; what was committed stays")
        sys.exit(130)
