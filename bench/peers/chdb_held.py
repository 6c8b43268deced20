"""ClickHouse inside the process (chdb), on events that are already in a MergeTree.

Its distinct counts are exact. The package chdb is an optional dependency (the extra `bench`), which
`make bench` installs.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from signal_pipeline.rollups.models import Models


def load(parquet: Path, folder: Path) -> Any:
    """Return a session that holds the events, or None if chdb is not installed."""
    try:
        # By its name, since the type checker may not find chdb either.
        chdb: Any = importlib.import_module("chdb.session")
    except ImportError:
        return None
    session = chdb.Session(str(folder))
    session.query("create database if not exists bench engine = Atomic")
    session.query(
        "create table bench.events engine = MergeTree order by tuple()"
        f" as select * from file('{parquet}', Parquet) settings max_threads = 2"
    )
    return session


def compute(session: Any, models: Models) -> None:
    """Compute every rollup of the day, by event type and over all types."""
    for name, model in models.items():
        keys = [column for column in model.grain if column not in ("activity_date", "event_type")]
        where = "" if model.covers_all_events else "where entity_id is not null"
        counts = (
            "count() as events, uniqExact(user_hash) as users, uniqExact(session_id) as sessions"
        )
        session.query(f"drop table if exists bench.{name}")
        session.query(
            f"create table bench.{name} engine = Memory as select event_type, {', '.join(keys)},"
            f" {counts} from bench.events {where} group by event_type, {', '.join(keys)} union all"
            f" select '(all)' as event_type, {', '.join(keys)}, {counts} from bench.events {where}"
            f" group by {', '.join(keys)} settings max_threads = 2"
        )
