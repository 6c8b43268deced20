"""The usage page in a real Chromium: silent, readable in light, dark and print, and for keyboards."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from conftest import Build, Fill
from filelock import FileLock
from support.days import days_ago

from signal_pipeline.catalogue.load import load_catalogue
from signal_pipeline.postgres.database import Database
from signal_pipeline.reports.page.render import usage_page
from signal_pipeline.rollups.models import Model

pytestmark = pytest.mark.embedded_only

PROJECT = Path(__file__).with_name("chromium")
CHROMIUM = next(
    (
        path
        for name in ("chromium", "chromium-browser", "google-chrome")
        if (path := shutil.which(name))
    ),
    None,
)
FIRST = days_ago(3)
LAST = FIRST + timedelta(days=1)


@pytest.fixture(scope="module")
def driver() -> Path:
    """The browser's driver and axe, installed once into a cache folder outside the tree."""
    if CHROMIUM is None or shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Chromium, node or npm is missing: the page was not seen in a browser")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    wanted = hashlib.sha256((PROJECT / "package-lock.json").read_bytes()).hexdigest()[:16]
    folder = Path(home) / "signal-pipeline-tests" / f"page-{wanted}"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        for file in PROJECT.iterdir():
            if file.is_file():
                shutil.copy(file, folder)
        if not (folder / ".installed").exists():
            command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
            done = subprocess.run(
                command, cwd=folder, capture_output=True, timeout=600, check=False
            )
            if done.returncode:
                pytest.skip("npm ci failed: the page was not seen in a browser")
            (folder / ".installed").touch()
    return folder


@pytest.mark.parametrize("for_admins", [False, True])
def test_the_page_in_a_browser(
    driver: Path,
    fill: Fill,
    build: Build,
    database: Database,
    models: dict[str, Model],
    tmp_path: Path,
    for_admins: bool,
) -> None:
    for day in (FIRST, LAST):
        fill(day, 300)
        build(day)
    page = tmp_path / "page.html"
    html = usage_page(database, models, load_catalogue(), FIRST, LAST, for_admins=for_admins)
    page.write_text(html)
    setup = {"page": str(page), "browser": CHROMIUM, "picture": None}
    done = subprocess.run(
        ["node", "look.mjs", json.dumps(setup)],
        cwd=driver,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)

    assert {*seen["requests"]} == {page.as_uri()}
    assert seen["console"] == []
    assert seen["axe"] == {"light": [], "dark": []}
    light, dark, printed = (seen["colours"][name] for name in ("light", "dark", "print"))
    assert light["paper"] == printed["paper"] == "rgb(255, 255, 255)"
    assert dark["paper"] != light["paper"] and dark["bar"] != light["bar"] == printed["bar"]

    assert (seen["firstFocus"], seen["afterSkip"]) == ("Skip to the numbers", "main")
    assert seen["closedAfter"] == seen["closedBefore"] - 1
    assert seen["download"]["name"].endswith("-people-a-day.csv")
    assert str(LAST) in seen["download"]["text"]
    assert seen["tooWide"] <= 0

    # On paper every table is open.
    assert seen["printedTables"] == 0 and seen["pdf"] > 10_000
    # The content security policy holds, whatever got into the page.
    assert seen["attack"]["title"].startswith("How the apps are used")
    assert {*seen["attack"]["fetched"]} <= {"refused"}
