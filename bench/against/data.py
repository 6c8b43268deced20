"""Measures the main commands: ingest, rollups of large days, a long backfill, retention."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from bench.against.builds import Build
from bench.against.comparison import Figure, Reading
from bench.against.home import Home, Used
from bench.against.turns import Scale, Turn
from bench.traffic import YESTERDAY, lines_of

PURGED_DAYS = 10
# The least that SIGNAL_RETENTION_DAYS can be is 7.
KEPT_DAYS = 10
WAL = "select pg_current_wal_lsn() - '0/0'::pg_lsn"


@contextmanager
def ingest(scale: Scale, build: Build) -> Iterator[Turn]:
    """Measure `ingest` of one file into a new home each time."""
    file = lines_of(scale.folder, scale.events)

    def turn(_: int) -> list[Reading]:
        with scale.home(build) as home:
            used = home.run("ingest", str(file), "--json")
        lines = int(str(used.printed["received"]))
        return [
            Reading(
                f"`ingest` of {lines:,} lines, the whole command, for each line",
                {
                    **used.each(lines, wall_target=0.65, cpu_target=0.6),
                    # A build that accepts more events does more work.
                    "accepted": Figure(float(str(used.printed["accepted"])), "events"),
                },
            ),
            Reading("its peak memory", _peak(used)),
        ]

    yield turn


@contextmanager
def rollups(scale: Scale, build: Build) -> Iterator[Turn]:
    """Measure `backfill` of one day that has twice the scale's lines."""
    with _filled_day(scale, build, 2) as (home, lines):

        def turn(_: int) -> list[Reading]:
            used = home.backfill(YESTERDAY, YESTERDAY)
            # The command's start counts in the whole command only.
            inside = float(str(used.printed["seconds"]))
            what = f"rollups of a day of {lines:,} lines by `backfill`"
            return [
                Reading(
                    f"{what}, the whole command",
                    {**used.each(1), "peak": Figure(used.peak_mib, "MiB")},
                ),
                Reading(f"{what}, as it says itself", {"wall": Figure(inside, ratio_target=0.7)}),
            ]

        yield turn


@contextmanager
def memory(scale: Scale, build: Build) -> Iterator[Turn]:
    """Measure the peak memory of `backfill` of one day that has ten times the scale's lines."""
    with _filled_day(scale, build, 10) as (home, lines):

        def turn(_: int) -> list[Reading]:
            used = home.backfill(YESTERDAY, YESTERDAY)
            what = f"peak memory of `backfill` of a day of {lines:,} lines"
            return [Reading(what, {**_peak(used), **used.each(1)})]

        yield turn


@contextmanager
def history(scale: Scale, build: Build) -> Iterator[Turn]:
    """Measure `backfill` of many days, each with a twentieth of the scale's lines."""
    per_day = max(100, scale.events // 20)
    with scale.home(build) as home:
        home.ingest(scale.lines(scale.days, per_day))
        first = YESTERDAY - timedelta(days=scale.days - 1)

        def turn(_: int) -> list[Reading]:
            used = home.backfill(first, YESTERDAY)
            what = (
                f"`backfill` of {scale.days} days × {per_day:,} lines through Dagster, the whole"
                " command"
            )
            figures = used.each(1, wall_target=0.5, cpu_target=0.55)
            return [Reading(what, {**figures, "peak": Figure(used.peak_mib, "MiB")})]

        yield turn


@contextmanager
def retention(scale: Scale, build: Build) -> Iterator[Turn]:
    """Measure purges of ten more days in each round, oldest first."""
    days, per_day = PURGED_DAYS * scale.rounds, max(100, scale.events * 28 // 1000)
    with scale.home(build) as home:
        home.ingest(scale.lines(days, per_day, before=KEPT_DAYS))
        last = YESTERDAY - timedelta(days=KEPT_DAYS)
        home.backfill(last - timedelta(days=days - 1), last)

        def purge(kept: int) -> tuple[Used, int]:
            before = home.ask(WAL)
            used = home.run("retention", "--json", SIGNAL_RETENTION_DAYS=str(kept))
            return used, home.ask(WAL) - before

        def turn(number: int) -> list[Reading]:
            kept = KEPT_DAYS + days - PURGED_DAYS * (number + 1)
            nothing, _ = purge(kept + PURGED_DAYS)
            used, logged = purge(kept)
            for result, count in ((nothing, 0), (used, PURGED_DAYS)):
                purged = result.printed["purged"]
                if not isinstance(purged, list) or len(purged) != count:
                    raise RuntimeError(f"purged {purged} instead of {count} days")
            what = f"`retention` of {PURGED_DAYS} days of {per_day:,} lines"
            return [
                Reading(
                    f"{what}, less the same command with nothing due",
                    {
                        "wall": Figure(used.wall - nothing.wall, ratio_target=0.5),
                        "CPU": Figure(used.cpu - nothing.cpu),
                        "WAL": Figure(logged / 1e6, "MB", ratio_target=0.5),
                    },
                ),
                Reading(f"{what}, the whole command", used.each(1)),
            ]

        yield turn


@contextmanager
def _filled_day(scale: Scale, build: Build, times: int) -> Iterator[tuple[Home, int]]:
    """Yield a home whose yesterday has `times` times the scale's lines, and their number."""
    # One file with all these lines would take several gigabytes of memory while it is made.
    files = [lines_of(scale.folder, scale.events, seed=10 + number) for number in range(times)]
    with scale.home(build) as home:
        yield home, home.ingest(*files)


def _peak(used: Used) -> dict[str, Figure]:
    return {"peak": Figure(used.peak_mib, "MiB", ratio_target=0.7)}
