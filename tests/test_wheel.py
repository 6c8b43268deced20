"""The wheel holds everything that a checkout holds.

The command works from the wheel alone, and says so if a file in it is broken.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from dagster._grpc.client import DagsterGrpcClient
from support.commands import environment_with, error_of, last_json, run_command
from support.dagster import asker, dagster_processes, wait_for_ui
from support.traffic import line
from support.waits import eventually

from faults.wire import free_port
from signal_pipeline.postgres.database import Connection
from signal_pipeline.rollups.models import load_models
from signal_pipeline.settings import Settings

ROOT = Path(__file__).parents[1]
Signal = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture
def unpacked(wheel: Path, tmp_path: Path) -> Path:
    """A copy of the wheel's package, outside any checkout."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "unpacked")
    return tmp_path / "unpacked" / "signal_pipeline"


@pytest.fixture
def signal(environment: Settings, unpacked: Path, tmp_path: Path) -> Signal:
    """Runs the command of the unpacked wheel."""
    return partial(run_command, cwd=tmp_path, PYTHONPATH=str(unpacked.parent))


def test_the_wheel_holds_every_file_that_is_not_python(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    package = ROOT / "signal_pipeline"
    expected = {
        str(path.relative_to(ROOT))
        for path in package.rglob("*")
        if path.is_file()
        and path.suffix in (".sql", ".yaml", ".yml", ".conf", ".py", ".typed", ".html", ".css")
    }
    expected |= {
        f"signal_pipeline/{path.relative_to(ROOT)}" for path in (ROOT / "dbt_like_sql").rglob("*.*")
    }
    expected |= {"signal_pipeline/dagster.yaml", "signal_pipeline/workspace.yaml"}
    assert expected <= names
    for name in (
        "catalogue/catalogue.yaml",
        "simulation/world.yaml",
        "postgres/embedded.conf",
        "reports/page/templates/page.html",
        "schema/migrations/versions/0001_core.sql",
        "dbt_like_sql/schema.yml",
        "dbt_like_sql/models/daily_app_activity.sql",
    ):
        assert f"signal_pipeline/{name}" in names
    assert not [
        name for name in names if name.startswith(("tests", "docs")) or "__pycache__" in name
    ]


@pytest.mark.embedded_only
def test_the_command_works_from_the_wheel_alone(
    signal: Signal, unpacked: Path, connection: Connection
) -> None:
    connection.execute("drop schema signal cascade")
    program = "import signal_pipeline; print(signal_pipeline.__file__)"
    where = signal(program=program).stdout.strip()
    assert Path(where).is_relative_to(unpacked)
    assert signal("migrate").returncode == 0
    assert last_json(signal("ingest", "-", "--json", stdin=line()).stdout)["accepted"] == 1
    simulated = signal("simulate", "--days", 1, "--events-per-day", 50)
    assert len(simulated.stdout.splitlines()) > 10
    assert signal("report", "app", "--from", "2026-01-01", "--to", "2026-01-02").returncode == 0


@pytest.mark.embedded_only
def test_dagster_loads_the_wheel_from_another_folder(
    environment: Settings, unpacked: Path, tmp_path: Path
) -> None:
    """The web server itself loads it, and a code server of either kind."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    every = environment_with({"PYTHONPATH": str(unpacked.parent), "DAGSTER_HOME": str(folder)})
    module, (web, code, bare) = (
        ["-m", "signal_pipeline.definitions"],
        (free_port(), free_port(), free_port()),
    )
    ask = asker(web)
    with dagster_processes(folder) as start:
        wait_for_ui(ask, start(["dagster-webserver", "-p", str(web), *module], every))
        keys = {
            "/".join(node["assetKey"]["path"])
            for node in ask("{ assetNodes { assetKey { path } } }")["assetNodes"]
        }
        start(["dagster", "code-server", "start", "-p", str(code), *module], every)
        start(["dagster", "api", "grpc", "-p", str(bare), *module], every)
        for port in (code, bare):
            client = DagsterGrpcClient(port=port)
            # As `dagster api grpc-health-check` asks, of which each call would be a process.
            eventually(lambda ask=client.health_check_query: ask() == "SERVING", "it serves")
    assert keys == {"raw_events", "expired_raw_events", "usage_report", *load_models()}


BREAKS = {
    "no SQL": (
        "dbt_like_sql/models/daily_os_activity.sql",
        "select from where",
        "daily_os_activity",
    ),
    "two statements": (
        "dbt_like_sql/models/daily_os_activity.sql",
        "select 1; select 2",
        "daily_os_activity",
    ),
    "columns that yml does not have": (
        "dbt_like_sql/models/daily_app_activity.sql",
        (
            "select app_name, count(*) as surprise from signal.events where created_at >= $1 and"
            " created_at < $2 group by 1"
        ),
        "daily_app_activity",
    ),
    "yml that is no yml": ("dbt_like_sql/schema.yml", "models: [", "schema.yml"),
    "yml without models": ("dbt_like_sql/schema.yml", "version: 2\nmodels: []\n", "schema.yml"),
    "catalogue": ("catalogue/catalogue.yaml", "version: 1\n", "catalogue.yaml"),
}


@pytest.mark.embedded_only
@pytest.mark.parametrize(("file", "text", "named"), BREAKS.values(), ids=BREAKS.keys())
def test_a_broken_file_is_one_line_that_names_it(
    signal: Signal, unpacked: Path, connection: Connection, file: str, text: str, named: str
) -> None:
    (unpacked / file).write_text(text)
    arguments = ("ingest", "-") if "catalogue" in file else ("migrate",)
    before = connection.execute("select count(*) from pg_class").fetchone()
    done = signal(*arguments, stdin=line())
    assert done.returncode == 1
    assert named in error_of(done.stderr)
    assert connection.execute("select count(*) from pg_class").fetchone() == before
    assert connection.execute("select count(*) from signal.books").fetchone() == (0,)


@pytest.mark.embedded_only
def test_a_yml_that_disagrees_with_its_sql_is_one_line(signal: Signal, unpacked: Path) -> None:
    schema = unpacked / "dbt_like_sql" / "schema.yml"
    schema.write_text(
        schema.read_text().replace("- name: browser_family", "- name: browser_name", 1)
    )
    done = signal("migrate")
    assert done.returncode == 1
    assert "browser" in error_of(done.stderr)
