"""`docs/add-an-event.md`, followed word for word in a copy of the project."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from support.client import ROOT, npm_in
from support.guide import blocks, copy_project

from signal_pipeline.postgres.database import Connection
from signal_pipeline.settings import Settings

pytestmark = pytest.mark.embedded_only

PAGE = ROOT / "docs" / "add-an-event.md"
ENTITY = "550e8400-e29b-41d4-a716-446655440000"


@pytest.fixture
def copy(installed: Path, tmp_path: Path) -> Path:
    """A copy of the project as a new user has it, after `make install` and `npm ci`."""
    folder = copy_project(tmp_path / "project")
    (folder / "client" / "node_modules").symlink_to(installed / "node_modules")
    return folder


def compiled(client: Path, folder: Path) -> str:
    """The compiler's output for the page's call in an app that uses this client."""
    app = folder / "app"
    (app / "node_modules" / "@types").mkdir(parents=True)
    (app / "node_modules" / "signal-client").symlink_to(client)
    for name in ("react", "@types/react"):
        (app / "node_modules" / name).symlink_to(client / "node_modules" / name)
    (call,) = blocks(PAGE, "tsx")
    (app / "Download.tsx").write_text(call)
    options = [
        "--noEmit",
        "--strict",
        "--skipLibCheck",
        "--module",
        "esnext",
        "--moduleResolution",
        "bundler",
    ]
    command = [
        "node",
        client / "node_modules" / "typescript" / "bin" / "tsc",
        *options,
        app / "Download.tsx",
    ]
    return subprocess.run(command, cwd=app, capture_output=True, text=True, check=False).stdout


def test_the_page_followed_word_for_word(
    copy: Path, built: Path, environment: Settings, connection: Connection, tmp_path: Path
) -> None:
    assert "TS2345" in compiled(built, tmp_path / "before")
    with (copy / "signal_pipeline" / "catalogue" / "catalogue.yaml").open(
        "a", encoding="utf-8"
    ) as catalogue:
        (entry,) = blocks(PAGE, "yaml")
        catalogue.write(entry)
    # pytest closes the temporary folder that all runs share to other users, and the database's
    # owner is another user.
    apart = {"PYTEST_DEBUG_TEMPROOT": str(tmp_path)}
    surroundings = {**os.environ, **apart, "PYTHONPATH": str(copy), "COLUMNS": "200"}
    printed = ""
    for commands in blocks(PAGE, "sh"):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=copy,
            env=surroundings,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        printed += done.stdout
    assert "never seen: " in printed
    assert "video_subtitles_downloaded" in printed
    assert json.loads(printed.splitlines()[-1])["accepted"] == 1
    npm_in(copy / "client")("run", "build")
    assert compiled(copy / "client", tmp_path / "after") == ""
    row = connection.execute(
        "select event_type, description from signal.events where entity_id = %s", [ENTITY]
    ).fetchone()
    assert row == ("video_subtitles_downloaded", {"language": "French", "format": "srt"})
