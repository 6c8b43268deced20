"""The demo as a newcomer runs it, twice on the same day."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from unittest.mock import patch

import dagster as dg
import pytest
from support.commands import error_of, run_command
from support.days import yesterday
from support.oracle import DIMENSIONS
from support.stored import count

from signal_pipeline.cli import demo
from signal_pipeline.cli.demo import DemoError, run_demo
from signal_pipeline.cli.demo_summary import trend
from signal_pipeline.dagster.backfill import BackfillResult
from signal_pipeline.dagster.home import open_instance
from signal_pipeline.postgres.database import Database
from signal_pipeline.postgres.embedded import start_embedded
from signal_pipeline.settings import Settings

CHECKED = dg.DagsterEventType.ASSET_CHECK_EVALUATION


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh machine: nothing is set but the home."""
    for name in (
        "SIGNAL_START_DATE",
        "SIGNAL_DATABASE_URL",
        "SIGNAL_ENV",
        "DAGSTER_HOME",
        "SIGNAL_DAGSTER_DATABASE_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SIGNAL_HOME", str(tmp_path / "home"))
    return tmp_path


def test_a_second_demo_on_the_same_day_changes_no_number(own_home: Path) -> None:
    first = run_command("demo", cwd=own_home)
    assert first.returncode == 0, first.stderr
    with Database(start_embedded(own_home / "home")).connect() as connection:
        assert _checks_by_night(own_home / "home") == {True}
        kept = {
            name: _everything(connection, name)
            for name in (*DIMENSIONS, "books", "intake", "bots", "events", "receipts")
        }
        second = run_command("demo", cwd=own_home)
        assert second.returncode == 0, second.stderr
        for name, rows in kept.items():
            assert _everything(connection, name) == rows, name
        stale = (
            "select count(*) from signal.days as d join signal.builds as b using (day) where"
            " b.version <> d.version"
        )
        assert count(connection, stale + " and d.state = 'open'") == 0
    assert second.stdout == first.stdout
    _closed_books(first.stdout)
    for text in ("Daily users", "Top routes", "Dropped, by reason", "make dev"):
        assert text in first.stdout
    page = Path(first.stdout.splitlines()[-1].strip())
    assert page.parent == own_home / "home" / "reports"
    assert page.read_text().startswith("<!doctype html>")
    assert "Purged days (3)" in first.stdout
    assert len(re.findall(r"raw events deleted at", first.stdout)) == 3
    assert "Traceback" not in first.stderr + second.stderr
    assert not list((own_home / "home" / "landing").iterdir())


def test_a_demo_that_cannot_build_a_day_fails_and_names_it(
    own_home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its summary would show the day as one without users."""
    caplog.set_level(logging.ERROR, "signal_pipeline")  # As the demo does; ends with the test.
    monkeypatch.setattr(demo, "EVENTS_PER_DAY", 5)
    refused = {yesterday(): "the disk is full"}
    monkeypatch.setattr(demo, "run_backfill", lambda *_: BackfillResult(refused=refused))
    with pytest.raises(DemoError, match=f"^{yesterday()} was not built: the disk is full$"):
        run_demo(Settings(_env_file=None))


def _checks_by_night(home: Path) -> set[bool]:
    """Whether the checks of the nightly job passed, which a newcomer sees first."""
    with patch.dict(os.environ), open_instance(Settings(_env_file=None, home=home)) as instance:
        runs = instance.get_runs(dg.RunsFilter(job_name="nightly_job"))
        entries = [entry for run in runs for entry in instance.all_logs(run.run_id, CHECKED)]
    assert len(entries) > 80
    return {entry.get_dagster_event().asset_check_evaluation_data.passed for entry in entries}


def _everything(connection: object, table: str) -> object:
    query = (
        f"select count(*), md5(string_agg(t::text, '|' order by t::text)) from signal.{table} as t"
    )
    return connection.execute(query).fetchone()  # type: ignore[attr-defined]


def _closed_books(text: str) -> None:
    pattern = r"received ([\d,]+) = accepted ([\d,]+) \+ duplicate ([\d,]+) \+ dropped ([\d,]+)"
    found = re.search(pattern, text)
    assert found
    received, *parts = (int(number.replace(",", "")) for number in found.groups())
    assert received == sum(parts) > 80_000
    assert all(parts)


@pytest.mark.parametrize(
    "changes",
    [
        {"SIGNAL_DATABASE_URL": "postgresql://127.0.0.1:1/none", "SIGNAL_ENV": "development"},
        {"SIGNAL_ENV": "production"},
    ],
)
def test_the_demo_refuses_a_server_and_production(own_home: Path, changes: dict[str, str]) -> None:
    done = run_command("demo", cwd=own_home, **changes)
    assert done.returncode == 1
    assert "the demo writes simulated events" in error_of(done.stderr)


def test_a_trend_is_as_long_as_its_values() -> None:
    assert trend([0, 5, 10]) == "▁▅█"
    assert trend([0, 0]) == "▁▁"
    assert trend([]) == ""
