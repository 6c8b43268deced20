"""`docs/tutorial.md`, followed block by block in a copy of the project.

Three days of traffic take the place of `make demo`, which `tests/cli/test_demo.py` runs.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import Fill
from support.days import days_ago
from support.dev import backfill, running_dev
from support.guide import ROOT, blocks, copy_project
from support.traffic import line
from support.waits import eventually

from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

PAGE = ROOT / "docs" / "tutorial.md"
ROLLUP = "daily_search_activity"
DAYS = [days_ago(number) for number in (3, 2, 1)]
# A search whose app sent no description. It is accepted, and must not stop the builds of its day.
BARE_DAY = days_ago(4)
CHECKS = """
query Checks($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    ... on AssetNode {
      assetChecksOrError {
        ... on AssetChecks { checks { name executionForLatestMaterialization { status } } }
      }
    }
  }
}
"""
Shell = Callable[[str], str]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return copy_project(tmp_path / "project")


@pytest.fixture
def shell(copy: Path, environment: Settings, tmp_path: Path) -> Shell:
    """Runs commands in the copy; returns what they print."""
    surroundings = {**os.environ, "PYTHONPATH": str(copy), "COLUMNS": "200"}

    def run(commands: str) -> str:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=copy,
            env=surroundings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    return run


def people_in_the_table() -> list[tuple[object, ...]]:
    """The numbers that the page prints, as its query gives them."""
    rows = re.findall(
        r"(?m)^\| (?:three days ago|two days ago|yesterday) \| (\d+) \| (\d+) \|$",
        PAGE.read_text(encoding="utf-8"),
    )
    assert len(rows) == len(DAYS)
    return [
        (day, found, int(people))
        for day, row in zip(DAYS, rows, strict=True)
        for found, people in zip(("nothing", "something"), row, strict=True)
    ]


def test_the_tutorial_followed_block_by_block(
    copy: Path, shell: Shell, server: str, fill: Fill, tmp_path: Path
) -> None:
    for day in DAYS:
        fill(day)
    demo, dev, catalogue, searches, migrate, page = blocks(PAGE, "sh")
    assert (demo, dev) == ("make demo\n", "make dev\n")
    event_type, entry = blocks(PAGE, "yaml")
    model, question, of_the_chart = blocks(PAGE, "sql")

    with (copy / "signal_pipeline/catalogue/catalogue.yaml").open("a", encoding="utf-8") as file:
        file.write(event_type)
    assert "journey_search_used" in shell(catalogue)
    assert "journey_search_used" in (copy / "client/src/events.ts").read_text(encoding="utf-8")
    assert re.search(r"accepted +36\b", shell(searches))
    assert re.search(r"duplicate +36\b", shell(searches.splitlines()[-1]))

    noon = datetime(BARE_DAY.year, BARE_DAY.month, BARE_DAY.day, 12, tzinfo=UTC)
    (copy / "bare.ndjson").write_bytes(line(noon, eventType="journey_search_used"))
    shell(".venv/bin/signal-pipeline ingest bare.ndjson")
    numbers = [(BARE_DAY, "(none)", 1), *people_in_the_table()]

    (copy / f"dbt_like_sql/models/{ROLLUP}.sql").write_text(model, encoding="utf-8")
    with (copy / "dbt_like_sql/schema.yml").open("a", encoding="utf-8") as file:
        file.write(entry)
    shell(migrate)
    url = shell(".venv/bin/signal-pipeline sql").splitlines()[0]

    with (
        running_dev(server, tmp_path, copy, PYTHONPATH=str(copy)) as ask,
        psycopg.connect(url, autocommit=True) as reader,
    ):
        # The sensor builds what was never built.
        asked = f"select count(distinct activity_date) from signal_reporting.{ROLLUP}"
        eventually(lambda: reader.execute(asked).fetchone() == (4,), "the sensor builds the days")  # type: ignore[arg-type]
        assert reader.execute(question).fetchall() == numbers  # type: ignore[arg-type]

        ended = backfill(ask, [ROLLUP], [str(day) for day in (BARE_DAY, *DAYS)])
        assert ended["status"] == "COMPLETED_SUCCESS"
        eventually(lambda: checks_of(ask) == {"SUCCEEDED"}, "every check is green")
        assert reader.execute(question).fetchall() == numbers  # type: ignore[arg-type]
        assert reader.execute(of_the_chart).fetchall() == numbers  # type: ignore[arg-type]

    shell(page)
    assert "journey_search_used" in (copy / "usage.html").read_text(encoding="utf-8")


def checks_of(ask: Callable[..., Any]) -> set[str | None]:
    """The states of the rollup's checks for its newest materialization."""
    node = ask(CHECKS, key={"path": [ROLLUP]})["assetNodeOrError"]
    checks = node["assetChecksOrError"]["checks"]
    assert len(checks) > 5
    return {
        (check["executionForLatestMaterialization"] or {"status": None})["status"]
        for check in checks
    }
