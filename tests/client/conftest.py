"""The npm package: installed when it is missing or its lock changed, built once. Skipped where it cannot be."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from client_tests_support import CLIENT, Npm, npm_in

OLDEST_NODE = 20


@pytest.fixture(scope="session")
def installed() -> Path:
    """The client's folder, with its packages."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("node and npm are not here: the client was not tested")
    version = subprocess.run(["node", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"node is {version}, older than {OLDEST_NODE}: the client was not tested")
    lock, record = CLIENT / "package-lock.json", CLIENT / "node_modules" / ".installed-lock.json"
    if not record.exists() or record.read_bytes() != lock.read_bytes():
        command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(command, cwd=CLIENT, capture_output=True, text=True, check=False, timeout=280)
        if "npm error network" in done.stderr:
            pytest.skip("the package registry cannot be reached: the client was not tested")
        assert done.returncode == 0, done.stderr
        shutil.copyfile(lock, record)
    return CLIENT


@pytest.fixture(scope="session")
def npm(installed: Path) -> Npm:
    """Runs npm in the client's folder."""
    return npm_in(installed)


@pytest.fixture(scope="session")
def built(npm: Npm) -> Path:
    """The client's folder, with `dist` built from the present sources."""
    npm("run", "build")
    return CLIENT
