"""Events of entities whose ids are not UUIDs."""

from __future__ import annotations

import re
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from support.traffic import line

from signal_pipeline.catalogue.load import PACKAGED_CATALOGUE
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.postgres.database import Database
from signal_pipeline.settings import Settings


def wide_catalogue(folder: Path, id_format: str = "[A-Za-z0-9-]{1,64}") -> Path:
    """Write our own catalogue with another format of ids into a folder, and return its file."""
    file = folder / "wide.yaml"
    text = PACKAGED_CATALOGUE.read_text()
    file.write_text(re.sub(r"(?m)^  uuid: .*$", f'  uuid: "{id_format}"', text))
    return file


def ingest_journeys(
    settings: Settings, database: Database, catalogue: Path, *ids: str, at: datetime | None = None
) -> None:
    """Store one event for each id, under this catalogue, as they came at a time (now if None)."""
    changed = settings.model_copy(update={"catalogue": catalogue})
    now = at or datetime.now(UTC)
    with closing(Ingest.from_settings(changed, database, lambda: now)) as ingest:
        lines = [line(at, entityType="journey", entityId=each) for each in ids]
        assert ingest.ingest_lines(lines).accepted == len(ids)
