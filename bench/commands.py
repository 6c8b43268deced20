"""Whole commands as a user runs them, each in a process of its own: their time and peak memory."""

from __future__ import annotations

from datetime import timedelta

from bench.run import Bench, run_command
from bench.server import database_of, environment, plain_environment
from bench.table import Row, limit
from bench.traffic import YESTERDAY, fill_day, lines_of, multiply

MEMORY_LIMIT = 1536  # MiB.
DEMO_SECONDS = 120


def measure(bench: Bench) -> list[Row]:
    """Measure `ingest` of the file, and `backfill` of a day with ten times the scale's events."""
    day = YESTERDAY - timedelta(days=1)
    file = lines_of(bench.folder, bench.events)
    lines = sum(1 for _ in file.open("rb"))
    with bench.server.database() as settings:
        arguments = ["ingest", str(file), "--json"]
        ingested = run_command(arguments, environment(settings), bench.folder)
    with bench.server.database() as settings:
        fill_day(settings, file, YESTERDAY)
        with database_of(settings).connect() as connection:
            connection.execute(
                "drop index signal.events_app_type_time, signal.events_entity_time,"
                " signal.events_user_time"
            )
            multiply(connection, YESTERDAY, day, 10 * bench.events, 13)
            row = connection.execute(
                "select sum(events) from signal.books where day = %s", [day]
            ).fetchone()
        arguments = ["backfill", "--from", str(day), "--to", str(day), "--json"]
        built = run_command(arguments, environment(settings), bench.folder)
    rate = (
        f"{lines / ingested.wall:,.0f} lines/s from start to end, {ingested.cpu:.1f} s CPU of the"
        " client"
    )
    return [
        limit(f"`ingest` of {lines:,} lines, the whole command", ingested.wall, "s", note=rate),
        limit("peak memory of that command", ingested.peak_mib, "MiB", MEMORY_LIMIT),
        limit(
            f"peak memory of `backfill` of a day of {row[0] if row else 0:,} events, Dagster"
            " included",
            built.peak_mib,
            "MiB",
            MEMORY_LIMIT,
            f"the whole command took {built.wall:.1f} s",
        ),
    ]


def measure_demo(bench: Bench) -> list[Row]:
    """Measure `make demo` after the installation, in a home of its own."""
    given = {**plain_environment(), "SIGNAL_HOME": str(bench.folder / "demo")}
    demo = run_command(["demo"], given, bench.folder)
    return [
        limit(
            "`make demo` after the installation",
            demo.wall,
            "s",
            DEMO_SECONDS,
            f"{demo.cpu:.1f} s CPU of the client",
        )
    ]
