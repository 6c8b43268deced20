"""The npm package: installed when it is missing or its lock changed, built once. Skipped where it cannot be."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from client_tests_support import CLIENT, Npm, npm_in

OLDEST_NODE = 20
# No registry, or one that does not give these packages out. A lock that does not fit, or a wrong checksum, is a failure.
NO_REGISTRY = re.compile(r"npm error code (E40[134]|E5\d\d|ETARGET|ECONN\w+|ENOTFOUND|EAI_AGAIN|E\w*TIMEDOUT\w*)")


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
        options = ["--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=60000"]
        done = subprocess.run(
            ["npm", "ci", *options], cwd=CLIENT, capture_output=True, text=True, check=False, timeout=280
        )
        missing = NO_REGISTRY.search(done.stderr)
        if missing:
            pytest.skip(f"the client's packages cannot be fetched ({missing[1]}): the client was not tested")
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
