"""The commands for events and what they mean: `ingest`, `simulate`, `catalogue`."""

from __future__ import annotations

import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from signal_pipeline.cli import console
from signal_pipeline.cli.options import Day, Json
from signal_pipeline.cli.show import show_counts, warn_of_malformed
from signal_pipeline.cli.show_catalogue import show_catalogue
from signal_pipeline.days.calendar import today_utc
from signal_pipeline.errors import SignalError, UsageError
from signal_pipeline.settings import FIRST_START_DATE, MAX_DAYS, load_settings


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
    """Ingest NDJSON. Files are never removed; a second run counts their events as duplicates.

    If a file is not NDJSON, or is cut short, the command still ingests the other files, but names
    the faulty one and fails.
    """
    from signal_pipeline.ingest.ndjson import StreamError
    from signal_pipeline.ingest.pipeline import Counts, Ingest

    paths = [(name, _path_or_stdin(name)) for name in files]
    counts, failures = Counts(), list[str]()
    with closing(Ingest.from_settings(load_settings())) as events:
        try:
            for name, path in paths:
                found = Counts()
                try:
                    with console.open_with_progress(path) as (stream, progress):
                        events.ingest_stream(stream, counts=found, progress=progress)
                except StreamError as error:
                    failures.append(f"{name}: {error}")
                except OSError as error:
                    failures.append(f"{name}: {error.strerror}")
                finally:
                    warn_of_malformed(name, found)
                    counts.merge(found)
        finally:  # Also if PostgreSQL refuses: what was stored stays.
            show_counts(counts)
            if as_json:
                console.print_json(counts.as_dict())
    if failures:
        raise SignalError("; ".join(failures))


def _path_or_stdin(name: str) -> Path | None:
    if name == "-":
        return None
    path = Path(name)
    if not path.exists():
        raise SignalError(f"no such file: {name}")
    if path.is_dir():
        raise SignalError(f"{name} is a directory: name a file")
    return path


def simulate(
    days: Annotated[int, typer.Option(min=1, max=MAX_DAYS)],
    events_per_day: Annotated[int, typer.Option(min=1)],
    seed: int = 1,
    end: Day = None,
    out: Annotated[Path | None, typer.Option(help="A file; default stdout.")] = None,
) -> None:
    """Write realistic traffic as NDJSON. The last day is --end, by default yesterday."""
    from signal_pipeline.catalogue.load import load_catalogue
    from signal_pipeline.simulation.traffic import simulate

    last = end or today_utc() - timedelta(days=1)
    if (last - FIRST_START_DATE).days < days - 1:
        raise UsageError(f"--days {days} up to {last} begin before {FIRST_START_DATE}")
    chunks = simulate(
        catalogue=load_catalogue(load_settings().catalogue),
        days=days,
        events_per_day=events_per_day,
        end=last,
        seed=seed,
        until=datetime.now(UTC),
    )
    with out.open("wb") if out else closing(sys.stdout.buffer) as stream:
        for chunk in chunks:
            stream.write(chunk)


def catalogue(
    typescript: Annotated[
        bool, typer.Option("--typescript", help="Print the client's types instead.")
    ] = False,
) -> None:
    """Show what Signal accepts, and which event types were never seen or are long dead."""
    from signal_pipeline.catalogue.load import load_catalogue
    from signal_pipeline.catalogue.typescript import typescript_types
    from signal_pipeline.reports.event_type_usage import read_usage

    settings = load_settings()
    accepted = load_catalogue(settings.catalogue)
    if typescript:
        sys.stdout.write(typescript_types(accepted))
    else:
        show_catalogue(accepted, read_usage(settings), today_utc())
