"""The landing of a test: content that is moved in, and a drain; and a writer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import SECRET

from signal_pipeline.ingest import pipeline as ingest_module
from signal_pipeline.ingest.landing import drain_landing, prepare_landing
from signal_pipeline.ingest.pipeline import Counts, Ingest
from signal_pipeline.ingest.writer import EventWriter
from signal_pipeline.postgres.database import Database
from signal_pipeline.settings import Settings

Put = Callable[..., Path]
Drain = Callable[[], Counts]


@pytest.fixture
def landing(settings: Settings) -> Path:
    """The landing folder."""
    prepare_landing(settings.landing_path)
    return settings.landing_path


@pytest.fixture
def put(landing: Path) -> Put:
    """Moves finished content into the landing."""

    def move_in(content: bytes, name: str = "a.ndjson") -> Path:
        draft = landing / ".draft.tmp"
        draft.write_bytes(content)
        return draft.rename(landing / name)

    return move_in


@pytest.fixture
def land(put: Put) -> Put:
    """Moves a finished file of these lines into the landing."""

    def move_in(lines: list[bytes], name: str = "a.ndjson") -> Path:
        return put(b"".join(text + b"\n" for text in lines), name)

    return move_in


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes batches of about twenty lines."""
    monkeypatch.setattr(ingest_module, "BATCH_BYTES", 8_000)


@pytest.fixture
def drain(database: Database, settings: Settings, ingest: Ingest) -> Drain:
    """Drains the landing once."""
    return lambda: drain_landing(database, ingest, settings.landing_path, SECRET.encode()).counts


@pytest.fixture
def writer(database: Database) -> Iterator[EventWriter]:
    """A writer of its own."""
    with closing(EventWriter(database, "00000001")) as events:
        yield events
