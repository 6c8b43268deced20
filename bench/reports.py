"""Reports of thirty days that no rollup answers, against Umami's statement on the same events."""

from __future__ import annotations

from datetime import timedelta

from bench.peers import umami
from bench.run import Bench
from bench.server import database_of
from bench.table import Row, faster
from bench.traffic import YESTERDAY, fill_day, lines_of, multiply
from signal_pipeline.days.calendar import days_between, window
from signal_pipeline.reports.of_raw_events import raw_report

DAYS = days_between(YESTERDAY - timedelta(days=29), YESTERDAY)


def measure(bench: Bench) -> list[Row]:
    """Measure a breakdown by two keys; a day has 2.94 % of the scale."""
    with bench.server.database() as settings:
        lines = lines_of(bench.folder, max(100, bench.events * 294 // 10_000))
        per_day = fill_day(settings, lines, YESTERDAY)
        database = database_of(settings)
        with database.connect() as connection:
            for day in DAYS[:-1]:
                multiply(connection, YESTERDAY, day, per_day, 1)
            umami.fill(connection)
            connection.execute("vacuum analyze signal.events")

            def count() -> int:
                report = raw_report(database, ["browser", "device"], {}, DAYS[0], DAYS[-1])
                return sum(row["events"] for row in report.records)

            # Umami's statement also counts the instant that ends the window, but no event has it.
            start, end = window(DAYS[0], DAYS[-1])
            if not count() == umami.breakdown(connection, start, end) == per_day * len(DAYS):
                raise RuntimeError("the two do not count the same events")
            return [
                faster(
                    f"browser and device over {len(DAYS)} days, {per_day * len(DAYS):,} events"
                    " counted from raw events: `report`, labels included",
                    bench.median(count),
                    "Umami's statement on its own tables in this PostgreSQL",
                    bench.median(lambda: umami.breakdown(connection, start, end)),
                    at_least=2,
                )
            ]
