"""Where the npm package is, and how tests run npm in it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parents[1]
CLIENT = ROOT / "client"

Npm = Callable[..., subprocess.CompletedProcess[str]]


def npm_in(folder: Path) -> Npm:
    """Runs npm in a folder; a failure shows what it printed."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(["npm", *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=280)
        assert done.returncode == 0, f"npm {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}"
        return done

    return run
