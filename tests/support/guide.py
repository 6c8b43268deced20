"""What a test needs to follow a page of the docs word for word: its blocks, and a copy to change."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
LEFT_OUT = (
    ".git",
    ".venv*",
    ".signal",
    "site",
    "node_modules",
    "dist",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    "bench",
)


def blocks(page: Path, language: str) -> list[str]:
    """The code blocks of a page in one language, in order."""
    return re.findall(
        rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


def copy_project(folder: Path) -> Path:
    """Copy the project as a new user has it after `make install`; returns the folder."""
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
    for name in ("requirements.lock", "uv.requirements.lock", "pyproject.toml"):
        # Older than the files of `make install`, so there is nothing to install.
        os.utime(folder / name, (0, 0))
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder
