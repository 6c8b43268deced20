"""The place of the npm package, and how tests install it and run npm in it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "client"

OLDEST_NODE = 20
# There is no registry, or one that does not provide these packages. A lock that does not fit, or a
# wrong checksum, is a failure.
NO_REGISTRY = re.compile(
    r"npm error code (E40[134]|E5\d\d|ETARGET|ECONN\w+|ENOTFOUND|EAI_AGAIN|E\w*TIMEDOUT\w*)"
)

Npm = Callable[..., subprocess.CompletedProcess[str]]


def surroundings() -> dict[str, str]:
    """The environment without Signal's variables: packages' scripts and builds need none."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("SIGNAL", "DAGSTER"))
    }


def npm_in(folder: Path) -> Npm:
    """Runs npm in a folder; a failure shows what it printed."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        options: dict[str, Any] = {
            "cwd": folder,
            "env": surroundings(),
            "capture_output": True,
            "text": True,
        }
        done = subprocess.run(["npm", *arguments], check=False, **options)
        assert done.returncode == 0, (
            f"npm {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}"
        )
        return done

    return run


def install_client() -> Path:
    """The client's folder, with the packages of its lock.

    Skips the test where they cannot be installed.
    """
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("node and npm are not here: the client was not tested")
    version = subprocess.run(
        ["node", "--version"], capture_output=True, text=True, check=True
    ).stdout.strip()
    if int(version.removeprefix("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"node is {version}, older than {OLDEST_NODE}: the client was not tested")
    # Not in the folder, because npm removes what it does not know. The tests of several processes
    # can get here at once.
    name = hashlib.sha256(str(CLIENT).encode()).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"signal-client-{name}.lock"):
        _install()
    return CLIENT


def _install() -> None:
    lock, record = CLIENT / "package-lock.json", CLIENT / "node_modules" / ".installed-lock.json"
    if record.exists() and record.read_bytes() == lock.read_bytes():
        return
    options = [
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--fetch-retries=1",
        "--fetch-timeout=60000",
    ]
    pipes: dict[str, Any] = {
        "cwd": CLIENT,
        "env": surroundings(),
        "capture_output": True,
        "text": True,
    }
    done = subprocess.run(["npm", "ci", *options], check=False, **pipes)
    missing = NO_REGISTRY.search(done.stderr)
    if missing:
        pytest.skip(
            f"the client's packages cannot be fetched ({missing[1]}): the client was not tested"
        )
    assert done.returncode == 0, done.stderr
    shutil.copyfile(lock, record)
