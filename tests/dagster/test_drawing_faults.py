"""A fault of a drawing costs the picture, never the run whose work it shows."""

from __future__ import annotations

from typing import Any

import dagster as dg
import pytest
from conftest import Fill
from support.dagster import Run, metadata_of
from support.days import yesterday

from signal_pipeline.dagster.assets import charts, raw_events, rollup_metadata
from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups.models import Models

pytestmark = pytest.mark.embedded_only
DAY = yesterday()
DRAWN = {"trend", "preview", "books", "outcomes"}


def _fail(*_: Any, **__: Any) -> str:
    raise ValueError("/a/private/route")


@pytest.mark.parametrize(
    ("broken", "lost"),
    [("bar_chart", {"trend", "books"}), ("markdown_table", {"preview", "outcomes"})],
)
def test_a_build_is_marked_without_a_picture_that_cannot_be_drawn(
    broken: str,
    lost: set[str],
    run: Run,
    instance: dg.DagsterInstance,
    fill: Fill,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(DAY, 30)
    for module in (charts, raw_events, rollup_metadata):
        monkeypatch.setattr(module, broken, _fail)
    for job in ("rollups_job", "raw_events_job"):
        result = run(job, DAY)
        assert result.success
        logged = [(entry.level, entry.user_message) for entry in instance.all_logs(result.run_id)]
        warnings = [text for level, text in logged if level == 30]
        assert {name for name in DRAWN if any(f"the {name} of" in text for text in warnings)} == (
            lost if job == "rollups_job" else lost - {"trend", "preview"}
        )
        assert all("ValueError" in text and str(DAY) in text for text in warnings)
        assert not any("private" in text for _, text in logged)
    for name in models:
        shown = metadata_of(instance, name, DAY)
        assert shown.keys() & DRAWN == {"trend", "preview"} - lost
        assert shown["raw_events"] == 30


def test_a_picture_whose_statement_is_refused_fails_no_run(
    run: Run,
    instance: dg.DagsterInstance,
    fill: Fill,
    models: Models,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """PostgreSQL refuses what the preview asks for, after the build is committed."""
    fill(DAY, 30)

    def refused(connection: Connection, *_: Any) -> None:
        connection.execute("select 1 / 0")

    monkeypatch.setattr(rollup_metadata, "hidden_on_day", refused)
    result = run("rollups_job", DAY)
    assert result.success
    texts = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert any("DivisionByZero" in text and "the preview of" in text for text in texts)
    for name in models:
        assert "trend" in metadata_of(instance, name, DAY)
