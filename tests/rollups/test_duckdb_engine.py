"""DuckDB's own: spilling, leftovers, and the thread that reads ahead."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from support.rollup_events import (
    DAY,
    START,
    Event,
    build,
    insert,
    stored_rows,
)

from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups import duckdb_engine
from signal_pipeline.rollups.duckdb_engine import DuckdbEngine
from signal_pipeline.rollups.engine import EngineError
from signal_pipeline.rollups.models import Models


def test_spilling(
    day: Connection,
    url: str,
    tmp_path: Path,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """DuckDB spills into a private folder and removes it."""
    monkeypatch.setattr(duckdb_engine, "MEMORY_LIMIT", "64MB")
    insert(day, [Event(START)])
    day.execute("""
        insert into signal.events (created_at, app_name, event_type, user_hash, device_type, browser_family, os_family)
        select created_at, app_name, event_type, sha256(n::text::bytea), device_type, browser_family, os_family
        from signal.events, generate_series(1, 249999) as n
        """)
    folder = tmp_path / "tmp"
    small = models.only(["daily_app_activity"])
    with DuckdbEngine(url, folder).read(day, DAY, small) as built:
        (held,) = folder.iterdir()
        assert [path.stat().st_mode & 0o777 for path in (folder, held)] == [0o700, 0o700]
        assert [path for path in held.rglob("*") if path.is_file()]
        assert built.write(day, small["daily_app_activity"]) == 2
    assert (DAY, "cms", "(all)", 250_000, 250_000, 0) in stored_rows(day, "daily_app_activity")
    with pytest.raises(ZeroDivisionError), DuckdbEngine(url, folder).read(day, DAY, models):
        raise ZeroDivisionError
    assert list(folder.iterdir()) == []


def test_leftovers_of_a_killed_build(
    day: Connection, url: str, tmp_path: Path, models: Models
) -> None:
    """DuckDB removes what a killed build left."""
    folder = tmp_path / "tmp"
    left = folder / "build-left"
    left.mkdir(parents=True)
    (left / "spilled").touch()
    (folder / "another.file").touch()
    with DuckdbEngine(url, folder).read(day, DAY, models):
        running = set(folder.glob("build-*"))
        with DuckdbEngine(url, folder).read(day, DAY, models):
            assert left not in folder.iterdir()
            assert running < set(folder.glob("build-*"))
    assert [path.name for path in folder.iterdir()] == ["another.file"]


def test_leftovers_that_cannot_be_opened_hold_up_no_build(
    day: Connection, url: str, tmp_path: Path, models: Models
) -> None:
    """Such as the folder of another user; a link that leads nowhere stands for it."""
    (tmp_path / "build-left").symlink_to("build-left")
    with DuckdbEngine(url, tmp_path).read(day, DAY, models):
        pass


def test_a_folder_in_which_nothing_can_be_made_is_one_line(
    day: Connection, url: str, tmp_path: Path, models: Models
) -> None:
    (tmp_path / "tmp").touch()
    with pytest.raises(EngineError, match="no temporary folder can be made in .*: File exists"):
        build(DuckdbEngine(url, tmp_path / "tmp"), day, models)


def test_an_unreachable_server(day: Connection, tmp_path: Path, models: Models) -> None:
    """An unreachable server is named without its address."""
    engine = DuckdbEngine("postgresql://someone:hidden@127.0.0.1:1/nowhere", tmp_path)
    with pytest.raises(EngineError, match="cannot read the day from PostgreSQL") as caught:
        build(engine, day, models)
    assert "hidden" not in str(caught.value)


def test_an_error_ends_the_reader_first(
    day: Connection,
    url: str,
    tmp_path: Path,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Another thread reads the next batch on the connection that the error closes."""
    read: list[int] = []

    def batches(*_: object) -> Iterator[pa.RecordBatch]:
        for number in range(3):
            time.sleep(0.2 * number)
            read.append(number)
            yield pa.RecordBatch.from_pydict({"number": [number]})

    def fill(_: object, __: object, given: Iterator[pa.RecordBatch]) -> None:
        next(given)
        raise MemoryError

    monkeypatch.setattr(duckdb_engine, "day_batches", batches)
    monkeypatch.setattr(duckdb_engine, "fill_events", fill)
    engine = DuckdbEngine(url, tmp_path / "tmp")
    with pytest.raises(MemoryError):
        build(engine, day, models)
    assert read == [0, 1]
    monkeypatch.undo()
    assert build(engine, day, models)
