"""Rollups of one large day.

Signal's build is compared with the same SQL inside PostgreSQL, and with engines that already hold
the data.
"""

from __future__ import annotations

import shutil
from datetime import timedelta

import duckdb

from bench.peers import chdb_held, duckdb_held
from bench.run import Bench
from bench.server import database_of
from bench.table import Row, faster, limit, slower
from bench.traffic import YESTERDAY, fill_day, lines_of, multiply
from signal_pipeline.postgres.database import Database
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.day_columns import day_batches
from signal_pipeline.rollups.duckdb_engine import DuckdbEngine
from signal_pipeline.rollups.duckdb_events import fill_events
from signal_pipeline.rollups.models import load_models
from signal_pipeline.rollups.postgres_engine import PostgresEngine

DAY = YESTERDAY - timedelta(days=1)


def measure(bench: Bench) -> list[Row]:
    """Measure a day with twice the scale's events."""
    models = load_models()
    with bench.server.database() as settings:
        fill_day(settings, lines_of(bench.folder, bench.events), YESTERDAY)
        database = database_of(settings)
        with database.connect() as connection:
            connection.execute(
                "drop index signal.events_app_type_time, signal.events_entity_time,"
                " signal.events_user_time"
            )
            multiply(connection, YESTERDAY, DAY, 2 * bench.events, 3)
            connection.execute("vacuum analyze signal.events")
        engine = DuckdbEngine(database.url, settings.tmp_path)
        built = build_day(database, engine, models, DAY)
        signal = bench.median(lambda: build_day(database, engine, models, DAY))
        parquet = bench.folder / "day.parquet"
        engine_of_parquet(database.url, parquet)
        held = duckdb_held.load(parquet)
        duck = bench.median(lambda: duckdb_held.compute(held, models, DAY))
        held.close()
        what = (
            f"{len(models)} rollups of a day of {built.raw_events:,} events, read and write-back"
            " included"
        )
        rows = [slower(what, signal, "DuckDB on data that it already holds", duck, at_most=2)]
        folder = bench.folder / "chdb"
        house = chdb_held.load(parquet, folder)
        if house is None:
            rows.append(Row(what, "", "chdb on data that it already holds: not installed"))
        else:
            rows.append(
                slower(
                    what,
                    signal,
                    "chdb on data that it already holds",
                    bench.median(lambda: chdb_held.compute(house, models)),
                )
            )
            house.close()
            shutil.rmtree(folder, ignore_errors=True)
        parquet.unlink()
        inside = bench.median(lambda: build_day(database, PostgresEngine(), models, DAY))
        rows.insert(0, faster(what, signal, "the same SQL inside PostgreSQL", inside, at_least=5))
        rows.append(limit("rows that those rollups have in all", sum(built.rows.values()), "rows"))
    return rows


def engine_of_parquet(url: str, path: object) -> None:
    """Write the day's events to a Parquet file, for the engines that hold their data themselves."""
    columns = list(
        {column.name: column for model in load_models().values() for column in model.reads}.values()
    )
    plain = ", ".join(
        f'"{c.name}"::varchar as "{c.name}"' for c in columns if c.data_type in ("text", "uuid")
    )
    with Database(url).connect() as source, duckdb.connect() as memory:
        memory.execute("create schema signal")
        fill_events(memory, columns, day_batches(source, DAY, columns))
        memory.execute(
            f"copy (select * replace ({plain}) from signal.events) to '{path}' (format parquet)"
        )
