"""Reports about one entity whose id is not a UUID: its capitals count."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from pathlib import Path

import pytest
from support.commands import error_of, run_command
from support.days import due_day, yesterday
from support.entities import ingest_journeys, wide_catalogue
from support.reports import BuildDays, Models, frame

from signal_pipeline.postgres.database import Connection, Database
from signal_pipeline.privacy.retention import purge_due_days
from signal_pipeline.reports.grouped_report import grouped_report
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

NOTE = "events under this id in lower case are not in these numbers"


def _noon(day: date) -> datetime:
    return datetime.combine(day, time(12), UTC)


@pytest.mark.parametrize("purged", [False, True])
def test_ids_with_other_capitals_are_other_entities(
    settings: Settings,
    database: Database,
    models: Models,
    build_days: BuildDays,
    tmp_path: Path,
    purged: bool,
) -> None:
    """Earlier versions stored every id in lower case, and a report names what it leaves out."""
    day = due_day() if purged else yesterday()
    ids = ["dQw4w9WgXcQ", "DQW4W9WGXCQ", "DQW4W9WGXCQ", "xyz", "XYZ"]
    former = ["dqw4w9wgxcq"]
    ingest_journeys(settings, database, wide_catalogue(tmp_path), *ids, *former, at=_noon(day))
    build_days(day)
    if purged:
        assert purge_due_days(database, models, 180).purged == [day]

    def ask(entity: str, first: date) -> tuple[list[int], bool]:
        report = grouped_report(database, models, ["entity"], {"entity": entity}, first, day)
        return list(frame(report).get("events", [])), any(NOTE in note for note in report.notes)

    before = day - timedelta(days=3)
    assert ask("dQw4w9WgXcQ", before) == ([1], True)
    assert ask("DQW4W9WGXCQ", before) == ([2], True)
    assert ask("dqw4w9wgxcq", before) == ([1], False)
    assert ask("XYZ", before) == ([1], True)
    assert ask("xyz", before) == ([1], False)
    assert ask("dQw4W9wGxCq", day) == ([], True)
    assert ask("ABC", before) == ([], False)


def test_a_filter_takes_an_id_as_it_is_stored(
    environment: Settings,
    settings: Settings,
    database: Database,
    connection: Connection,
    tmp_path: Path,
) -> None:
    text = wide_catalogue(tmp_path).read_text()
    capitals = tmp_path / "capitals.yaml"
    capitals.write_text(text.replace("[A-Za-z0-9-]{1,64}", "[A-Z]{3}"))
    ingest_journeys(settings, database, capitals, "ABC", at=_noon(yesterday()))
    window = ("--from", yesterday(), "--to", yesterday(), "--format", "json")
    ask = partial(
        run_command,
        *("report", "--group-by", "entity", *window, "--where"),
        cwd=tmp_path,
        SIGNAL_CATALOGUE=str(capitals),
    )
    (row,) = json.loads(ask("entity=ABC").stdout)
    assert (row["entity_id"], row["events"]) == ("ABC", 1)
    refused = ask("entity=abc")
    assert refused.returncode == 2
    assert "no entity has this id" in error_of(refused.stderr)
    # Rows from before the format was changed can be asked for.
    connection.execute(
        "insert into signal.daily_entity_activity values"
        " (%s, 'cms', 'journey_create_clicked', 'journey', 'Old-1', 1, 1, 1)",
        [yesterday()],
    )
    assert ask("entity=Old-1").returncode == 0
    assert ask("entity=old-1").returncode == 2
