"""The files of deploy/ cannot go stale.

systemd accepts the units, the programs that they run exist, and every setting in them is read.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from signal_pipeline.postgres.urls import with_database

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
UNITS = {path.name: path.read_text() for path in sorted((DEPLOY / "systemd").glob("*.service"))}
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
PROGRAMS = Path(sys.executable).parent
WORST_EXPOSURE = 2.0  # systemd's own scale of 0 to 10; below 2.0 it says "OK".
ASKED = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))


def programs_of_units() -> Iterator[list[str]]:
    for text in UNITS.values():
        for line in re.findall(r"(?m)^Exec\w+=(.*)$", text):
            started = re.search(r"/opt/signal/bin/([^;]*)", line)
            assert started
            yield shlex.split(started[1])


def programs_of_containers() -> Iterator[list[str]]:
    for service in COMPOSE["services"].values():
        if service["image"] == "signal-pipeline":
            yield service["command"]
            if "healthcheck" in service:
                yield service["healthcheck"]["test"][1:]


# A unit and a container can differ in the address on which they listen.
COMMANDS = sorted(
    {
        shlex.join(command).replace("0.0.0.0", "127.0.0.1")  # noqa: S104 - nothing listens here
        for command in (*programs_of_units(), *programs_of_containers())
    }
)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists_with_its_options(command: str) -> None:
    """Click reads all options before it prints the help, so an unknown one is an error."""
    program, *arguments = shlex.split(command)
    done = subprocess.run(
        [PROGRAMS / program, *arguments, "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_units_and_containers_run_the_same_parts() -> None:
    def part(command: list[str]) -> str:
        return " ".join(takewhile(lambda word: not word.startswith("-"), command))

    assert {part(each) for each in programs_of_units()} == {
        part(each) for each in programs_of_containers()
    }
    assert len(COMMANDS) > 5


def test_every_variable_that_is_set_is_read() -> None:
    known = set(re.findall(r"(?m)^(\w+)=", (ROOT / ".env.example").read_text()))
    known |= {"DAGSTER_HOME", "SIGNAL_CODE_HOST"}  # Dagster's own; and `deploy/workspace.yaml`.
    units = {
        name
        for text in UNITS.values()
        for line in re.findall(r"(?m)^Environment=(.*)$", text)
        for name in re.findall(r"(\w+)=", line)
    }
    containers = {
        name
        for each in COMPOSE["services"].values()
        if each["image"] == "signal-pipeline"
        for name in each["environment"]
    }
    assert units <= known
    assert containers <= known
    assert "SIGNAL_CODE_HOST" in (DEPLOY / "workspace.yaml").read_text()


def test_only_what_ingests_gets_the_secret() -> None:
    holders = {name for name, text in UNITS.items() if "secrets.env" in text}
    assert holders == {"signal-code.service", "signal-api.service"}
    holders = {
        name
        for name, each in COMPOSE["services"].items()
        if "SIGNALS_SALT_SECRET" in each["environment"]
    }
    assert holders == {"code", "api"}


def test_each_container_that_knows_the_database_gets_what_decides_the_days() -> None:
    """`migrate` stores the start date, and `code` and `api` refuse what is before it."""
    days = {"SIGNAL_START_DATE", "SIGNAL_RETENTION_DAYS"}
    lacking = {
        name: missing
        for name, each in COMPOSE["services"].items()
        if "SIGNAL_DATABASE_URL" in each["environment"]
        and (missing := days - each["environment"].keys())
    }
    assert lacking == {}


def test_each_file_of_settings_has_a_line_of_its_own() -> None:
    """systemd takes all that follows `EnvironmentFile=` for one path; a missing file fails the start."""
    files = [
        path for text in UNITS.values() for path in re.findall(r"(?m)^EnvironmentFile=(.*)$", text)
    ]
    assert len(files) > 5
    assert not [path for path in files if re.search(r"\s", path)]


def test_the_guide_names_every_file_and_every_secret_of_the_containers() -> None:
    guide = (ROOT / "docs" / "deploy.md").read_text()
    for path in DEPLOY.iterdir():
        assert path.name in guide or path.name.startswith("Dockerfile."), path.name
    assert {name for name in ASKED if name not in guide} == set()
    for file in re.findall(r"/etc/signal/(\w+\.env)", "".join(UNITS.values())):
        assert file in guide, file


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """A copy of the units, with the programs' real places on this machine."""
    folder = shutil.copytree(DEPLOY / "systemd", tmp_path / "systemd")
    for path in folder.glob("*.service"):
        path.write_text(path.read_text().replace("/opt/signal/bin", str(PROGRAMS)))
    return folder


def analyze(units: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Ask systemd about the units as if they were installed."""
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("no systemd-analyze found: the units were not verified")
    environment = {**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:", "SYSTEMD_LOG_LEVEL": "warning"}
    return subprocess.run(
        [program, *arguments],
        cwd=units,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_systemd_takes_the_units(units: Path) -> None:
    done = analyze(units, "verify", *(f"./{name}" for name in UNITS))
    said = [
        line for line in done.stderr.splitlines() if "signal" in line
    ]  # It reports on other units too.
    assert (done.returncode, said) == (0, [])


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_may_do_little(units: Path, name: str) -> None:
    done = analyze(units, "security", "--offline=true", f"./{name}")
    assert float(re.search(r"exposure level .*: ([0-9.]+)", done.stdout)[1]) < WORST_EXPOSURE  # type: ignore[index]


def test_compose_takes_its_file() -> None:
    program = shutil.which("docker-compose")
    if program is None:
        pytest.skip("no docker-compose found: its file was only read as YAML")
    environment = {**os.environ, **dict.fromkeys(ASKED, "x")}
    done = subprocess.run(
        [program, "-f", DEPLOY / "compose.yaml", "config", "-q"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.embedded_only
def test_the_logins_get_their_roles_and_dagster_its_database(
    server: str, template: str, tmp_path: Path
) -> None:
    if shutil.which("psql") is None:
        pytest.skip("no psql found: logins.sql was not run")
    names = {
        name: f"test_{name}_{os.getpid()}"
        for name in ("signal_code", "signal_wire", "signal_dagster")
    }
    text = (DEPLOY / "logins.sql").read_text()
    for name, other in names.items():
        text = text.replace(name, other)
    (tmp_path / "logins.sql").write_text(text)
    environment = {
        **os.environ,
        "CODE_PASSWORD": "it's",
        "API_PASSWORD": "b",
        "DAGSTER_PASSWORD": "c",
    }
    command = [
        "psql",
        "-X",
        "-vON_ERROR_STOP=1",
        "-d",
        with_database(server, template),
        "-f",
        tmp_path / "logins.sql",
    ]
    code, wire, dagster = names.values()
    try:
        for _ in range(2):
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
            assert (done.returncode, done.stderr) == (0, "")
        with psycopg.connect(server.replace("postgres@", f"{code}@")) as connection:
            assert connection.execute(
                "select pg_has_role('signal_admin', 'member')"
            ).fetchone() == (True,)
        with psycopg.connect(server.replace("postgres@", f"{wire}@")) as connection:
            roles = (
                "select pg_has_role('signal_api', 'member'), pg_has_role('signal_admin', 'member')"
            )
            assert connection.execute(roles).fetchone() == (True, False)
        with psycopg.connect(
            server.replace("postgres@", f"{dagster}@").replace("/postgres?", f"/{dagster}?")
        ) as connection:
            connection.execute("create table runs ()")
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f"drop database if exists {dagster}")  # type: ignore[arg-type]
            for role in names.values():
                connection.execute(f"drop role if exists {role}")  # type: ignore[arg-type]
