"""Without the extras, each command works or says in one line which extra it needs."""

from __future__ import annotations

import re
import tomllib
import uuid
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import typer
from conftest import Fill
from support.commands import PROGRAM, error_of, last_json, run_command
from support.days import yesterday
from support.traffic import line

from signal_pipeline.cli.commands import app
from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings
from signal_pipeline.system.extras import MODULES

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
# Importing a module that is None here fails as it does where it is not installed.
BLOCK = "import sys\nfor name in {names}: sys.modules[name] = None\n" + PROGRAM[-1]
DAYS = ("--from", "2026-01-01", "--to", "2026-01-02")
NEEDS = {
    "backfill": ("dagster", DAYS),
    "demo": ("dagster", ()),
    "dev": ("dagster", ()),
    "schema": ("api", ()),
    "serve": ("api", ()),
    "token": ("api", ("--user", "me")),
}
WORKS = {
    "alert-test": ((), "SIGNAL_ALERT_URLS is not set"),
    "catalogue": ((), None),
    "dbt-sources": ((), None),
    "erase": (("--session", "550e8400-e29b-41d4-a716-446655440000", "--dry-run"), None),
    "ingest": (("-",), None),
    "migrate": ((), None),
    "report": (("app", *DAYS), None),
    "retention": (("--dry-run",), None),
    "rotate-secret": ((), None),
    "simulate": (("--days", "1", "--events-per-day", "20"), None),
    "sql": ((), None),
    "status": ((), None),
    "subject": (("--day", "2026-01-01"), "three lines to stdin"),
}


def without(*extras: str) -> str:
    """The program of the command, on a machine without these extras."""
    return BLOCK.format(names=[name for extra in extras for name in MODULES[extra]])


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_modules_are_those_of_the_packages_of_each_extra() -> None:
    distributions = packages_distributions()
    for extra, modules in MODULES.items():
        named = {
            canonical(re.match(r"[\w-]+", text)[0])  # type: ignore[index]
            for text in PROJECT["optional-dependencies"][extra]
        } - {"signal-pipeline"}
        assert {canonical(distributions[module][0]) for module in modules} == named


def test_every_command_is_tried_here() -> None:
    assert {*NEEDS, *WORKS} == set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]


@pytest.mark.embedded_only
def test_a_page_needs_an_extra_of_its_own(environment: Settings, tmp_path: Path) -> None:
    migrated = run_command("migrate", cwd=tmp_path)
    done = run_command("report", *DAYS, "--format", "html", cwd=tmp_path, program=without("page"))
    assert (migrated.returncode, done.returncode) == (0, 1)
    assert "needs the extra 'page': pip install 'signal-pipeline[page]'" in error_of(done.stderr)


@pytest.mark.embedded_only
@pytest.mark.parametrize("command", NEEDS)
def test_a_command_without_its_extra_is_one_line(
    environment: Settings, tmp_path: Path, command: str
) -> None:
    extra, arguments = NEEDS[command]
    done = run_command(command, *arguments, cwd=tmp_path, program=without(extra))
    assert done.returncode == 1
    assert f"needs the extra '{extra}': pip install 'signal-pipeline[{extra}]'" in error_of(
        done.stderr
    )


@pytest.mark.embedded_only
@pytest.mark.parametrize("module", MODULES["page"])
def test_a_page_without_its_extra_is_one_line(
    environment: Settings, tmp_path: Path, module: str
) -> None:
    arguments = ("report", "--format", "html", "--out", "page.html", *DAYS)
    done = run_command(*arguments, cwd=tmp_path, program=BLOCK.format(names=[module]))
    assert done.returncode == 1
    assert "pip install 'signal-pipeline[page]'" in error_of(done.stderr)


@pytest.mark.embedded_only
@pytest.mark.parametrize("command", WORKS)
def test_every_other_command_works_without_any_extra(
    environment: Settings, tmp_path: Path, command: str
) -> None:
    arguments, refusal = WORKS[command]
    done = run_command(command, *arguments, cwd=tmp_path, stdin=line(), program=without(*MODULES))
    if refusal is None:
        assert done.returncode == 0, done.stderr
    else:
        assert refusal in error_of(done.stderr)


@pytest.mark.embedded_only
def test_an_erasure_without_dagster_gives_its_certificate_and_says_what_is_left(
    environment: Settings, fill: Fill, connection: Connection, tmp_path: Path
) -> None:
    fill(yesterday())
    ((session,),) = connection.execute(
        "select session_id::text from signal.events where session_id is not null limit 1"
    ).fetchall()
    arguments = ("erase", "--session", session, "--json")
    done = run_command(*arguments, cwd=tmp_path, program=without("dagster"))
    assert done.returncode == 1
    assert uuid.UUID(str(last_json(done)["certificate"]))
    said = error_of(done.stderr)
    assert "1 day(s) are erased but not rebuilt, and marked stale: this needs the extra" in said


def test_without_a_database_the_extra_of_the_embedded_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SIGNAL_DATABASE_URL", raising=False)
    here = {"cwd": tmp_path, "SIGNAL_HOME": str(tmp_path), "program": without("embedded")}
    done = run_command("migrate", **here)
    assert done.returncode == 1
    assert "'signal-pipeline[embedded]', or set SIGNAL_DATABASE_URL" in error_of(done.stderr)
    catalogue = run_command("catalogue", **here)
    assert catalogue.returncode == 0
    assert "there is no database yet" in catalogue.stderr
