"""A clock that really jumps.

libfaketime moves it for Signal alone, or for Signal, Dagster and PostgreSQL together.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import SECRET, Build, Fill
from support.commands import error_of, last_json, run_command
from support.days import days_ago
from support.stored import count

from faults import false_clock
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings

pytestmark = [
    pytest.mark.embedded_only,
    pytest.mark.skipif(
        false_clock.library() is None, reason=f"{false_clock.MISSING}: no false clock was tried"
    ),
]
Signal = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def ahead(environment: Settings, tmp_path: Path) -> Signal:
    """Runs the command a year ahead of PostgreSQL."""
    (tmp_path / "clock").write_text(f"+{365 * 86_400}\n")
    variables = false_clock.environment(tmp_path / "clock")
    return lambda *arguments: run_command(*arguments, cwd=tmp_path, **variables)


def test_a_machine_that_is_ahead_of_postgresql_purges_only_what_both_call_due(
    ahead: Signal, connection: Connection, fill: Fill, build: Build
) -> None:
    due, kept = days_ago(182), [days_ago(n) for n in (100, 1)]
    for day in (due, *kept):
        fill(day)
        build(day)
    done = ahead("retention", "--json")
    assert done.returncode == 1
    found = last_json(done.stdout)
    assert found["purged"] == [str(due)]
    assert [each["day"] for each in found["kept"]] == [str(day) for day in kept]  # type: ignore[attr-defined]
    assert "PostgreSQL's clock says" in error_of(done.stderr)
    assert "Set both clocks right" in error_of(done.stderr)
    confirmed = ahead("retention", "--confirm-days", 9999)
    assert confirmed.returncode == 1
    assert count(connection, "select count(*) from signal.events") == 50


# Everything below follows the false clock: this driver, PostgreSQL, and the commands that it
# starts.
DRIVER = """
import json, sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
import dagster as dg
from support.commands import run_command
from faults import false_clock
from signal_pipeline.ingest.pipeline import Ingest
from signal_pipeline.dagster.liveness import QUIET
from signal_pipeline.rollups.build import build_day
from signal_pipeline.rollups.engine import open_engine
from signal_pipeline.rollups.models import load_models
from signal_pipeline.settings import load_settings
from signal_pipeline.postgres.database import open_database
from signal_pipeline.schema.migrate import migrate
from signal_pipeline.privacy.retention import purge_due_days
from support.traffic import line, traffic

false_clock.start_postgres()
settings, models, clock = load_settings(), load_models(), false_clock.FalseClock()
database = open_database(settings)
migrate(database, settings, models)
today = datetime.now(UTC).date()

def say(step, **facts):
    with database.connect() as connection:
        rows = connection.execute("select day::text from signal.days where state = 'open' and exists"
            " (select from signal.events where created_at >= day and created_at < day + 1) order by day").fetchall()
    print(json.dumps({"step": step, "with_events": [row[0] for row in rows], **facts}), flush=True)

def ingest(day, lines):
    with closing(Ingest.from_settings(settings, database)) as ingest:
        ingest.ingest_lines(lines)
    build_day(database, open_engine(settings, database), models, day)

def night(day, **confirmed):
    from signal_pipeline.definitions import defs
    config = {"ops": {"expired_raw_events": {"config": confirmed}}} if confirmed else {}
    with dg.DagsterInstance.ephemeral() as instance:
        result = defs().resolve_job_def("nightly_job").execute_in_process(
            instance=instance, partition_key=str(day), run_config={**QUIET, **config}, raise_on_error=False)
    red = {e.check_name: e.description for e in result.get_asset_check_evaluations()
        if not e.passed and e.severity == dg.AssetCheckSeverity.ERROR}
    return {"success": result.success, "red": red}

def retention():
    done = run_command("retention", "--json", cwd=settings.home_path)
    return {"code": done.returncode, "found": json.loads(done.stdout.splitlines()[-1]), "error": done.stderr}

for days_ago in (30, 29, 10, 1):
    ingest(today - timedelta(days=days_ago), traffic(today - timedelta(days=days_ago), 5))
say("filled", today=str(today), purged=purge_due_days(database, models, 30).as_dict())
jumped = today + timedelta(days=366)
clock.set(false_clock.utc(f"{jumped} 00:10"))
ingest(jumped, [line(false_clock.utc(f"{jumped} 00:05"))])  # The last events before the nightly run carry the wrong date too.
clock.set(false_clock.utc(f"{jumped} 00:30"))
say("night after the jump", **night(jumped - timedelta(days=1)))
say("by hand", **retention())
say("confirmed", **night(jumped - timedelta(days=1), confirm_days=3))
clock.set(false_clock.utc(f"{jumped + timedelta(days=1)} 00:30"))
say("next night", **night(jumped))
"""


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The state and the output after each step of the driver."""
    folder = tmp_path_factory.mktemp("clock")
    for parent in (folder, folder.parent):
        parent.chmod(0o755)
    clock = false_clock.environment(folder / "file")
    tests = str(Path(__file__).parents[1])
    clean = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SIGNAL", "DAGSTER"))
    }
    settings = {
        "SIGNAL_HOME": str(folder / "home"),
        "SIGNAL_ENV": "development",
        "SIGNALS_SALT_SECRET": SECRET,
        "SIGNAL_RETENTION_DAYS": "30",
        "SIGNAL_START_DATE": str(days_ago(60)),
        "PYTHONPATH": f"{clock['PYTHONPATH']}:{tests}:{Path(tests).parent}",
    }
    done = subprocess.run(
        [sys.executable, "-c", DRIVER],
        env={**clean, **clock, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = [json.loads(text) for text in done.stdout.splitlines() if text.startswith('{"step"')]
    return {each["step"]: each for each in found}


Day = Callable[[int], str]


@pytest.fixture
def ago(steps: dict[str, dict[str, Any]]) -> Day:
    """The day so many days before the driver began."""
    began = date.fromisoformat(steps["filled"]["today"])
    return lambda days: str(began - timedelta(days=days))


@pytest.fixture
def jumped(ago: Day) -> str:
    """The day to which the clock jumped."""
    return ago(-366)


def test_before_the_jump_nothing_is_due(steps: dict[str, dict[str, Any]], ago: Day) -> None:
    assert steps["filled"]["purged"] == {"purged": [], "kept": [], "dry_run": False}
    assert steps["filled"]["with_events"] == [ago(30), ago(29), ago(10), ago(1)]


def test_the_night_after_a_jump_of_all_clocks_purges_what_is_due_by_evidence_and_is_red(
    steps: dict[str, dict[str, Any]], ago: Day, jumped: str
) -> None:
    night = steps["night after the jump"]
    assert night["success"]
    assert night["with_events"] == [ago(29), ago(10), ago(1), jumped]
    assert list(night["red"]) == ["nothing_overdue"]
    said = night["red"]["nothing_overdue"]
    assert "THE RETENTION IS REFUSED: 3 raw day(s)" in said
    assert f"({ago(29)} to {ago(1)})" in said
    assert "--confirm-days 3" in said


def test_the_command_refuses_too(steps: dict[str, dict[str, Any]], ago: Day) -> None:
    by_hand = steps["by hand"]
    assert by_hand["code"] == 1
    assert "--confirm-days 3" in by_hand["error"]
    assert [each["day"] for each in by_hand["found"]["kept"]] == [ago(29), ago(10), ago(1)]
    assert by_hand["with_events"] == steps["night after the jump"]["with_events"]


def test_what_a_person_confirms_goes_and_the_nights_after_need_no_word(
    steps: dict[str, dict[str, Any]], jumped: str
) -> None:
    assert steps["confirmed"]["with_events"] == [jumped]
    for step in ("confirmed", "next night"):
        assert steps[step]["success"]
        assert steps[step]["red"] == {}
    assert steps["next night"]["with_events"] == [jumped]
