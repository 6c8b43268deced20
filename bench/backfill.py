"""A backfill of half a year through Dagster, as the command runs it."""

from __future__ import annotations

from bench.measure import Cost
from bench.run import Bench, run_command
from bench.server import HISTORY_DAYS, database_of, environment
from bench.table import Row, faster, limit
from bench.traffic import HISTORY
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.models import load_models
from signal_pipeline.rollups.postgres_engine import PostgresEngine
from signal_pipeline.settings import Settings

SAMPLED_EVERY = 12


def measure_in(bench: Bench, settings: Settings, per_day: int) -> list[Row]:
    """Measure in a database whose history is filled. It takes long, so it is done only once."""
    database, models = database_of(settings), load_models()
    arguments = ["backfill", "--from", str(HISTORY[0]), "--to", str(HISTORY[-1]), "--json"]
    signal = bench.server.watch.cost(
        lambda: run_command(arguments, environment(settings), bench.folder)
    )
    with database.connect() as connection:
        row = connection.execute(
            # The time during which at least one day was being built.
            """
            select
                (select count(distinct day) from signal.builds),
                (select sum(extract(epoch from upper(stretch) - lower(stretch)))::float8
                from (
                    select unnest(range_agg(tstzrange(built_at - seconds * interval '1 second', built_at))) as stretch
                    from signal.builds
                ) as s)
            """
        ).fetchone()
        assert row
    days, building = row
    assert isinstance(building, float)
    assert days == HISTORY_DAYS, f"{days} days were built"
    sample = HISTORY[:-1][::SAMPLED_EVERY]  # The last day has received more events meanwhile.
    one = bench.server.watch.cost(
        lambda: [build_day(database, PostgresEngine(), models, day) for day in sample]
    )
    scale = HISTORY_DAYS / len(sample)
    inside = Cost(one.wall * scale, one.client * scale, one.server * scale)
    what = (
        f"backfill of {HISTORY_DAYS} days × {per_day:,} events through Dagster, the command's start"
        " included"
    )
    return [
        faster(
            what,
            signal,
            f"the same SQL in PostgreSQL, day by day, {len(sample)} days scaled up",
            inside,
            at_least=5,
        ),
        limit(
            "share of that backfill's time in which no day was being built",
            100 * (1 - building / signal.wall),
            "%",
            25,
        ),
    ]
